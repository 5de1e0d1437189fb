"""Checks of shape: length, form, empty, cut off, unparsed, repetition. Own texts, table-driven."""

import pytest

from serving.checks import CHECKS, CheckContext, Finding, check_answer, check_reasoning
from serving.checks.text import count_words, split_sentences

QUESTION = CheckContext(question="Why is the sky blue?")


def names(findings: list[Finding]) -> set[str]:
    return {finding.name for finding in findings}


def of_reasoning(text: str, ctx: CheckContext = QUESTION) -> set[str]:
    return names(check_reasoning(text, ctx))


def of_answer(text: str, ctx: CheckContext = QUESTION) -> set[str]:
    return names(check_answer(text, ctx))


ONE = "You should look at how light meets small particles of air."
GOOD_REASONINGS = [
    ONE,
    "You should first recall what light is made of. Then, you should think about scattering.",
    "First, you should name the parts of the question. Next, you should order them.",
    "you should keep it short",
    "You should explain the cause in plain words, e.g. with a picture. You should end with a tip.",
    "You should compare approx. five cases. You should say that you don't know where unsure.",
    "You should follow Dr. Snell's rule of refraction. You should keep to one example.",
    "You should weigh cost, comfort, etc. before you choose.",
    " ".join(["You should compare one more case."] * 1 + ["You should then stop here."]),
    "1. You should name the cause.\n2. You should name the effect.",
    "You should read the question twice. Think step by step. You should then answer.",
    "You should say that you don't know if you are unsure.",
    "You should use numbers such as 3.14 where they help. You should round them.",
    "You should translate 「山」 and 「川」 one by one, as children learn them at school.",
    "You should consider the audience (children). You should avoid hard words!",
    "If a fact is missing, you should say so. You should never guess.",
]
LONG = [
    " ".join([ONE] * 6),
    " ".join(f"You should weigh point number {n} with care." for n in range(8)),
    "You should " + "think and " * 70 + "answer.",
    "You should check " + ", ".join(f"item{n}" for n in range(130)) + ".",
    "\n".join(f"You should check line {n}" for n in range(6)),
    "You should begin. You should go on. You should wait. You should ask. You should act. Stop.",
    "あなたは" + "質問の意味をよく考える必要があります。" * 6,
    "まず質問を読む。次に考える。それから調べる。比べる。まとめる。最後に答える。",
    "請" + "先仔細想想問題的意思再慢慢回答" * 18,
    "你应该先想。然后查。再比较。接着写。检查。最后回答。",
    "You should ask! You should wait! You should see! You should do! You should go! Do end!",
    "You should do a? You should do b? You should do c? You should do d? You should do e? And f?",
    "1. You should a.\n2. You should b.\n3. You should c.\n4. You should d.\n5. Do e.\n6. No",
    "You should " + "x " * 121,
    "You should care about it. you should see it. you should know it. you should want it. "
    "you should have it. you should give it.",
]


@pytest.mark.parametrize("text", LONG)
def test_a_reasoning_past_five_sentences_or_120_words_is_too_long(text: str) -> None:
    assert "length" in of_reasoning(text)


@pytest.mark.parametrize("text", GOOD_REASONINGS)
def test_a_good_reasoning_has_no_finding(text: str) -> None:
    assert check_reasoning(text, QUESTION) == []


@pytest.mark.parametrize("text", LONG)
def test_the_length_of_an_answer_is_free(text: str) -> None:
    assert "length" not in of_answer(text)


NOT_OF_FORM = [
    "The sky is blue because short waves scatter more.",
    "I think the answer has to do with air.",
    "Think step by step before you answer.",
    "You could look at the air. You might check the sun.",
    "Let us look at the question. It asks about light. We need physics.",
    "You should read it. Light is a wave. Waves have a length. Air is thin. It scatters.",
    "You should think. By doing so, the assistant can answer well.",
    "As an AI language model, you should be careful.",
    "You should answer.<|response|>Because of the air.",
    "You should answer. </s>",
    "[INST] You should answer. [/INST]",
    "<think>You should look at the air.</think>",
    "Reasoning: You should look at the air.",
    "You should wait.\nUser: why?\nAssistant: because.",
    "### Response:\nYou should look at the air.",
    "First identify the key words of the question. Then you should answer.",
    "質問の要点をまとめる必要があります。",
    "你应该先看问题。",
    "You should help. The assistant's answer should be short, and you should check it.",
]


@pytest.mark.parametrize("text", NOT_OF_FORM)
def test_a_reasoning_of_another_form_is_found(text: str) -> None:
    assert "form" in of_reasoning(text)


LEFTOVER_ANSWERS = [
    "Because of the air.<|endoftext|>",
    "<|response|>Because of the air.",
    "Because of the air. </s>",
    "[INST] why? [/INST] Because.",
    "<think>hm</think> Because of the air.",
    "User: why?\nAssistant: because of the air.",
    "Assistant: It is the air.",
    "**Assistant:** It is the air.",
    "As an AI language model, I do not see the sky.",
    "I, as a large language model, cannot look up.",
    "### Response:\nIt is the air.",
    "Response: It is the air.",
    "AI言語モデルとして、空は見えません。",
    "作为一个AI，我看不到天空。",
    "<<SYS>> be nice <</SYS>> It is the air.",
    "Human: and then?",
]
CLEAN_ANSWERS = [
    "Air scatters short waves more than long ones.",
    "Use `<b>` for bold text and <i> for italics.",
    "x < y and y > z, so |x| is small.",
    "The assistant manager opens the shop.",
    "The assistant hands the tools to the surgeon.",
    "An AI can draw pictures.",
    "A user: someone who uses a thing.",
    "# Title\nSome text",
    "## Why\nBecause of the air.",
    "Step 1: look up.\nStep 2: wonder.",
    "「空は青い」と彼は言いました。",
    "AIは絵を描けます。",
    "人工智能可以画画。",
    "You should look up.",
    "The response of the plant: it turns to the light.",
    "s</span> is the end of a span.",
]


@pytest.mark.parametrize("text", LEFTOVER_ANSWERS)
def test_leftovers_in_an_answer_are_found(text: str) -> None:
    assert "form" in of_answer(text)


@pytest.mark.parametrize("text", CLEAN_ANSWERS)
def test_clean_answers_have_no_form_finding(text: str) -> None:
    assert "form" not in of_answer(text)


@pytest.mark.parametrize(
    ("question", "reasoning"),
    [
        ("What does the assistant of a chef do?", "You should say what the assistant prepares."),
        ("Was ist ein Tag wie <|user|>?", "You should explain what <|user|> marks."),
        ("Who helps the manager?", "You should name what the assistant manager does."),
        ("What does </s> mean?", "You should explain where </s> stands in a text."),
        ("What does [INST] mean?", "You should explain what [INST] opens."),
    ],
)
def test_what_the_question_holds_is_no_leftover(question: str, reasoning: str) -> None:
    assert "form" not in of_reasoning(reasoning, CheckContext(question=question))


LOOPS = [
    "the the the the the the the",
    "You should think. You should think. You should think. You should think.",
    "It is blue because it is blue because it is blue because it is blue.",
    "and so on and so on and so on and so on and so on",
    "First we look at the sky.\nFirst we look at the sky.\nFirst we look at the sky.",
    "You should compare them, then compare them, then compare them, then compare them, then stop.",
    "A good start. a b c d e f g a b c d e f g a b c d e f g",
    "はははははははははははははははははははは",
    "空は青いです。空は青いです。空は青いです。空は青いです。",
    "それはとてもとてもとてもとてもとてもとても青い。",
    "まず空を見て考える、まず空を見て考える、まず空を見て考える、まず空を見て考える",
    "天空是蓝色的，天空是蓝色的，天空是蓝色的，天空是蓝色的。",
    "因为因为因为因为因为因为因为因为因为",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "One fine day. The cat sat on the mat. The dog ran off. The cat sat on the mat. "
    "The bird sang. The cat sat on the mat.",
    "- red apple pie\n- red apple pie\n- red apple pie\n- red apple pie",
]
NO_LOOPS = [
    "It is very, very, very blue.",
    "No, no, no! The sky is not a lid.",
    "You should compare the cost. You should compare the time. You should compare the risk.",
    "ha ha ha ha, that is funny",
    "わんわんわんわんと犬が鳴く。",
    "ゆっくりゆっくりゆっくり歩く。",
    "そしてそして、物語は続く。",
    "人人都爱看星星，星星也看人人。",
    "天天向上，好好学习，天天开心。",
    "1 0 0 0 0 0 0 1 is a row of digits.",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "To be, or not to be, that is the question.",
    "The more you look, the more you see; the more you see, the more you ask.",
    "Row, row, row your boat, gently down the stream.",
    "a\n\n\n\n\nb",
    "赤い花、青い花、白い花、黄色い花が咲いている。",
    "",
]


@pytest.mark.parametrize("text", LOOPS)
def test_loops_are_found(text: str) -> None:
    assert "repetition" in of_answer(text)


@pytest.mark.parametrize("text", NO_LOOPS)
def test_emphasis_lists_and_sayings_are_no_loops(text: str) -> None:
    assert "repetition" not in of_answer(text)


def test_a_refrain_of_three_in_a_song_is_no_loop() -> None:
    song = (
        "We sail at dawn, my friend and I.\nThe harbour wakes, the seagulls cry.\n"
        "Sing low, sing high, sing to the sea.\nThe nets are old, the boat is new.\n"
        "Sing low, sing high, sing to the sea.\nAnd home by night, a merry crew.\n"
        "Sing low, sing high, sing to the sea."
    )
    assert "repetition" in of_answer(song)
    assert "repetition" not in of_answer(song, CheckContext(question="A song?", role="creator"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n",
        "\t",
        "...",
        "。",
        "！？",
        "-",
        "***",
        "—",
        "「」",
        "()",
        "…",
        "、、、",
        "_ _",
    ],
)
def test_a_text_without_a_letter_or_digit_is_empty_and_nothing_else(text: str) -> None:
    assert of_reasoning(text) == {"empty"}
    assert of_answer(text) == {"empty"}


@pytest.mark.parametrize("text", ["a", "7", "山", "は", "É", "я", "½", "42!", "ok.", "- x"])
def test_one_letter_or_digit_is_not_empty(text: str) -> None:
    assert "empty" not in of_answer(text)


@pytest.mark.parametrize("text", [*GOOD_REASONINGS, ""])
def test_cut_off_and_unparsed_come_from_the_generation(text: str) -> None:
    cut = CheckContext(question="Q", finish_reason="length", unparsed="no <|response|> tag")
    assert {"cut_off", "unparsed"} <= of_reasoning(text, cut)
    assert {"cut_off", "unparsed"} <= of_answer(text, cut)
    whole = CheckContext(question="Q", finish_reason="stop")
    assert not {"cut_off", "unparsed"} & (of_reasoning(text, whole) | of_answer(text, whole))


def test_findings_come_in_the_order_of_the_table_and_name_each_check_once() -> None:
    ctx = CheckContext(question="何？", finish_reason="length", unparsed="no tag", language="ja")
    text = "the assistant the assistant " * 80
    order = [finding.name for finding in check_reasoning(text, ctx)]
    assert order == sorted(set(order), key=list(CHECKS).index)
    assert len(order) >= 4


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("One. Two. Three.", 3),
        ("Dr. Snell wrote it. Mr. Hooke did not.", 2),
        ("Use e.g. a lens. It costs 3.50 euros.", 2),
        ("空は青い。海も青い！なぜ？", 3),
        ("「はい。」と言った。", 1),
        ("1. one\n2. two", 2),
        ("no stop", 1),
        ("", 0),
    ],
)
def test_sentences_are_counted_as_people_do(text: str, n: int) -> None:
    assert len(split_sentences(text)) == n


@pytest.mark.parametrize(
    ("text", "n"),
    [("two words", 2), ("日本語", 2), ("東京 Tower", 2), ("café au lait", 3), ("", 0)],
)
def test_two_japanese_or_chinese_characters_count_as_one_word(text: str, n: int) -> None:
    assert count_words(text) == n
