import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.formats.definitions import Task
from serving.formats.library import load_definitions
from serving.formats.parse import ParsedCompletion, parse_completion

TAGGED = load_definitions().format("tagged")
CHAT = load_definitions().format("chat")


def parse(task: Task, text: str, finish_reason: str = "stop") -> ParsedCompletion:
    return parse_completion(TAGGED, task, text, finish_reason)


def test_a_reasoning_that_the_stop_string_ended_is_the_whole_completion() -> None:
    assert parse("reasoning", " You should look.\n") == ParsedCompletion(
        "You should look.", None, None
    )


@pytest.mark.parametrize("task", ["reasoning", "rationalise", "ensemble", "whole"])
def test_a_response_after_its_tag_is_split_off(task: Task) -> None:
    parsed = parse(task, "You should look.\n<|response|>Fuji\n")
    assert parsed == ParsedCompletion("You should look.", "Fuji", None)


@pytest.mark.parametrize("task", ["answer", "vanilla"])
def test_an_answer_is_the_response(task: Task) -> None:
    assert parse(task, "\nFuji <|endoftext|>") == ParsedCompletion(None, "Fuji", None)


@pytest.mark.parametrize(
    ("task", "text", "finish_reason", "problem"),
    [
        ("reasoning", " \n", "stop", "empty reasoning"),
        ("reasoning", "<|response|>Fuji", "stop", "empty reasoning"),
        ("whole", "You should look.", "stop", "no response tag"),
        ("whole", "You should look.", "length", "cut off before the response tag"),
        ("whole", "You should look.<|response|> ", "stop", "empty response"),
        ("answer", "", "stop", "empty response"),
        ("answer", "</s>", "stop", "empty response"),
        ("answer", "Fuji<|context|>x", "stop", "tag repeated: <|context|>"),
        ("whole", "Look<|response|>Fuji<|response|>F", "stop", "tag repeated: <|response|>"),
        ("whole", "Look<|reasoning|>x<|response|>F", "stop", "tag repeated: <|reasoning|>"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    task: Task, text: str, finish_reason: str, problem: str
) -> None:
    assert parse(task, text, finish_reason).problem == problem


def test_a_part_ends_where_a_repeated_tag_begins() -> None:
    parsed = parse("whole", "Look<|response|>Fuji\n<|instruction|>And then?")
    assert (parsed.reasoning, parsed.response) == ("Look", "Fuji")


def test_the_tag_that_the_prompt_ended_with_may_be_written_again() -> None:
    assert parse("reasoning", "<|reasoning|>You should look.").reasoning == "You should look."
    assert parse("answer", "<|response|> Fuji") == ParsedCompletion(None, "Fuji", None)


def test_a_tag_that_the_length_cut_in_two_is_left_out() -> None:
    assert parse("reasoning", "You should look.\n<|resp", "length").reasoning == "You should look."
    assert parse("reasoning", "You should look.\n<|resp").reasoning == "You should look.\n<|resp"


def test_control_text_around_a_part_is_stripped_but_not_the_words_between() -> None:
    text = "<|assistant|>\n You should ask what </s> means. <|im_end|>\n<|endoftext|> "
    assert parse("reasoning", text).reasoning == "You should ask what </s> means."


@pytest.mark.parametrize(
    "text",
    [
        "use <s>old</s>",
        "<s>old</s> is struck through",
        "<s>old</s> and <s>older</s>",
        "<think> is a tag that some models write first",
        "Some models write <think>",
        "They think between <think>these</think>",
        "<think>these</think> stand around thoughts",
        "What ends a thought is </think>",
        "</s> ends a text",
        "[INST] a turn [/INST] and more",
    ],
)
def test_markup_that_a_text_speaks_of_stays(text: str) -> None:
    assert parse("answer", text) == ParsedCompletion(None, text, None)
    assert parse("answer", f"{text}<|im_end|>").response == text


@pytest.mark.parametrize(
    "text",
    [
        "<s> Fuji</s>",
        "Fuji</s>",
        "Fuji </s><s>",
        "</think>\n\nFuji",
        "<think>\n\n</think>\n\nFuji",
        "Fuji<eos>",
        "Fuji<end_of_turn>\n<eos>",
        "Fuji<eoh>",
        "<\uff5cAssistant\uff5c>Fuji<\uff5cend\u2581of\u2581sentence\uff5c>",
        "[|assistant|]Fuji[|endofturn|]",
        "[/INST] Fuji</s>",
    ],
)
def test_what_an_engine_leaves_around_a_text_goes(text: str) -> None:
    assert parse("answer", text) == ParsedCompletion(None, "Fuji", None)


def test_markup_of_a_text_stays_among_what_an_engine_left() -> None:
    assert parse("answer", "<s>use <s>old</s></s>").response == "use <s>old</s>"
    assert parse("answer", "<s>use <s>old</s>").response == "use <s>old</s>"
    assert parse("answer", "use <s>old</s></s>").response == "use <s>old</s>"


def test_a_chat_completion_is_split_at_its_heading() -> None:
    parsed = parse_completion(CHAT, "whole", "You should look.\n### Answer\nFuji", "stop")
    assert parsed == ParsedCompletion("You should look.", "Fuji", None)
    parsed = parse_completion(CHAT, "reasoning", "<reasoning>\nLook.\n</reasoning>", "stop")
    assert parsed == ParsedCompletion("Look.", None, None)


@pytest.mark.parametrize("task", ["answer", "vanilla", "whole"])
@pytest.mark.parametrize(
    "text",
    [
        "<think>\nYou should look.\n</think>\n\nFuji<|im_end|>",
        "You should look.\n</think>\n\nFuji",
        "<|assistant|><think>You should look.</think>Fuji",
        "<reasoning>\nYou should look.\n</reasoning>\n<answer>\nFuji\n</answer>",
        "<|channel|>analysis<|message|>You should look.<|end|><|start|>assistant"
        "<|channel|>final<|message|>Fuji<|return|>",
    ],
)
def test_what_a_model_thought_in_markup_is_no_part_of_its_answer(task: Task, text: str) -> None:
    for form in (TAGGED, CHAT):
        parsed = parse_completion(form, task, text, "stop")
        assert parsed == ParsedCompletion("You should look.", "Fuji", None)


def test_a_reasoning_that_was_asked_for_stands_after_the_thought_of_the_model() -> None:
    thought = "<think>\nThe user wants sentences.\n</think>\n"
    assert parse("reasoning", f"{thought}You should look.").reasoning == "You should look."
    whole = parse("whole", f"{thought}You should look.\n<|response|>Fuji")
    assert whole == ParsedCompletion("You should look.", "Fuji", None)
    assert parse("reasoning", "<think>You should look.</think>").reasoning == "You should look."


def test_a_thought_without_an_answer_is_no_answer() -> None:
    for text in ("<think>Fuji</think>", "Fuji\n</think>"):
        assert parse("answer", text) == ParsedCompletion(
            "Fuji", None, "holds no answer after its reasoning"
        )
    cut = parse("answer", "<think>\nFuji is", "length")
    assert (cut.reasoning, cut.response) == ("Fuji is", None)
    assert cut.problem == "holds a reasoning that is never closed, so no answer"
    opened = parse_completion(TAGGED, "answer", "Fuji is", "length", opened=True)
    assert opened == cut


def test_a_reasoning_that_a_server_gives_beside_the_text_is_the_reasoning() -> None:
    found = parse_completion(TAGGED, "vanilla", "Fuji", "stop", reasoning="You should look.")
    assert found == ParsedCompletion("You should look.", "Fuji", None)
    asked = parse_completion(TAGGED, "reasoning", "You should look.", "stop", reasoning="Hm.")
    assert asked.reasoning == "You should look."


@given(
    text=st.lists(
        st.one_of(
            st.sampled_from([*TAGGED.tags, *CHAT.tags, "</s>", "<|im_end|>", "\n"]), st.text()
        )
    ).map("".join),
    finish_reason=st.sampled_from(["stop", "length", None]),
)
def test_any_text_is_parsed_and_no_part_holds_a_tag(text: str, finish_reason: str | None) -> None:
    for form in (TAGGED, CHAT):
        for task in form.tasks.given():
            parsed = parse_completion(form, task, text, finish_reason)
            for part in (parsed.reasoning, parsed.response):
                assert part is None or part == part.strip() != ""
                assert part is None or not any(tag in part for tag in form.tags)
            assert parsed.problem or parsed.reasoning or parsed.response
