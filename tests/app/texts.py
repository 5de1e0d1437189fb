"""Questions with reasonings and answers as a small model writes them: good, odd and broken ones."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SeedVariant:
    text: str
    answers: tuple[tuple[str, dict[str, str]], ...]
    flags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeedQuestion:
    text: str
    language: str
    role: str
    category: str
    variants: tuple[SeedVariant, ...]
    context: str = ""
    reference: str | None = None
    tags: tuple[str, ...] = ("example",)


QUESTIONS: tuple[SeedQuestion, ...] = (
    SeedQuestion(
        "Why does bread go stale faster in the fridge than on the counter?",
        "en",
        "assistant",
        "science",
        (
            SeedVariant(
                "You should explain what happens to starch when it cools. You should separate"
                " drying out from staling. You should end with one piece of practical advice.",
                (
                    (
                        "Staling is mostly about starch, not water. When bread cools, the starch"
                        " molecules line up again and push water out, and this happens fastest just"
                        " above freezing. A fridge holds bread at exactly that temperature, so it"
                        " firms within a day. Keep bread on the counter for a day or two, or freeze"
                        " it.",
                        {},
                    ),
                    (
                        "Bread goes stale in the fridge because the cold temperature makes the"
                        " starch crystals form faster. This is called retrogradation.",
                        {},
                    ),
                ),
            ),
            SeedVariant(
                "You should compare the two places by temperature and by moisture. You should say"
                " which of them matters more.",
                (
                    (
                        "The fridge is both colder and drier than the counter. Cold matters more:"
                        " it speeds up the change in the starch that makes the crumb hard. The dry"
                        " air mostly affects the crust.",
                        {},
                    ),
                    (
                        "The fridge is a cold place. The counter is a warm place. The fridge is a"
                        " cold place. The counter is a warm place. The fridge is a cold place. The"
                        " counter is a warm",
                        {"repetition": "“The fridge is a cold place” 3 times", "cut_off": ""},
                    ),
                ),
            ),
            SeedVariant(
                "As an AI language model, I think the answer is that starch retrogradation is"
                " fastest near 4 °C, so the bread becomes hard.",
                (
                    ("Because of starch retrogradation, which is fastest near 4 °C.", {}),
                    ("I don't know exactly, but it may be the humidity.", {"dont_know": ""}),
                ),
                {
                    "form": "“As an AI language model”",
                    "answer_leak": "“starch retrogradation is fastest near 4 °C”",
                },
            ),
        ),
        reference="Starch retrogradation is fastest just above freezing.",
        tags=("example", "kitchen"),
    ),
    SeedQuestion(
        "電車の中で電話をかけるのが遠慮されるのはなぜですか。",
        "ja",
        "assistant",
        "文化",
        (
            SeedVariant(
                "You should describe what a shared, quiet space means to the people in it. You"
                " should mention that half of a conversation is harder to ignore than a whole one.",
                (
                    (
                        "電車は多くの人が短い時間だけ共有する静かな空間です。片方の声だけが聞こえる"
                        "通話は、内容を無意識に補おうとしてしまうため、普通の会話よりも気になりやすい"
                        "といわれます。そのため、互いに気持ちよく過ごすための配慮として、通話は控える"
                        "習慣が広まりました。",
                        {},
                    ),
                    (
                        "電車の中では静かにすることがマナーだからです。電話の声は周りの人の迷惑に"
                        "なります。",
                        {},
                    ),
                ),
            ),
            SeedVariant(
                "You should answer from the point of view of a visitor. You should give one"
                " concrete scene.",
                (
                    (
                        "Because people on trains want to be quiet, and phones are loud.",
                        {"language": "en instead of ja"},
                    ),
                    (
                        "海外から来た人が驚くのは、満員でも車内がとても静かなことです。誰かが通話を"
                        "始めると、急に全員がその人の私生活に立ち会うことになります。",
                        {},
                    ),
                ),
            ),
            SeedVariant(
                "You should list reasons. You should list reasons. You should list reasons. You"
                " should list reasons. You should list reasons. You should list reasons.",
                (
                    ("周りの人が気になるからです。", {}),
                    ("マナーだからです。", {}),
                ),
                {"repetition": "“You should list reasons” 6 times", "length": "6 sentences"},
            ),
        ),
        tags=("example", "daily life"),
    ),
    SeedQuestion(
        "Three boxes are labelled apples, oranges and both. Every label is wrong. You may take one"
        " fruit from one box. How do you label all three?",
        "en",
        "logician",
        "logic",
        (
            SeedVariant(
                "You should begin with the box whose wrong label leaves the fewest possibilities."
                " You should use the fact that every label is wrong twice.",
                (
                    (
                        "Take one fruit from the box labelled “both”. Its label is wrong, so it"
                        " holds one kind only. If you draw an apple, it is the apple box. The box"
                        " labelled “oranges” cannot hold oranges, and apples are taken, so it"
                        " holds both. The last one holds oranges.",
                        {},
                    ),
                    (
                        "Open the box labelled both. If it is an apple then it is apples, and the"
                        " others are swapped.",
                        {},
                    ),
                ),
            ),
            SeedVariant(
                "You should try each box in turn and write down what each draw would tell you.",
                (
                    (
                        "If I take from “apples”, I may draw an orange and still not know whether"
                        " the box is oranges or both. So this draw does not decide. Only the box"
                        " “both” always decides.",
                        {},
                    ),
                    (
                        "Take an apple from the apples box and an orange from the oranges box.",
                        {},
                    ),
                ),
            ),
            SeedVariant(
                "You should say that the answer is to draw from the box labelled both.",
                (
                    ("Draw from the box labelled both.", {}),
                    ("Draw from the box labelled both, then swap the others.", {}),
                ),
                {"answer_leak": "“draw from the box labelled both”"},
            ),
        ),
        reference="Draw from the box labelled both.",
        tags=("example", "puzzle"),
    ),
    SeedQuestion(
        "次の文を自然な英語に訳してください。",
        "ja",
        "translator",
        "翻訳",
        (
            SeedVariant(
                "You should keep the polite refusal that the sentence carries. You should choose an"
                " idiom rather than a literal rendering.",
                (
                    ("“Let me give it some thought” — often a gentle way of saying no.", {}),
                    ("I will think about it positively.", {}),
                ),
            ),
            SeedVariant(
                "You should translate word by word.",
                (
                    ("I will consider it in a forward-looking manner.", {}),
                    ("We will consider positively.", {}),
                ),
            ),
            SeedVariant(
                "You should think of who is speaking: a colleague at the end of a meeting.",
                (
                    ("“We'll certainly look into it.”", {}),
                    ("前向きに検討します。", {"language": "ja instead of en"}),
                ),
            ),
        ),
        context="前向きに検討させていただきます。",
        tags=("example", "translation"),
    ),
    SeedQuestion(
        "Write a two-line poem about a lighthouse that has never seen a ship.",
        "en",
        "creator",
        "poetry",
        (
            SeedVariant(
                "You should let the light want something. You should not use the word lonely.",
                (
                    (
                        "Each night it combs the empty sea for someone to have saved,\n"
                        "and every dawn forgives the dark for being so well behaved.",
                        {},
                    ),
                    ("The lighthouse shines, the waves reply,\nno sail has ever passed it by.", {}),
                ),
            ),
            SeedVariant(
                "You should use the lighthouse as a picture of patience.",
                (
                    ("It waits.\nIt has always been good at waiting.", {}),
                    (
                        "A lighthouse stands so tall and bright, it shines all day and night.",
                        {},
                    ),
                ),
            ),
            SeedVariant(
                "You should use a simple rhyme. You should mention the sea.",
                (
                    ("The sea is blue, the sea is wide,\nthe lighthouse stands at its side.", {}),
                    ("<|im_start|>assistant\nThe sea", {"form": "“<|im_start|>”", "cut_off": ""}),
                ),
            ),
        ),
        tags=("example", "poetry"),
    ),
    SeedQuestion(
        "为什么秋天的树叶会变成红色和黄色？",
        "zh",
        "assistant",
        "自然",
        (
            SeedVariant(
                "You should say which colour was there all along and which is made new.",
                (
                    (
                        "黄色一直在叶子里，只是夏天被叶绿素的绿色盖住了。秋天叶绿素分解，黄色就露出来。"
                        "红色则是秋天新生成的花青素。",
                        {},
                    ),
                    ("因为天气变冷了。", {}),
                ),
            ),
            SeedVariant(
                "You should mention sunlight, sugar and cold nights.",
                (
                    ("白天阳光充足、夜晚寒冷时，叶子里的糖分积累，生成更多红色的花青素。", {}),
                    ("我不知道。", {"dont_know": ""}),
                ),
            ),
            SeedVariant(
                "You should answer for a child of eight.",
                (
                    ("树叶像脱下绿色的外衣，露出里面黄色的衣服。", {}),
                    ("树叶累了，所以变颜色了。", {}),
                ),
            ),
        ),
        tags=("example", "nature"),
    ),
    SeedQuestion(
        "「静かな駅」という題で、三行の詩を書いてください。",
        "ja",
        "creator",
        "詩",
        (
            SeedVariant(
                "You should choose one sound that makes the silence audible.",
                (
                    ("終電のあと\n自動販売機だけが\n小さく息をしている", {}),
                    ("静かな駅に\n風が吹いて\n誰もいない", {}),
                ),
            ),
            SeedVariant(
                "You should describe someone who is no longer there.",
                (
                    ("改札の向こうに\nきみの忘れた傘がひとつ\nまだ雨を待っている", {}),
                    (
                        "駅は静かです。\n駅は静かです。\n駅は静かです。",
                        {"repetition": "「駅は静かです」3回"},
                    ),
                ),
            ),
            SeedVariant(
                "You should write three lines about a station.",
                (
                    ("駅\n静か\nとても", {}),
                    ("朝の駅\nまだ誰の名前も\n呼ばれていない", {}),
                ),
                {"boilerplate": "“You should write three lines”"},
            ),
        ),
        tags=("example", "poetry"),
    ),
    SeedQuestion(
        "Is it ever right to keep a promise that has become harmful?",
        "en",
        "logician",
        "ethics",
        (
            SeedVariant(
                "You should separate the duty that the promise made from the harm that it does now."
                " You should ask who could release the speaker from it.",
                (
                    (
                        "A promise gives one person a claim on another. That claim does not vanish"
                        " when keeping it becomes costly, but it was never a licence to harm third"
                        " parties. The honest course is usually to ask for release, and to repair"
                        " what breaking it costs.",
                        {},
                    ),
                    (
                        "It depends on the size of the harm and on who bears it.",
                        {},
                    ),
                ),
            ),
            SeedVariant(
                "You should find a case in which breaking it looks wrong even though it helps.",
                (
                    (
                        "Imagine a promise to a dying friend. Nobody is left to be hurt by breaking"
                        " it, and yet most of us feel that something would be lost.",
                        {},
                    ),
                    ("Yes, sometimes.", {}),
                ),
            ),
            SeedVariant(
                "You should argue both sides and then decide.",
                (
                    ("No: harm outweighs duty. Yes: trust is worth more. I would say no.", {}),
                    ("Both sides have a point.", {}),
                ),
            ),
        ),
        tags=("example", "ethics"),
    ),
)
