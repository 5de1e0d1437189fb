"""Checks of language and of "I don't know", in English, Japanese and Chinese."""

from pathlib import Path

import pytest
import yaml

from serving.checks import CheckContext, check_answer, check_reasoning
from serving.checks.language import detect_language, other_language


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The sky is blue because the air scatters light.", "en"),
        ("Le ciel est bleu parce que la lumière est diffusée dans l'air.", "fr"),
        ("Der Himmel ist blau, weil die Luft das Licht streut.", "de"),
        ("El cielo es azul porque el aire dispersa la luz del sol.", "es"),
        ("Il cielo è blu perché l'aria diffonde la luce del sole.", "it"),
        ("O céu é azul porque o ar não deixa passar toda a luz.", "pt"),
        ("De lucht is blauw omdat het licht van de zon wordt verstrooid.", "nl"),
        ("空が青いのは、空気が光を散らすからです。", "ja"),
        ("天空是蓝色的，因为空气会散射阳光。", "zh"),
        ("這是一個很好的問題，我們可以一起想想。", "zh"),
        ("하늘이 파란 이유는 공기가 빛을 흩뜨리기 때문입니다.", "ko"),
        ("Небо голубое, потому что воздух рассеивает свет.", "ru"),
        ("東京はJapanの首都で、Tokyo Towerがあります。", "ja"),
        ("42", None),
        ("富士山", None),
        ("東京、京都、大阪、名古屋", None),
        ("国会議員選挙制度改革", None),
        ("Mount Fuji", None),
        ("", None),
        ("print('ok')", None),
        ("```python\nif the and is of to:\n```\n空が青いのはなぜでしょうか。", "ja"),
    ],
)
def test_the_language_of_a_text_is_told_or_left_open(text: str, code: str | None) -> None:
    assert detect_language(text) == code


EN = CheckContext(question="Why is the sky blue?")
JA = CheckContext(question="空が青いのはなぜですか。")
ZH = CheckContext(question="为什么天空是蓝色的？")

NOT_ENGLISH = [
    "空が青い理由をよく考える必要があります。",
    "まず質問の要点を特定し、次に知識を思い出す必要があります。",
    "你应该先想想光是什么，然后再回答。",
    "你應該先想想光是什麼，然後再回答這個問題。",
    "You should 光の散乱について考えて、答えてください。",
    "Vous devez d'abord penser à la lumière et à l'air dans le ciel.",
    "Du solltest zuerst an das Licht und die Luft denken.",
    "Debes pensar en la luz y en el aire de la atmósfera.",
    "Dovresti pensare alla luce e non solo al colore del cielo.",
    "Você deve pensar na luz e no ar para não errar.",
    "Je moet eerst aan het licht denken en dan aan de lucht.",
    "먼저 빛이 무엇인지 생각해야 합니다.",
    "Сначала нужно подумать о свете и воздухе.",
    "يجب أن تفكر أولا في الضوء والهواء",
    "Πρέπει πρώτα να σκεφτείς το φως και τον αέρα.",
    "คุณควรคิดถึงแสงก่อน",
]
ENGLISH = [
    "You should think about light and air.",
    "You should think.",
    "You should quote 空が青いのはなぜですか and then explain it.",
    "You should keep the word 侘寂 as it is and explain it in the answer.",
    "You should render the name as it is written, e.g. São Paulo or Zürich.",
    "You should explain the café culture of the city.",
    "You should use x² + y² = z² and say what each letter stands for.",
    "You should mention the haiku form (5-7-5).",
    "You should explain what ‘déjà vu’ means to a child.",
    "You should answer in Japanese, in polite form.",
    "You should translate word by word and then make it sound natural.",
    "you should check the units",
    "You should write “naïve” with two dots.",
    "You should give π to two digits.",
    "You should look up, observe, wonder.",
]


def reasoning_is_foreign(text: str, ctx: CheckContext) -> bool:
    return "language" in {finding.name for finding in check_reasoning(text, ctx)}


@pytest.mark.parametrize("text", NOT_ENGLISH)
def test_a_reasoning_that_is_not_english_is_found(text: str) -> None:
    assert reasoning_is_foreign(text, EN)


@pytest.mark.parametrize("text", ENGLISH)
def test_an_english_reasoning_is_not_flagged(text: str) -> None:
    assert not reasoning_is_foreign(text, JA)


@pytest.mark.parametrize(
    ("ctx", "answer"),
    [
        (EN, "空が青いのは、空気が光を散らすからです。"),
        (EN, "天空是蓝色的，因为空气会散射阳光。"),
        (EN, "Le ciel est bleu parce que la lumière est diffusée dans l'air."),
        (EN, "Der Himmel ist blau, weil die Luft das Licht streut."),
        (EN, "하늘이 파란 이유는 공기가 빛을 흩뜨리기 때문입니다."),
        (JA, "The sky is blue because the air scatters the light of the sun."),
        (JA, "天空是蓝色的，因为空气会散射阳光。"),
        (JA, "這是因為空氣會散射太陽的光，我們看到的就是藍色。"),
        (JA, "El cielo es azul porque el aire dispersa la luz del sol."),
        (ZH, "The sky is blue because the air scatters the light of the sun."),
        (ZH, "空が青いのは、空気が光を散らすからです。"),
        (CheckContext(question="Q1", language="ja"), "It is the air that makes the sky blue."),
        (CheckContext(question="Q1", language="en"), "空気が光を散らすからです。"),
        (CheckContext(question="Q1", language="en-GB"), "空気が光を散らすからです。"),
        (CheckContext(question="Q1", language="zh_CN"), "It is the air that makes the sky blue."),
        (CheckContext(question="Answer in English: why is it blue?"), "空気が光を散らすからです。"),
    ],
)
def test_an_answer_in_another_language_is_found(ctx: CheckContext, answer: str) -> None:
    assert "language" in {finding.name for finding in check_answer(answer, ctx)}


@pytest.mark.parametrize(
    ("ctx", "answer"),
    [
        (EN, "The air scatters blue light more than red light."),
        (EN, "Rayleigh scattering."),
        (EN, "42"),
        (EN, "It is 青 (blue) in Japanese, and the sky is called 空."),
        (JA, "空気が光を散らすからです。"),
        (JA, "富士山"),
        (JA, "東京、京都、大阪"),
        (JA, "NASA"),
        (JA, "Mount Fuji"),
        (JA, "x = 3"),
        (JA, "レイリー散乱（Rayleigh scattering）です。"),
        (ZH, "因为空气散射阳光。"),
        (ZH, "富士山"),
        (ZH, "日语里的「の」表示所属，我们常常看到它。"),
        (CheckContext(question="How do you say 'good night' in Japanese?"), "おやすみなさいです。"),
        (
            CheckContext(question="「ありがとう」を英語で言ってください。"),
            "It is thank you to all.",
        ),
        (
            CheckContext(question="请用英语介绍长城。"),
            "The Great Wall is one of the longest walls.",
        ),
        (CheckContext(question="「猫」を外国語に", role="translator"), "The cat is on the mat."),
        (CheckContext(question="Translate: hello there"), "こんにちは、そこのあなた。"),
        (CheckContext(question="Q", language="sv"), "The sky is blue and it is wide."),
        (CheckContext(question="空?", language="ja"), "```\nif the and of is to\n```"),
    ],
)
def test_an_answer_in_the_right_language_or_unclear_is_not_flagged(
    ctx: CheckContext, answer: str
) -> None:
    assert "language" not in {finding.name for finding in check_answer(answer, ctx)}


DONT_KNOW = [
    "I don't know.",
    "I don’t know",
    "I do not know the answer to this question.",
    "Sorry, I don't know.",
    "I'm sorry, but I don't know who built it.",
    "I'm not sure.",
    "I am not certain about this.",
    "Unfortunately, I cannot answer this question.",
    "I'm afraid I don't have enough information to say.",
    "I have no idea.",
    "Nobody knows.",
    "There is no way to know that number.",
    "It is impossible to know what the next throw will be.",
    "I don't know. You could ask a librarian.",
    "That is unknown.",
    "わかりません。",
    "分かりません",
    "申し訳ありませんが、わかりません。",
    "その数字は分かりかねます。",
    "正確な人数は不明です。",
    "残念ながら、お答えできません。",
    "確信が持てません。",
    "十分な情報がありません。",
    "それはわからないです。",
    "我不知道。",
    "不知道",
    "对不起，我不知道答案。",
    "我不确定。",
    "很抱歉，我无法回答这个问题。",
    "我不清楚具体情况。",
    "抱歉，沒有足夠的資訊。",
    "不得而知。",
]
KNOWS = [
    "Many look up and wonder. I don't know why people say that it is the sea. It is the air.",
    "People often say that the sky mirrors the sea. Others say “I don't know”. In fact, air "
    "scatters light. That is all.",
    "I don't know why people doubt it; the air scatters blue light.",
    "I'm not sure, but I think it is the air.",
    "I don't know the exact number, but estimates are about 300 billion.",
    "You don't know until you try.",
    "If you don't know, ask.",
    "She said that she didn't know him.",
    "To know is to ask.",
    "The known planets number eight.",
    "It is not known for its beaches but for its hills, and it is about 300 km from the coast.",
    "Nobody likes rain on a picnic.",
    "分からないことがあれば、聞いてください。",
    "知らない人に会うのは楽しいです。",
    "詳しい理由は分かりませんが、空気の働きだと考えられています。",
    "雨が降るかもしれません。",
    "わかりやすい説明をします。",
    "誰も知らない森に、小さな家がありました。",
    "不知道的人很多，但答案是空气。",
    "不知道为什么人们这样说，其实是空气散射了光。",
    "知之为知之，不知为不知。",
    "我知道答案是空气。",
    "我不知不觉走了很远。",
    "我不确定性原理解释给你听：位置和动量不能同时测准。",
]


@pytest.mark.parametrize("text", DONT_KNOW)
def test_an_answer_that_does_not_know_is_found(text: str) -> None:
    assert "dont_know" in {finding.name for finding in check_answer(text, EN)}


@pytest.mark.parametrize("text", KNOWS)
def test_an_answer_that_knows_is_not_flagged(text: str) -> None:
    assert "dont_know" not in {finding.name for finding in check_answer(text, EN)}


def test_advice_to_admit_ignorance_is_no_finding_in_a_reasoning() -> None:
    assert check_reasoning("You should say that you don't know if you are unsure.", EN) == []


@pytest.mark.parametrize(
    ("text", "expected", "given", "found"),
    [
        ("夜に通りを掃くのは誰ですか。", "en", "", "ja"),
        ("谁来决定街道什么时候关闭？", "ja", "", "zh"),
        ("Who decides when the street is closed?", "ja", "", "en"),
        ("Quién decide cuándo se cierra la calle en el centro?", "en", "", "es"),
        ("Why do some volunteers give up after a few months?", "en", "", None),
        ("夜間通行禁止", "en", "", None),
        ("Parking fees?", "ja", "", None),
        ("図書館の Wi-Fi は誰のためのものですか。", "ja", "", None),
        ("Who decides when the street is closed?", "ja", "英語で話す練習", None),
        ("Who decides when the street is closed?", None, "", None),
    ],
)
def test_a_short_text_is_in_another_language_only_where_that_is_clear(
    text: str, expected: str | None, given: str, found: str | None
) -> None:
    assert other_language(text, expected, given) == found


def test_no_question_of_the_labelled_pairs_looks_like_another_language() -> None:
    entries = yaml.safe_load(Path("examples/novelty/pairs.yaml").read_text("utf-8"))
    texts = [
        (entry["language"], text)
        for entry in entries
        for kind in ("question", "reworded", "other_words", "unrelated", "near")
        for text in ([entry[kind]] if isinstance(entry[kind], str) else entry[kind])
    ]
    assert len(texts) > 250
    assert [one for one in texts if other_language(one[1], one[0])] == []
