"""The same sentences in English, Japanese and Chinese, each with a word that can be another one."""

LANGUAGES = ("en", "ja", "zh")

PARALLEL: tuple[dict[str, str], ...] = (
    {
        "en": "You should first ask who pays for the {} when the rain does not come.",
        "ja": "まず、雨が降らないときに{}の費用を誰が払うのかを考えるべきです。",
        "zh": "你应该先问，不下雨的时候谁来支付{}的费用。",
    },
    {
        "en": "Think about how the {} was built and which materials were at hand.",
        "ja": "{}がどのように造られ、どんな材料が手元にあったのかを考えてください。",
        "zh": "想一想{}是怎样建成的，当时手边有哪些材料。",
    },
    {
        "en": "Compare the cost of the {} over ten years with that of doing nothing.",
        "ja": "{}の十年間の費用を、何もしない場合の費用と比べるとよいでしょう。",
        "zh": "把{}十年的成本和什么都不做的成本比较一下。",
    },
    {
        "en": "Remember that old people near the {} cannot walk far in the summer heat.",
        "ja": "{}の近くに住む高齢者は、夏の暑さの中で遠くまで歩けないことを忘れないでください。",
        "zh": "别忘了，住在{}附近的老人在夏天的炎热里走不了多远。",
    },
    {
        "en": "Start from what is known about the {} and say plainly what is not.",
        "ja": "{}についてわかっていることから始め、わからないことははっきり述べてください。",
        "zh": "从关于{}的已知情况说起，并坦率说明不知道的部分。",
    },
    {
        "en": "Look for a small town that gave up its {} and see what happened there.",
        "ja": "{}をやめた小さな町を探し、そこで何が起きたのかを見てください。",
        "zh": "找一个放弃了{}的小镇，看看那里后来发生了什么。",
    },
    {
        "en": "A child would ask why the {} is painted green and not any other colour.",
        "ja": "子どもなら、なぜ{}がほかの色ではなく緑に塗られているのかと尋ねるでしょう。",
        "zh": "小孩子会问，为什么{}漆成绿色而不是别的颜色。",
    },
    {
        "en": "The law on the {} changed twice, so check which year the question means.",
        "ja": "{}に関する法律は二度変わったので、質問がどの年を指すのかを確かめるべきです。",
        "zh": "有关{}的法律改过两次，所以要确认问题指的是哪一年。",
    },
    {
        "en": "Put yourself in the place of the person who repairs the {} every night.",
        "ja": "毎晩{}を修理している人の立場になって考えてみましょう。",
        "zh": "设身处地想想每天夜里修理{}的那个人。",
    },
    {
        "en": "Numbers alone say little here; describe one morning at the {} instead.",
        "ja": "数字だけではほとんど何もわからないので、{}でのある朝の様子を描いてください。",
        "zh": "单靠数字说明不了什么，不如描写{}的一个早晨。",
    },
    {
        "en": "If the {} fails, the hospital has power for six hours and no longer.",
        "ja": "もし{}が止まれば、病院の電気は六時間しかもちません。",
        "zh": "如果{}出了故障，医院的电力只能维持六个小时。",
    },
    {
        "en": "Weigh the noise of the {} against the work that it gives to the valley.",
        "ja": "{}の騒音と、それが谷にもたらす仕事とを比べて判断してください。",
        "zh": "权衡{}的噪音和它给山谷带来的工作机会。",
    },
    {
        "en": "Farmers downstream see the {} quite differently from people in the city.",
        "ja": "下流の農家は、都市の人々とはまったく違った目で{}を見ています。",
        "zh": "下游的农民对{}的看法和城里人完全不同。",
    },
    {
        "en": "End with a question that the reader can take to the next {} meeting.",
        "ja": "最後に、読者が次の{}の会議に持っていける問いを置いてください。",
        "zh": "最后留下一个读者可以带到下一次{}会议上的问题。",
    },
    {
        "en": "Do not promise that the {} will last; nobody has measured it since spring.",
        "ja": "{}が長持ちすると約束してはいけません。春から誰も測っていないからです。",
        "zh": "不要保证{}能用很久，因为从春天起就没有人测量过。",
    },
    {
        "en": "Explain the {} as if to a friend on the train who has five minutes left.",
        "ja": "電車であと五分しかない友人に話すつもりで{}を説明してください。",
        "zh": "就像对火车上只剩五分钟的朋友那样解释{}。",
    },
)

WORDS: dict[str, tuple[str, ...]] = {
    "en": ("bridge", "library", "harbour", "windmill", "market", "tunnel", "school", "garden"),
    "ja": ("橋", "図書館", "港", "風車", "市場", "トンネル", "学校", "庭園"),
    "zh": ("桥", "图书馆", "港口", "风车", "市场", "隧道", "学校", "花园"),
}


def text_of(language: str, sentences: list[int], word: int = 0) -> str:
    """Return sentences in one language, all with the same word."""
    glue = " " if language == "en" else ""
    filled = (PARALLEL[one][language].format(WORDS[language][word]) for one in sentences)
    return glue.join(filled)
