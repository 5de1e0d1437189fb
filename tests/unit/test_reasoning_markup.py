"""Texts that hold a reasoning and an answer, in the markup of many models, and texts about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.formats.parse import read_json_object, read_questions
from serving.formats.reasoning_markup import (
    NO_ANSWER,
    SECOND_REASONING,
    UNCLOSED,
    SplitText,
    opens_reasoning,
    reasoning_tag,
    split_reasoning,
)

ADD = "You should add."
FOUR = "Four"


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{ADD}</think>\n{FOUR}",
        f"<think>\n{ADD}\n</think>\n\n{FOUR}",
        f"<think>{ADD}</think>{FOUR}",
        f"{ADD}\n</think>\n\n{FOUR}",
        f"{ADD}</think>{FOUR}",
        f"<THINK>{ADD}</THINK> {FOUR}",
        f"<thinking>{ADD}</thinking>\n{FOUR}",
        f"<thought>{ADD}</thought>\n<answer>{FOUR}</answer>",
        f"<reasoning>\n{ADD}\n</reasoning>\n<answer>\n{FOUR}\n</answer>",
        f"<reasoning>{ADD}</reasoning><answer>{FOUR}",
        f"<seed:think>{ADD}</seed:think>{FOUR}",
        f"[THINK]{ADD}[/THINK]{FOUR}",
        f"\u25c1think\u25b7{ADD}\u25c1/think\u25b7{FOUR}",
        f"<|begin_of_thought|>\n\n{ADD}\n\n<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>\n\n{FOUR}\n\n<|end_of_solution|>",
        f"<|START_THINKING|>{ADD}<|END_THINKING|><|START_RESPONSE|>{FOUR}<|END_RESPONSE|>",
        f"<|channel>thought\n{ADD}<channel|>{FOUR}",
        f"<|channel|>analysis<|message|>{ADD}<|end|><|start|>assistant<|channel|>final"
        f"<|message|>{FOUR}<|return|>",
        f"<|start|>assistant<|channel|>analysis<|message|>{ADD}<|end|>\n"
        f"<|start|>assistant<|channel|>final<|message|>{FOUR}",
        f"analysis{ADD}assistantfinal{FOUR}",
    ],
)
def test_a_reasoning_and_its_answer_are_told_apart(text: str) -> None:
    assert split_reasoning(text) == SplitText(ADD, FOUR)


@pytest.mark.parametrize(
    "text",
    [
        "use the <think> tag",
        "The `<think>` tag opens a thought, `</think>` closes it.",
        "`<think>x</think>` is how it is written",
        "<think> is a tag that some models write first",
        "<think>these</think> stand around thoughts",
        "They think between <think>these</think>",
        "What ends a thought is </think>",
        "Write:\n```\n<think>\nyour thought\n</think>\n```",
        "<answer>is a tag</answer>",
        "<b>bold</b> and a[0] < 3",
    ],
)
def test_a_text_that_speaks_of_markup_stays_as_it_is(text: str) -> None:
    assert split_reasoning(text) == SplitText(None, text)


def test_an_empty_reasoning_is_none() -> None:
    for text in ("<think>\n\n</think>\n\nFour", "</think>\n\nFour", "<think></think>Four"):
        assert split_reasoning(text) == SplitText(None, FOUR)


def test_a_reasoning_without_an_answer_is_no_answer() -> None:
    assert split_reasoning(f"<think>{ADD}</think>") == SplitText(ADD, None, NO_ANSWER)
    for text in (f"<think>{ADD}", f"<think>\n{ADD}\n", f"<|begin_of_thought|>{ADD}"):
        assert split_reasoning(text) == SplitText(ADD, None, UNCLOSED, is_unclosed=True)
    assert split_reasoning(f"<|channel|>analysis<|message|>{ADD}").answer is None


def test_a_reasoning_may_speak_of_its_own_tags() -> None:
    speaks = "I write no <think> tag. It closes with </think> as usual."
    assert split_reasoning(f"<think>{speaks}</think>{FOUR}") == SplitText(speaks, FOUR)
    nested = "a <think>b</think> c"
    assert split_reasoning(f"<think>{nested}</think>{FOUR}") == SplitText(nested, FOUR)


def test_thoughts_between_the_parts_of_an_answer_are_joined() -> None:
    text = f"<think>\n{ADD}\n</think>\nFirst.\n<think>\nGo on.\n</think>\nSecond."
    assert split_reasoning(text) == SplitText(f"{ADD}\n\nGo on.", "First.\n\nSecond.")


def test_what_cannot_be_split_is_said() -> None:
    twice = split_reasoning("<think>a</think>b</think>c")
    assert twice.problem == "holds </think> again after its reasoning"
    tool = "<|channel|>commentary to=f<|message|>{}<|call|>"
    assert split_reasoning(tool).problem == "holds a message on the channel 'commentary'"


def test_a_reasoning_beside_the_text_is_the_reasoning() -> None:
    assert split_reasoning(FOUR, reasoning=f" {ADD} ") == SplitText(ADD, FOUR)
    assert split_reasoning(FOUR, reasoning=f"<think>{ADD}</think>") == SplitText(ADD, FOUR)
    assert split_reasoning(FOUR, reasoning="\n") == SplitText(None, FOUR)
    both = split_reasoning(f"<think>\n{ADD}\n</think>{FOUR}", reasoning=ADD)
    assert both == SplitText(ADD, FOUR)
    assert split_reasoning(f"<answer>{FOUR}</answer>", reasoning=ADD) == SplitText(ADD, FOUR)
    other = split_reasoning(f"<think>{ADD}</think>{FOUR}", reasoning="You should count.")
    assert other.problem == SECOND_REASONING
    assert split_reasoning("", reasoning=ADD) == SplitText(ADD, None, NO_ANSWER)


def test_a_prompt_that_opened_the_reasoning_is_recognised() -> None:
    assert opens_reasoning("<|im_start|>assistant\n<think>\n")
    assert not opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert split_reasoning(f"{ADD}\n</think>\n{FOUR}", opened=True) == SplitText(ADD, FOUR)
    assert split_reasoning(ADD, opened=True).is_unclosed
    again = f"<think>\n{ADD}\n</think>\n{FOUR}"
    assert split_reasoning(again, opened=True) == SplitText(ADD, FOUR)


def test_a_tag_is_found_wherever_it_stands() -> None:
    assert reasoning_tag("use the <think> tag") == "<think>"
    assert reasoning_tag("a < b") is None


PIECES = ["<think>", "</think>", "\n", " ", "[THINK]", "<answer>", "<|channel|>", "<|message|>"]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5))).map("".join)


@given(TEXTS, st.booleans())
def test_any_text_is_split_and_nothing_in_it_is_made_up(text: str, opened: bool) -> None:
    split = split_reasoning(text, opened=opened)
    for part in (split.reasoning, split.answer):
        assert part is None or part == part.strip() != ""
        assert all(piece in text for piece in (part or "").split("\n\n"))
    assert split.answer is None or not split.is_unclosed


def test_lists_that_a_model_thought_of_are_not_the_ones_that_it_gave() -> None:
    text = '<think>Not ["Who?"], rather {"why": "so"}.</think>\n["Why is that so?"]'
    assert read_questions(text, cut=False).items == ("Why is that so?",)
    assert read_json_object('<think>{"better": "no"}</think>{"better": "first"}') == {
        "better": "first"
    }
    assert read_questions('<think>Maybe ["Why?"', cut=True).items == ()
