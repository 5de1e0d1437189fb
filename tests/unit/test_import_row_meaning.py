"""Rows whose meaning has consequences: held-out, pairs, labels, mappings, empty inputs, turns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database
from db.errors import UsageError
from db.tables import Question
from serving.importers import read_rows
from serving.importers.source import ImportFile
from serving.importers.training_data import Judge, import_examples
from tests.unit.dataset_lab import Lab, lab_session, read_whole


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with lab_session(database) as session:
        yield Lab(session)


def say(speaker: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"role": speaker, "content": text, **more}


def read(lab: Lab, folder: Path, *rows: dict[str, Any]) -> ImportFile:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    (found,) = read_whole(path, lab.registry)
    return found


def refused(found: ImportFile) -> str:
    assert not found.rows
    (problem,) = found.problems
    return problem.sentence


# What a row says of its question


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Q", "answer": "A", "held_out": True},
        {"question": "Q", "answer": "A", "is_held_out": "yes"},
        {"question": "Q", "answer": "A", "split": "test"},
        {"messages": [say("user", "Q"), say("assistant", "A")], "held_out": True},
        {"prompt": "Q", "completion": "A", "split": "validation"},
        {"prompt": "Q", "chosen": "A", "rejected": "B", "held_out": True},
    ],
)
def test_a_held_out_row_never_becomes_one_that_may_train(
    lab: Lab, tmp_path: Path, row: dict[str, Any]
) -> None:
    done = import_examples(lab.database, [read(lab, tmp_path, row)], judge=Judge())
    assert done.counts.held_out == 1
    assert list(lab.session.scalars(select(Question.held_out))) == [True]


def test_what_a_row_says_of_its_question_is_read_by_both_doors(lab: Lab, tmp_path: Path) -> None:
    about = {"expected": "R", "custom_id": "x-1", "lang": "en", "tag": "a;b", "split": "test"}
    for row in ({"question": "Q", "answer": "A"}, {"messages": [say("user", "Q")]}):
        data = json.dumps({**row, **about}).encode()
        (example,) = read(lab, tmp_path, {**row, **about}).rows
        (asked,) = read_rows(data, name="q.jsonl").rows
        assert example == asked
        assert (asked.reference_answer, asked.external_id, asked.language) == ("R", "x-1", "en")
        assert (asked.tags, asked.held_out) == (("a", "b"), True)


@pytest.mark.parametrize(
    "empty", ["<noinput>", "No input", "no input.", "N/A", "<NoInput>", "None"]
)
def test_an_input_that_says_there_is_none_is_empty_and_counted(
    lab: Lab, tmp_path: Path, empty: str
) -> None:
    row = {"instruction": "Q", "input": empty, "output": "A"}
    found = read(lab, tmp_path, row, {**row, "input": "Not only no input."})
    assert [one.context for one in found.rows] == ["", "Not only no input."]
    assert found.notes == [
        "The input of 1 row says only that there is none (such as <noinput>); its context is empty."
    ]


# Turns


def test_a_greeting_before_any_question_is_no_answer(lab: Lab, tmp_path: Path) -> None:
    turns = [
        {"from": "gpt", "value": "Hello!"},
        {"from": "human", "value": "How long does a soft egg boil?"},
    ]
    found = read(
        lab,
        tmp_path,
        {"conversations": turns},
        {"conversations": [*turns, {"from": "gpt", "value": "Five minutes."}]},
    )
    assert [one.output for one in found.rows] == [None, "Five minutes."]
    assert found.notes == ["2 turns of the assistant before any question were left out."]
    asked = read_rows(json.dumps({"conversations": turns}).encode(), name="q.jsonl")
    assert [row.output for row in asked.rows] == [None]


def test_an_empty_system_turn_is_none(lab: Lab, tmp_path: Path) -> None:
    for empty in ("", " \n", None):
        turns = [say("system", empty), say("user", "Q"), say("assistant", "A")]
        (found,) = read(lab, tmp_path, {"messages": turns}).rows
        assert (found.text, found.context, found.output) == ("Q", "", "A")


@pytest.mark.parametrize("mask", [{"weight": 0}, {"weight": 0.0}, {"train": False}])
def test_an_answer_that_is_not_to_be_learned_is_left_out_and_counted(
    lab: Lab, tmp_path: Path, mask: dict[str, Any]
) -> None:
    row = {"messages": [say("user", "Q"), say("assistant", "A", **mask)]}
    kept = {"messages": [say("user", "Q2"), say("assistant", "A", weight=1)]}
    found = read(lab, tmp_path, row, kept)
    assert [one.text for one in found.rows] == ["Q2"]
    note = "1 row was left out: its answer has weight 0, so it is not to be learned."
    assert found.notes == [note]
    asked = read_rows(json.dumps(row).encode() + b'\n{"text": "Q3"}', name="q.jsonl")
    assert [one.text for one in asked.rows] == ["Q3"]
    assert asked.notes == [note]


def test_a_column_beside_turns_is_context_too(lab: Lab, tmp_path: Path) -> None:
    row = {"messages": [say("user", "Q"), say("assistant", "A")], "context": "C"}
    (found,) = read(lab, tmp_path, row).rows
    assert found.context == "C"


# Pairs

SEA, BREAD = say("user", "Why is the sea salty?"), say("user", "Why is bread salty?")


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": [SEA, say("assistant", "A")], "rejected": [BREAD, say("assistant", "B")]},
        {"prompt": "Why is bread salty?", "chosen": [SEA, say("assistant", "A")],
         "rejected": [SEA, say("assistant", "B")]},
        {"prompt": [BREAD], "chosen": [BREAD, say("assistant", "A")],
         "rejected": [SEA, say("assistant", "B")]},
        {"instruction": "Why is bread salty?", "chosen": [SEA, say("assistant", "A")],
         "rejected": [SEA, say("assistant", "B")]},
        {"messages": [SEA, say("assistant", "A")], "chosen": [BREAD, say("assistant", "A")],
         "rejected": [BREAD, say("assistant", "B")]},
    ],
)  # fmt: skip
def test_a_pair_has_one_prompt(lab: Lab, tmp_path: Path, row: dict[str, Any]) -> None:
    sentence = refused(read(lab, tmp_path, row))
    assert "a pair has one prompt" in sentence
    assert "'Why is the sea salty?'" in sentence


def test_a_prompt_beside_sides_that_repeat_it_is_fine(lab: Lab, tmp_path: Path) -> None:
    pair = {"chosen": [SEA, say("assistant", "A")], "rejected": [SEA, say("assistant", "B")]}
    for prompt in ({"prompt": SEA["content"]}, {"instruction": SEA["content"]}, {"prompt": [SEA]}):
        (found,) = read(lab, tmp_path, {**prompt, **pair}).rows
        assert (found.text, found.output) == (SEA["content"], "A")
    (found,) = read(lab, tmp_path, {"prompt": SEA["content"], "messages": [SEA], **pair}).rows
    assert found.text == SEA["content"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "A", "rejected": "B"},
        {"question": "Q", "answer": "A", "rejected_answer": "B"},
    ],
)
def test_the_door_of_questions_names_the_door_that_takes_pairs(row: dict[str, Any]) -> None:
    found = read_rows(json.dumps(row).encode(), name="q.jsonl")
    assert not found.rows
    assert "`q2q dataset import` takes such rows" in found.problems[0].sentence


def test_the_door_of_questions_says_that_it_uses_no_labels() -> None:
    row = {"prompt": "Q", "completion": "A", "label": True}
    found = read_rows(json.dumps(row).encode(), name="q.jsonl")
    assert found.notes == [
        "Kept as fields of the questions: label.",
        "1 row has a label, which was not used; `q2q dataset import` takes labels and pairs.",
    ]


# Labels


def labelled(folder: Path, names: list[str], labels: list[int]) -> Path:
    """Save rows with a column of classes, as `datasets` does."""
    from datasets import ClassLabel, Dataset, Features, Value

    texts = [str(number) for number in range(len(labels))]
    features = Features(
        {"prompt": Value("string"), "completion": Value("string"), "label": ClassLabel(names=names)}
    )
    rows = Dataset.from_dict(
        {"prompt": texts, "completion": texts, "label": labels}, features=features
    )
    rows.save_to_disk(str(folder / "saved"))
    rows.to_parquet(str(folder / "rows.parquet"))
    return folder


@pytest.mark.parametrize(
    "names", [["good", "bad"], ["OK", "not OK"], ["yes", "no"], ["positive", "negative"]]
)
def test_names_of_classes_say_which_one_is_ok(lab: Lab, tmp_path: Path, names: list[str]) -> None:
    folder = labelled(tmp_path, names, [0, 1, 0])
    for path in (folder / "saved", folder / "rows.parquet"):
        (found,) = read_whole(path, lab.registry)
        assert [one.label for one in found.rows] == [True, False, True]


def test_names_of_classes_that_say_nothing_are_asked_for(lab: Lab, tmp_path: Path) -> None:
    folder = labelled(tmp_path, ["ham", "spam"], [1])
    for path in (folder / "saved", folder / "rows.parquet"):
        (found,) = read_whole(path, lab.registry)
        sentence = refused(found)
        assert "field 'label': is 'spam' (one of the classes 'ham', 'spam')" in sentence
        assert "which one is OK?" in sentence


@pytest.mark.parametrize("names", ["{'0': good, '1': bad}", "[good, bad]", "{'1': no, '0': yes}"])
def test_a_card_names_the_classes_of_files_that_cannot(
    lab: Lab, tmp_path: Path, names: str
) -> None:
    feature = f"{{name: label, dtype: {{class_label: {{names: {names}}}}}}}"
    head = f"---\ndataset_info: {{features: [{feature}]}}\n---\n"
    (tmp_path / "README.md").write_text(head)
    rows = [{"prompt": str(label), "completion": "A", "label": label} for label in (0, 1)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (found,) = read_whole(tmp_path, lab.registry)
    assert [one.label for one in found.rows] == [True, False]


@pytest.mark.parametrize(
    ("label", "is_ok"),
    [("good", True), ("Bad", False), ("not_ok", False), ("Yes", True), ("rejected", False)],
)
def test_labels_may_be_words(lab: Lab, tmp_path: Path, label: str, is_ok: bool) -> None:
    (found,) = read(lab, tmp_path, {"prompt": "Q", "completion": "A", "label": label}).rows
    assert found.label is is_ok


# What a file says of its own columns


def test_a_mapping_of_the_file_wins_over_names_that_it_does_not_map(
    lab: Lab, tmp_path: Path
) -> None:
    columns = {"prompt": "question", "response": "answer"}
    info = {"mine": {"file_name": "rows.json", "columns": columns}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    row = {"question": "Why?", "answer": "So.", "instruction": "Be brief.", "output": "No."}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    (found,) = read_whole(tmp_path, lab.registry)
    (example,) = found.rows
    assert (example.text, example.output) == ("Why?", "So.")
    assert found.notes == ["Fields not used: instruction, output."]


def test_a_file_of_which_no_column_can_be_the_question_is_refused_whole(
    lab: Lab, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no column can be the question; found a"):
        read(lab, tmp_path, {"a": 1})
