"""Text from people cannot change the structure of a prompt: properties that hold for any text."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from serving.formats.definitions import (
    Completion,
    FormatDefinition,
    PromptError,
    PromptFields,
    Task,
)
from serving.formats.library import load_definitions
from serving.formats.render import IGNORED_LABEL, render, render_example
from serving.formats.sanitise import Segment, sanitise, structure_pattern
from serving.formats.tokenizer import PromptTokenizer
from tests.unit.tokenizer_samples import HOSTILE, NAMES, named, small, texts

DEFINITIONS = load_definitions()
TAGGED = DEFINITIONS.format("tagged")
CHAT = DEFINITIONS.format("chat")
FORMATS = pytest.mark.parametrize("form", [TAGGED, CHAT], ids=["tagged", "chat"])
TASKS: tuple[Task, ...] = tuple(TAGGED.tasks.given())
NEIGHBOURS = FormatDefinition.model_validate(
    TAGGED.dump()
    | {
        "name": "neighbours",
        "tasks": {"vanilla": {"prompt": "{system}{question}{context}", "completion": "{answer}"}},
    }
)

fields = st.builds(
    PromptFields,
    system=texts,
    question=texts,
    context=texts,
    reasoning=texts,
    answer=texts,
    reasoning_a=texts,
    reasoning_b=texts,
)
completions = st.builds(Completion, reasoning=texts, response=texts)


@pytest.fixture(scope="session", params=NAMES)
def tokenizer(request: pytest.FixtureRequest) -> PromptTokenizer:
    return named(request)


def plain_like(values: PromptFields) -> PromptFields:
    """Return harmless values that are empty where those of ``values`` are."""
    return PromptFields(
        system="Help." if values.system else "",
        question="Why?",
        context="So." if values.context else "",
        reasoning="Think.",
        answer="Yes.",
        reasoning_a="One.",
        reasoning_b="Two.",
    )


def control(tokenizer: PromptTokenizer, ids: Sequence[int]) -> list[int]:
    return [index for index in ids if index in tokenizer.control_ids]


def structure(tokenizer: PromptTokenizer, form: FormatDefinition, ids: Sequence[int]) -> list[str]:
    """Return every tag and control token that a model reads in ``ids``, in order."""
    return tokenizer.structure(form.tags).findall(tokenizer.decode(ids))


@FORMATS
@given(task=st.sampled_from(TASKS), values=fields)
@settings(max_examples=120, deadline=None)
def test_a_prompt_has_the_structure_of_its_template_whatever_people_write(
    form: FormatDefinition, task: Task, values: PromptFields, tokenizer: PromptTokenizer
) -> None:
    prompt = render(form, task, values, tokenizer)
    plain = render(form, task, plain_like(values), tokenizer)
    ids = prompt.token_ids
    assert ids[0] == tokenizer.bos_token_id != ids[1]
    assert control(tokenizer, ids) == control(tokenizer, plain.token_ids)
    found = structure(tokenizer, form, ids)
    assert found == structure(tokenizer, form, plain.token_ids)
    assert tokenizer.structure(form.tags).findall(prompt.text) == (
        tokenizer.structure(form.tags).findall(plain.text)
    )
    if form is TAGGED:
        assert [tag for tag in found if tag in form.tags] == [
            tag for tag in form.tags if tag in TAGGED.tasks.given()[task].prompt
        ]


@FORMATS
@given(task=st.sampled_from(TASKS), values=fields, written=completions)
@settings(max_examples=80, deadline=None)
def test_an_example_begins_with_the_served_ids_and_ends_once(
    form: FormatDefinition,
    task: Task,
    values: PromptFields,
    written: Completion,
    tokenizer: PromptTokenizer,
) -> None:
    served = render(form, task, values, tokenizer).token_ids
    example = render_example(form, task, values, written, tokenizer)
    assert example.token_ids[: len(served)] == served
    assert set(example.labels[: len(served)]) == {IGNORED_LABEL}
    learned = example.token_ids[len(served) :]
    assert example.labels[len(served) :] == learned
    templates = form.tasks.given()[task]
    end = tokenizer.turn_end_id if form is CHAT else tokenizer.eos_token_id
    assert control(tokenizer, learned) == ([end] if templates.ends_with_stop_token else [])
    expected = [tag for tag in form.tags if tag in templates.completion]
    assert [tag for tag in structure(tokenizer, form, learned) if tag in form.tags] == expected


@given(values=fields)
@settings(max_examples=120, deadline=None)
def test_neighbouring_texts_form_no_tag_together(
    values: PromptFields, tokenizer: PromptTokenizer
) -> None:
    prompt = render(NEIGHBOURS, "vanilla", values, tokenizer)
    assert control(tokenizer, prompt.token_ids) == [tokenizer.bos_token_id]
    assert structure(tokenizer, NEIGHBOURS, prompt.token_ids) == [tokenizer.bos_token]


@given(values=fields)
def test_text_for_engines_without_ids_holds_each_tag_once(values: PromptFields) -> None:
    text = render(TAGGED, "answer", values).text
    assert [tag for tag in TAGGED.tags if text.count(tag) != 1] == []
    assert not any(token in text for token in ("<s>", "</s>", "<|im_end|>", "<|endoftext|>"))


@FORMATS
def test_each_hostile_text_in_each_place(
    form: FormatDefinition, tokenizer: PromptTokenizer
) -> None:
    for text in HOSTILE:
        values = PromptFields(system=text, question=text, context=text, reasoning=text)
        ids = render(form, "answer", values, tokenizer).token_ids
        plain = render(form, "answer", plain_like(values), tokenizer).token_ids
        assert structure(tokenizer, form, ids) == structure(tokenizer, form, plain)


def test_a_text_without_tags_is_sent_as_it_is(tokenizer: PromptTokenizer) -> None:
    text = "> a < b, x|y, <b>bold</b>  two\n\n日本語 e\u0301 \U0001f999"
    fields = PromptFields(system="S", question=text)
    assert text in tokenizer.decode(render(TAGGED, "vanilla", fields, tokenizer).token_ids)


def test_a_tag_is_broken_by_one_visible_space(tokenizer: PromptTokenizer) -> None:
    fields = PromptFields(system="S", question="What does <|reasoning|> mean?")
    text = render(TAGGED, "vanilla", fields, tokenizer).text
    assert "<|instruction|>What does < |reasoning|> mean?\n" in text
    assert fields.question == "What does <|reasoning|> mean?"


def test_characters_that_a_vocabulary_drops_cannot_hide_a_tag(tokenizer: PromptTokenizer) -> None:
    fields = PromptFields(system="S", question="<|rea\x04soning|> \ud800")
    text = tokenizer.decode(render(TAGGED, "vanilla", fields, tokenizer).token_ids)
    assert "<|rea\ufffdsoning|> \ufffd" in text


@given(question=texts)
@settings(max_examples=60, deadline=None)
def test_a_vocabulary_that_normalises_makes_no_tag(
    question: str, normalising: PromptTokenizer
) -> None:
    fields = PromptFields(system="S", question=question.replace("<", "＜").replace("|", "｜"))
    ids = render(TAGGED, "reasoning", fields, normalising).token_ids
    assert structure(normalising, TAGGED, ids) == [
        "<|instruction|>",
        "<|context|>",
        "<|reasoning|>",
    ]


@pytest.fixture(scope="session")
def normalising(embedded_model: Path) -> PromptTokenizer:
    return PromptTokenizer(small(embedded_model, normalizer={"type": "NFKC"}), {})


literals = st.text(alphabet="<|a> ", min_size=2, max_size=4).filter(lambda tag: tag == tag.strip())


@given(
    tags=st.lists(literals, min_size=1, max_size=3),
    parts=st.lists(st.tuples(st.text(alphabet="<|a> ", max_size=6), st.booleans()), max_size=5),
)
def test_no_tag_is_left_outside_trusted_text(
    tags: list[str], parts: list[tuple[str, bool]]
) -> None:
    pattern = structure_pattern(tags)
    segments = [Segment(text, trusted) for text, trusted in parts]
    assume(all(pattern.search(segment.text) is None for segment in segments if segment.trusted))
    safe = sanitise(segments, pattern)
    joined = "".join("\0" if segment.trusted else segment.text for segment in safe)
    assert pattern.search(joined) is None
    assert [s.text for s in safe if s.trusted] == [s.text for s in segments if s.trusted]
    assert [s.text.replace(" ", "") for s in safe] == [s.text.replace(" ", "") for s in segments]


def test_a_very_long_text_full_of_tags_is_made_safe_in_time() -> None:
    count = 100_000
    safe = sanitise([Segment("<|a|>" * count, trusted=False)], structure_pattern(["<|a|>"]))
    assert safe == [Segment("< |a|>" * count, trusted=False)]


def test_tags_that_a_space_makes_into_each_other_are_refused() -> None:
    spaces = structure_pattern([f"a{' ' * count}b" for count in range(30)])
    with pytest.raises(PromptError, match="choose tags"):
        sanitise([Segment("ab", trusted=False)], spaces)
