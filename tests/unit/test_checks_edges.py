"""Texts on which an automatic check is easily wrong: each finding beside its near miss."""

import pytest

from serving.checks.form import form_problem
from serving.checks.language import detect_language, language_problem
from serving.checks.leak import find_leak
from serving.checks.text import CheckContext, CheckedText


def leak(reasoning: str, target: str, question: str = "Which one is it?") -> str | None:
    return find_leak(reasoning, target, question, "", exact=True)


@pytest.mark.parametrize(
    ("reasoning", "target"),
    [
        ("You should name C++ because of its speed.", "C++"),
        ("You should name F# here.", "F#"),
        ("You should find that x = -5 in the end.", "-5"),
        ("You should find that it is \u22125 degrees.", "-5"),
        ("You should say pi is near 3.14 here.", "3.14"),
        ("You should say that it is 50 percent.", "50%"),
        ("You should say that it is 50%.", "50 percent"),
        ("You should remember 1,000 metres.", "1000"),
        ("You should remember 1 000 metres.", "1,000"),
        ("You should remember １，０００ metres.", "1000"),
        ("Paris is the city to name.", "The capital of France is Paris, on the river Seine."),
    ],
)
def test_an_answer_in_the_reasoning_is_found_however_it_is_written(
    reasoning: str, target: str
) -> None:
    assert leak(reasoning, target)


@pytest.mark.parametrize(
    ("reasoning", "target"),
    [
        ("You should speak of vitamin C and of others.", "C++"),
        ("You should compare with C and Java.", "C#"),
        ("You should add 5 and then think again.", "-5"),
        ("You should look at pages 3-5 first.", "-5"),
        ("You should count 50 people first.", "50%"),
        ("You should think of 1 and of 100 cases.", "1,000"),
        ("The reader should know. Consider the sea.", "The ships consider the sea to be wide."),
    ],
)
def test_what_only_resembles_the_answer_is_no_leak(reasoning: str, target: str) -> None:
    assert leak(reasoning, target) is None


def test_a_number_of_the_question_is_no_leak() -> None:
    assert leak("You should start from 1 000.", "1,000", "Is 1000 more than 10?") is None


@pytest.mark.parametrize(
    "text",
    [
        "量子力学的不確定性",
        "東京都庁舎",
        "日本国憲法第九条",
        "不可能的有限和",
        "for i in range(10): print(i if x is not y else z)",
        "E = m * c^2",
        "The Lord of the Rings",
        "42",
        "",
    ],
)
def test_names_code_and_formulas_are_of_no_language(text: str) -> None:
    assert detect_language(text) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我不知道。", "zh"),
        ("这是一个很好的问题", "zh"),
        ("東京は日本の首都です。", "ja"),
        ("The answer is that it is not known (at all).", "en"),
        ("Es ist nicht bekannt, und die Antwort ist offen.", "de"),
    ],
)
def test_sentences_are_still_told_apart(text: str, language: str) -> None:
    assert detect_language(text) == language


def test_a_title_in_english_answers_a_japanese_question() -> None:
    ctx = CheckContext(
        question="この映画の原題は何ですか。", context="", role="assistant", language="ja"
    )
    title, sentence = "The Lord of the Rings", "It is the one that you have seen."
    assert language_problem(CheckedText(text=title, kind="answer", ctx=ctx)) is None
    assert language_problem(CheckedText(text=sentence, kind="answer", ctx=ctx))


def form(text: str, question: str) -> str | None:
    ctx = CheckContext(question=question, context="", role="assistant", language="en")
    return form_problem(CheckedText(text=text, kind="reasoning", ctx=ctx))


@pytest.mark.parametrize(
    "question",
    [
        "What does a dental assistant do?",
        "研究アシスタントの仕事は何ですか。",
        "助手は何をしますか。",
    ],
)
def test_a_question_about_an_assistant_may_be_reasoned_about(question: str) -> None:
    text = "You should say what the assistant does in a day."
    assert form(text, question) is None
    assert form(text, "Why is the sky blue?") == "leftover: the assistant"
    assert form("You should say what the AI assistant can do.", question)
