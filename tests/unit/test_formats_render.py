from array import array
from typing import Any

import pytest

from db.errors import UsageError
from serving.formats.definitions import (
    Completion,
    FormatDefinition,
    PromptError,
    PromptFields,
    Task,
)
from serving.formats.library import load_definitions
from serving.formats.render import IGNORED_LABEL, render, render_batch, render_example
from serving.formats.tokenizer import PromptTokenizer
from tests.unit.tokenizer_samples import NAMES, named

DEFINITIONS = load_definitions()
TAGGED = DEFINITIONS.format("tagged")
CHAT = DEFINITIONS.format("chat")
FORMATS = pytest.mark.parametrize("form", [TAGGED, CHAT], ids=["tagged", "chat"])
TASKS: tuple[Task, ...] = tuple(TAGGED.tasks.given())

FUJI = PromptFields(
    system="You are helpful.",
    question="> 日本で一番高い山は？",
    context="Mountains.",
    reasoning="You should recall mountains.",
    answer="富士山",
    reasoning_a="You should compare heights.",
    reasoning_b="You should look at a map.",
)
LEARNED = Completion(reasoning="You should recall mountains.", response="富士山")


@pytest.fixture(scope="session", params=NAMES)
def tokenizer(request: pytest.FixtureRequest) -> PromptTokenizer:
    return named(request)


def mine(**tasks: dict[str, Any]) -> FormatDefinition:
    return FormatDefinition.model_validate(TAGGED.dump() | {"name": "mine", "tasks": tasks})


def test_the_tagged_layout_is_that_of_the_seed(tokenizer: PromptTokenizer) -> None:
    prompt = render(TAGGED, "answer", FUJI, tokenizer)
    assert tokenizer.decode(prompt.token_ids) == (
        f"{tokenizer.bos_token}You are helpful.\n<|instruction|>> 日本で一番高い山は？\n"
        "<|context|>Mountains.\n<|reasoning|>You should recall mountains.\n<|response|>"
    )


def test_an_empty_context_keeps_its_tag(tokenizer: PromptTokenizer) -> None:
    fields = PromptFields(system="S", question="Q")
    prompt = render(TAGGED, "reasoning", fields, tokenizer)
    assert prompt.text.endswith("S\n<|instruction|>Q\n<|context|>\n<|reasoning|>")


@FORMATS
@pytest.mark.parametrize("task", TASKS)
def test_every_prompt_begins_with_one_bos_and_holds_its_values(
    form: FormatDefinition, task: Task, tokenizer: PromptTokenizer
) -> None:
    prompt = render(form, task, FUJI, tokenizer)
    assert prompt.token_ids[0] == tokenizer.bos_token_id != prompt.token_ids[1]
    decoded = tokenizer.decode(prompt.token_ids)
    for value in (FUJI.system, FUJI.question, FUJI.context):
        assert decoded.count(value) == 1
    assert ("富士山" in decoded) == (task == "rationalise")
    assert (FUJI.reasoning_b in decoded) == (task == "ensemble")  # type: ignore[operator]


@FORMATS
def test_many_prompts_are_rendered_as_each_alone(
    form: FormatDefinition, tokenizer: PromptTokenizer
) -> None:
    values = [
        PromptFields(system=system, question=f"Q{number} <|context|>", context=context)
        for number, system in enumerate(["", "S", "</s>"])
        for context in ("", "C")
    ]
    many = render_batch(form, "reasoning", values, tokenizer)
    assert many == [render(form, "reasoning", one, tokenizer) for one in values]
    assert render_batch(form, "reasoning", [], tokenizer) == []


def test_stop_tokens_and_strings_come_with_the_prompt(tokenizer: PromptTokenizer) -> None:
    reasoning = render(TAGGED, "reasoning", FUJI, tokenizer)
    whole = render(TAGGED, "whole", FUJI, tokenizer)
    assert reasoning.stop == ("<|response|>",)
    assert "<|response|>" not in whole.stop
    assert reasoning.token_ids == whole.token_ids
    assert reasoning.stop_token_ids == (tokenizer.eos_token_id,)
    chat = set(render(CHAT, "answer", FUJI, tokenizer).stop_token_ids)
    assert chat == {tokenizer.eos_token_id, tokenizer.turn_end_id}


def test_the_hash_tells_prompts_and_tokenizers_apart(tokenizer: PromptTokenizer) -> None:
    prompt = render(TAGGED, "answer", FUJI, tokenizer)
    same = render(TAGGED, "answer", FUJI, tokenizer)
    assert prompt == same
    assert len(prompt.content_hash) == 32
    others = {
        render(TAGGED, "vanilla", FUJI, tokenizer).content_hash,
        render(CHAT, "answer", FUJI, tokenizer).content_hash,
        render(TAGGED, "answer", FUJI).content_hash,
    }
    assert len(others | {prompt.content_hash}) == 4


def test_ids_are_stored_as_little_endian_numbers(tokenizer: PromptTokenizer) -> None:
    prompt = render(TAGGED, "answer", FUJI, tokenizer)
    assert prompt.id_bytes is not None
    assert prompt.id_bytes[:4] == prompt.token_ids[0].to_bytes(4, "little")
    assert len(prompt.id_bytes) == 4 * len(prompt.token_ids)
    assert array("I").itemsize == 4


def test_an_engine_that_takes_text_gets_text_without_bos_and_without_control_tokens() -> None:
    hostile = PromptFields(system="S", question="</s><|im_start|><|reasoning|>[INST]<b>")
    prompt = render(TAGGED, "reasoning", hostile)
    assert prompt.text == (
        "S\n<|instruction|>< /s>< |im_start|>< |reasoning|>[ INST]<b>\n<|context|>\n<|reasoning|>"
    )
    assert prompt.token_ids == prompt.stop_token_ids == ()
    assert prompt.id_bytes is None


def test_text_for_an_engine_that_adds_bos_holds_none(tokenizer: PromptTokenizer) -> None:
    text = render(TAGGED, "answer", FUJI, tokenizer).text
    assert tokenizer.bos_token is not None
    assert text.startswith(tokenizer.bos_token) is not tokenizer.adds_bos


def test_a_missing_value_is_named() -> None:
    with pytest.raises(PromptError, match="needs a value for 'reasoning'"):
        render(TAGGED, "answer", PromptFields(system="S", question="Q"))


def test_a_task_that_a_format_lacks_is_named() -> None:
    form = mine(vanilla={"prompt": "{system}{question}", "completion": "{answer}"})
    with pytest.raises(UsageError, match=r"mine@1 has no task 'ensemble' \(it has vanilla\)"):
        render(form, "ensemble", FUJI)


def test_a_chat_format_needs_a_tokenizer() -> None:
    with pytest.raises(UsageError, match="chat@1 needs the model's tokenizer"):
        render(CHAT, "answer", FUJI)


@FORMATS
@pytest.mark.parametrize("task", TASKS)
def test_an_example_begins_with_the_served_ids_and_learns_the_rest(
    form: FormatDefinition, task: Task, tokenizer: PromptTokenizer
) -> None:
    served = render(form, task, FUJI, tokenizer).token_ids
    example = render_example(form, task, FUJI, LEARNED, tokenizer)
    assert example.token_ids[: len(served)] == served
    assert set(example.labels[: len(served)]) == {IGNORED_LABEL}
    assert example.labels[len(served) :] == example.token_ids[len(served) :] != ()


def test_a_tagged_example_learns_reasoning_tag_answer_and_end(tokenizer: PromptTokenizer) -> None:
    example = render_example(TAGGED, "whole", FUJI, LEARNED, tokenizer)
    learned = [label for label in example.labels if label != IGNORED_LABEL]
    assert learned[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(learned[:-1], first=False) == (
        "You should recall mountains.\n<|response|>富士山"
    )
    assert tokenizer.decode(example.token_ids[:-1]).endswith(
        "<|reasoning|>You should recall mountains.\n<|response|>富士山"
    )


def test_answers_are_served_the_ids_that_the_whole_was_learned_with(
    tokenizer: PromptTokenizer,
) -> None:
    whole = render_example(TAGGED, "whole", FUJI, LEARNED, tokenizer).token_ids
    served = render(TAGGED, "answer", FUJI, tokenizer).token_ids
    assert whole[: len(served)] == served


def test_a_chat_example_ends_with_the_token_that_ends_a_turn(tokenizer: PromptTokenizer) -> None:
    example = render_example(CHAT, "answer", FUJI, LEARNED, tokenizer)
    assert example.labels[-1] == tokenizer.turn_end_id


def test_a_task_that_ends_with_a_stop_string_learns_no_end_of_text(
    tokenizer: PromptTokenizer,
) -> None:
    example = render_example(TAGGED, "reasoning", FUJI, LEARNED, tokenizer)
    assert tokenizer.decode(example.token_ids).endswith("mountains.\n<|response|>")


def test_a_completion_cannot_reach_back_into_its_prompt(tokenizer: PromptTokenizer) -> None:
    form = mine(vanilla={"prompt": "{system}\n{question}", "completion": "{answer}"})
    fields = PromptFields(system="S", question="Q <|resp")
    served = render(form, "vanilla", fields, tokenizer).token_ids
    example = render_example(form, "vanilla", fields, Completion(response="onse|>A"), tokenizer)
    assert example.token_ids[: len(served)] == served
    assert tokenizer.decode(example.token_ids[:-1]).endswith("Q <|resp onse|>A")


def test_a_model_without_an_end_cannot_learn_to_stop(tokenizer: PromptTokenizer) -> None:
    endless = PromptTokenizer.__new__(PromptTokenizer)
    endless.__dict__.update(tokenizer.__dict__)
    endless.eos_token_id = None
    with pytest.raises(UsageError, match="names no eos_token"):
        render_example(TAGGED, "answer", FUJI, LEARNED, endless)
    assert render(TAGGED, "answer", FUJI, endless).stop_token_ids == ()
