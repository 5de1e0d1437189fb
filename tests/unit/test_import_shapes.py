"""Rows as public data sets and servers write them: nothing of them may end in the wrong place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from db.database import Database
from serving.formats.reasoning_markup import SplitText, split_reasoning, without_opening
from serving.importers import read_rows
from serving.importers.source import ImportFile, ImportRefused, ImportRow
from serving.importers.turns import turns_of, without_end
from tests.unit.dataset_lab import Lab, read_whole
from workbench.cli.main import app

Q, A = {"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A"}
BETTER, WORSE = [Q, A], [Q, {"role": "assistant", "content": "B"}]


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def read(lab: Lab, folder: Path, *rows: dict[str, Any]) -> ImportFile:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    (found,) = read_whole(path, lab.registry)
    return found


def example(lab: Lab, folder: Path, row: dict[str, Any]) -> ImportRow:
    found = read(lab, folder, row)
    assert found.problems == []
    (only,) = found.rows
    return only


def refused(lab: Lab, folder: Path, row: dict[str, Any]) -> str:
    found = read(lab, folder, row)
    assert not found.rows
    (problem,) = found.problems
    return problem.sentence


# Names


@pytest.mark.parametrize(
    "name", ["Held Out", "held-out", "heldOut", "HELDOUT", "isTest", "holdout"]
)
def test_a_held_out_mark_is_known_in_every_spelling(lab: Lab, tmp_path: Path, name: str) -> None:
    assert example(lab, tmp_path, {"question": "Q?", "answer": "A", name: True}).held_out is True


@pytest.mark.parametrize(
    "name", ["Chain-of-Thought", "reasoningContent", "Reasoning Trace", "think", "thought_process"]
)
def test_a_reasoning_is_known_in_every_spelling(lab: Lab, tmp_path: Path, name: str) -> None:
    row = example(lab, tmp_path, {"question": "Q?", "answer": "A", name: "R"})
    assert (row.reasoning, row.output) == ("R", "A")


def test_columns_with_one_name_in_two_spellings_are_refused(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,held_out,Held-Out\nQ?,false,true\n", "utf-8")
    (found,) = read_whole(path, lab.registry)
    assert "two columns have this name" in found.problems[0].sentence


@pytest.mark.parametrize("setting", ["on", "off", "high", True, False])
def test_how_a_model_ran_is_no_reasoning(lab: Lab, tmp_path: Path, setting: Any) -> None:
    found = read(lab, tmp_path, {"prompt": "Q?", "completion": "A", "reasoning": setting})
    assert found.rows[0].reasoning is None
    assert "Fields not used: reasoning." in found.notes


# Reasonings beside answers


@pytest.mark.parametrize(
    "beside",
    [
        {"reasoning_content": ["You should think."]},
        {"reasoning": {"content": "You should think."}},
        {"reasoning_details": [{"type": "reasoning.text", "text": "You should think."}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "You should think."}]},
        {"reasoning": "You should think.", "reasoning_details": [{"text": "You should"}]},
    ],
)
def test_a_reasoning_of_parts_beside_a_turn_is_kept(
    lab: Lab, tmp_path: Path, beside: dict[str, Any]
) -> None:
    found = read(lab, tmp_path, {"messages": [Q, {**A, **beside}]})
    (only,) = found.rows
    assert (only.reasoning, only.output) == ("You should think.", "A")
    assert found.notes == []


def test_each_text_of_a_pair_has_its_own_reasoning(lab: Lab, tmp_path: Path) -> None:
    row = {"prompt": "Q?", "chosen": "A", "rejected": "B"}
    pair = example(lab, tmp_path, {**row, "chosen_reasoning": "R", "rejected_reasoning": "S"})
    assert pair.rejected is not None
    assert (pair.reasoning, pair.rejected.reasoning, pair.scope) == ("R", "S", "whole")


def test_several_thoughts_and_system_turns_are_one_text_each(lab: Lab, tmp_path: Path) -> None:
    system = [{"role": "system", "content": "S"}, {"role": "developer", "content": "D"}]
    thoughts = [{"role": "assistant", "channel": "analysis", "content": text} for text in "RT"]
    row = example(lab, tmp_path, {"messages": [*system, Q, *thoughts, A]})
    assert (row.context, row.reasoning, row.output) == ("S\n\nD", "R\n\nT", "A")


def test_a_prompt_that_opens_the_reasoning_is_the_question_without_the_tag(
    lab: Lab, tmp_path: Path
) -> None:
    row = {"prompt": "Q?\n<think>\n", "completion": "R\n</think>\nA"}
    found = example(lab, tmp_path, row)
    assert (found.text, found.reasoning, found.output) == ("Q?", "R", "A")
    cut = refused(lab, tmp_path, {"prompt": "Q?\n<think>\n", "completion": "R and"})
    assert "never closed" in cut
    assert without_opening("What is the tag <think>") == ("What is the tag <think>", False)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("<think>R</think>\n<answer>A</answer><|im_end|>", ("R", "A")),
        ("<think>R</think><answer>A</answer> B", ("R", "<answer>A</answer> B")),
        ("<think type='x'>R</think>A", ("R", "A")),
        ("<analysis>R</analysis>A", ("R", "A")),
        ("<inner_monologue>R</inner_monologue>A", ("R", "A")),
        ("if a <think and b> c", (None, "if a <think and b> c")),
    ],
)
def test_tags_are_taken_off_whole_or_not_at_all(text: str, split: tuple[str | None, str]) -> None:
    assert split_reasoning(text) == SplitText(*split)


# Conversations written out as one text


CHATML = "<|im_start|>user\nQ?<|im_end|>\n<|im_start|>assistant\n"
LLAMA = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nQ?<|eot_id|>"
WHOLE = [
    f"{CHATML}A<|im_end|>\n",
    f"{LLAMA}<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>",
    "<s>[INST] Q? [/INST] A </s>",
    "<bos><start_of_turn>user\nQ?<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>",
    "<|user|>\nQ?<|end|>\n<|assistant|>\nA<|end|>",
    "<\uff5cbegin\u2581of\u2581sentence\uff5c><\uff5cUser\uff5c>Q?<\uff5cAssistant\uff5c>A",
    "\n\nHuman: Q?\n\nAssistant: A",
    "### Human: Q?### Assistant: A",
    "USER: Q? ASSISTANT: A",
    "Below is an instruction that describes a task.\n\n### Instruction:\nQ?\n\n### Response:\nA",
    json.dumps([Q, A]),
]


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_conversation_as_text_is_a_question_with_its_answer(
    lab: Lab, tmp_path: Path, text: str
) -> None:
    row = example(lab, tmp_path, {"text": text})
    assert (row.text, row.output) == ("Q?", "A")


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": "\n\nHuman: Q?\n\nAssistant: A", "rejected": "\n\nHuman: Q?\n\nAssistant: B"},
        {"prompt": "\n\nHuman: Q?\n\nAssistant:", "chosen": " A", "rejected": " B"},
        {"prompt": CHATML, "chosen": "A<|im_end|>", "rejected": "B<|im_end|>"},
        {"prompt": "Q?", "chosen": json.dumps(BETTER), "rejected": json.dumps(WORSE)},
        {"input": {"messages": [Q]}, "preferred_output": [A], "non_preferred_output": WORSE[1:]},
    ],
)
def test_a_pair_of_written_out_conversations_is_one_comparison(
    lab: Lab, tmp_path: Path, row: dict[str, Any]
) -> None:
    pair = example(lab, tmp_path, row)
    assert pair.rejected is not None
    assert (pair.text, pair.output, pair.rejected.output) == ("Q?", "A", "B")


def test_longer_conversations_as_text_are_refused(lab: Lab, tmp_path: Path) -> None:
    text = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Q?\n\nAssistant: A"
    assert "holds 4 turns" in refused(lab, tmp_path, {"text": text})


@pytest.mark.parametrize(
    "text",
    [
        "Human: is what I am, Assistant: what you are?",
        "What does Human: mean?\n\nAssistant: x",
        "Why does <|im_start|>user stand in a prompt?",
        "[{1}] is a set in a list?",
    ],
)
def test_a_question_that_speaks_of_markup_stays_as_it_is(
    lab: Lab, tmp_path: Path, text: str
) -> None:
    assert turns_of(text) is None
    assert example(lab, tmp_path, {"prompt": text, "completion": "A"}).text == text


def test_what_ends_a_turn_is_no_part_of_an_answer() -> None:
    assert [without_end(one) for one in ("A<|eot_id|>", "A\n<|im_end|>\n")] == ["A", "A"]
    for text in ("it ends with <|im_end|>", "write `<|im_end|>`", "<s>struck</s>"):
        assert without_end(text) == text


# One prompt


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Other?", "messages": [Q], "chosen": "A", "rejected": "B"},
        {"prompt": "Other?", "messages": BETTER, "chosen": BETTER, "rejected": WORSE},
        {"chosen": BETTER, "rejected": [{"role": "system", "content": "S"}, *WORSE]},
        {"prompt": [Q], "chosen": [{"role": "system", "content": "S"}, *BETTER], "rejected": WORSE},
    ],
)
def test_a_pair_with_two_prompts_is_refused(lab: Lab, tmp_path: Path, row: dict[str, Any]) -> None:
    assert "a pair has one prompt" in refused(lab, tmp_path, row)


def test_the_system_text_that_both_texts_of_a_pair_stand_under_is_kept(
    lab: Lab, tmp_path: Path
) -> None:
    system = {"role": "system", "content": "S"}
    row = {"prompt": "Q?", "chosen": [system, *BETTER], "rejected": [system, *WORSE]}
    assert example(lab, tmp_path, row).context == "S"


# Choices

LISTED = "A. red\nB. blue"


@pytest.mark.parametrize(
    "row",
    [
        {"choices": ["red", "blue"], "answer": 1},
        {"choices": {"text": ["red", "blue"], "label": ["A", "B"]}, "answerKey": "B"},
        {"options": {"A": "red", "B": "blue"}, "answer_idx": "B", "answer": "blue"},
        {"options": [{"key": "A", "value": "red"}, {"key": "B", "value": "blue"}], "answer": "b"},
    ],
)
def test_choices_stand_in_the_context_and_the_right_one_is_the_reference(
    lab: Lab, tmp_path: Path, row: dict[str, Any]
) -> None:
    found = example(lab, tmp_path, {"question": "Q?", **row})
    assert (found.context, found.reference_answer) == (LISTED, "B. blue")
    assert found.output == (None if row.get("answer") != "blue" else "blue")


def test_a_context_stays_before_the_choices(lab: Lab, tmp_path: Path) -> None:
    row = {"question": "Q?", "context": "C", "choices": ["red", "blue"], "response": "It is red."}
    found = example(lab, tmp_path, row)
    assert (found.context, found.output) == (f"C\n\n{LISTED}", "It is red.")


def test_a_key_of_no_choice_is_refused(lab: Lab, tmp_path: Path) -> None:
    row = {"question": "Q?", "choices": ["red", "blue"], "answerKey": "E"}
    assert "'E', which is none of the choices" in refused(lab, tmp_path, row)


# Answers, references, labels, ids


@pytest.mark.parametrize(
    "row",
    [
        {"messages": BETTER, "solution": "Add.", "answer": "4"},
        {"messages": BETTER, "problem": "Q?", "answer": "4"},
        {"question": "Q?", "completion": "A", "correct_answer": "4"},
    ],
)
def test_a_known_result_is_the_reference_answer(
    lab: Lab, tmp_path: Path, row: dict[str, Any]
) -> None:
    found = example(lab, tmp_path, row)
    assert (found.output, found.reference_answer) == ("A", "4")


def test_the_result_that_ends_a_worked_answer_is_its_reference_answer(
    lab: Lab, tmp_path: Path
) -> None:
    worked = "48/2 = <<48/2=24>>24.\n#### 1,072"
    row = example(lab, tmp_path, {"question": "Q?", "answer": worked})
    assert (row.output, row.reference_answer) == (worked, "1,072")
    heading = example(lab, tmp_path, {"question": "Q?", "answer": "A\n#### Notes"})
    assert heading.reference_answer is None


def test_a_negative_label_is_not_read_as_ok(lab: Lab, tmp_path: Path) -> None:
    row = {"prompt": "Q?", "completion": "A", "label": -1}
    assert "'-1'; write true (OK) or false (not OK)" in refused(lab, tmp_path, row)


def test_an_answer_of_several_turns_is_never_left_out_as_unlearned(
    lab: Lab, tmp_path: Path
) -> None:
    row = {"messages": [Q, {**A, "weight": 0}, Q, {**A, "weight": 1}]}
    assert "holds 4 turns" in refused(lab, tmp_path, row)


def test_an_id_that_was_rounded_is_refused(lab: Lab, tmp_path: Path) -> None:
    row = {"id": 12345678901234568.0, "question": "Q?"}
    assert "rounded; give the id as a text" in refused(lab, tmp_path, row)


@pytest.mark.parametrize("cell", ['["a", "b"]', "a;b"])
def test_tags_in_a_cell_are_several(lab: Lab, tmp_path: Path, cell: str) -> None:
    assert example(lab, tmp_path, {"question": "Q?", "tags": cell}).tags == ("a", "b")


@pytest.mark.parametrize("text", ["GrÃ¶ÃŸe", "M\ufffdnchen", "â€œhiâ€\x9d", "æ—¥æœ¬", "Ð¿Ñ€Ð¸"])
def test_texts_that_came_garbled_are_counted(lab: Lab, tmp_path: Path, text: str) -> None:
    (note,) = read(lab, tmp_path, {"question": text}).notes
    assert note.startswith("1 text holds characters that were lost or garbled")


@pytest.mark.parametrize("text", ["Größe", "“voilà”", "„MENÜ“", "NÃO", "São Paulo…", "日本", "É™"])
def test_accents_and_quotes_are_not_taken_for_garbled(lab: Lab, tmp_path: Path, text: str) -> None:
    assert read(lab, tmp_path, {"question": text}).notes == []


def test_numbers_of_classes_in_tables_of_text_are_read_by_their_names(
    lab: Lab, tmp_path: Path
) -> None:
    names = "".join(f"          '{n}': {name}\n" for n, name in enumerate(("good", "bad")))
    card = f"  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n{names}"
    (tmp_path / "README.md").write_text(f"---\ndataset_info:\n{card}---\n", "utf-8")
    (tmp_path / "train.csv").write_text("prompt,completion,label\nQ?,A,0\nR?,B,1\n", "utf-8")
    (found,) = read_whole(tmp_path, lab.registry)
    assert [one.label for one in found.rows] == [True, False]


def test_a_held_out_mark_that_is_no_mark_is_called_that(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "Q?", "answer": "A", "held_out": "ja"}', "utf-8")
    done = CliRunner().invoke(app, ["dataset", "import", str(path)])
    assert isinstance(done.exception, ImportRefused)
    assert "line 1, field 'held_out': 'ja' is not true or false." in str(done.exception)


@pytest.mark.parametrize(("mark", "is_noted"), [({}, True), ({"held_out": True}, False)])
def test_the_door_for_questions_notes_a_file_named_as_held_out(
    mark: dict[str, Any], is_noted: bool
) -> None:
    data = json.dumps({"question": "Q?", **mark}).encode()
    notes = read_rows(data, name="test.jsonl").notes
    assert any("never trains" in one for one in notes) == is_noted
