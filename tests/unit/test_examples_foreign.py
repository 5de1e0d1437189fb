"""Training files as other programs write them, and the sentences for what cannot be taken."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.errors import UsageError
from serving.importers.folders import parts_of
from serving.importers.source import ImportFile, ImportRefused, ImportRow
from serving.importers.training_data import Judge, import_examples
from tests.unit.dataset_lab import Lab, lab_session, read_whole


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with lab_session(database) as session:
        yield Lab(session)


def say(speaker: str, text: str) -> dict[str, str]:
    return {"role": speaker, "content": text}


def read(lab: Lab, folder: Path, *rows: dict[str, Any]) -> ImportFile:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    (found,) = read_whole(path, lab.registry)
    return found


def only(lab: Lab, folder: Path, row: dict[str, Any]) -> ImportRow:
    found = read(lab, folder, row)
    assert not found.problems, found.problems
    (example,) = found.rows
    return example


def test_a_chat_of_another_program_is_a_question_and_its_answer(lab: Lab, tmp_path: Path) -> None:
    turns = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "富士山は?"},
        {"from": "gpt", "value": "3,776 m"},
    ]
    found = only(lab, tmp_path, {"id": "x1", "conversations": turns, "language": "ja"})
    row = found
    assert (row.text, row.context, row.output) == ("富士山は?", "Be brief.", "3,776 m")
    assert (row.role, row.external_id, row.language) == ("assistant", "x1", "ja")
    assert found.scope == "answer"


def test_a_system_text_of_ours_is_its_role(lab: Lab, tmp_path: Path) -> None:
    system = lab.registry.role("translator").definition.system
    turns = [say("system", system), say("user", "Hallo"), say("assistant", "Hello")]
    assert only(lab, tmp_path, {"messages": turns}).role == "translator"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
        {"prompt": [say("user", "Why?")], "chosen": [say("assistant", "Because.")],
         "rejected": [say("assistant", "No.")]},
        {"chosen": [say("user", "Why?"), say("assistant", "Because.")],
         "rejected": [say("user", "Why?"), say("assistant", "No.")]},
        {"conversations": [{"from": "human", "value": "Why?"}],
         "chosen": {"from": "gpt", "value": "Because."},
         "rejected": {"from": "gpt", "value": "No."}},
        {"instruction": "Why?", "input": "", "chosen": "Because.", "rejected": "No."},
    ],
)  # fmt: skip
def test_every_shape_of_a_pair_says_the_same(lab: Lab, tmp_path: Path, row: dict[str, Any]) -> None:
    found = only(lab, tmp_path, row)
    assert found.rejected is not None
    assert (found.text, found.output, found.rejected.output) == ("Why?", "Because.", "No.")
    assert (found.reasoning, found.scope, found.label) == (None, "answer", None)


@pytest.mark.parametrize(("label", "said"), [(True, True), (0, False), ("TRUE", True)])
def test_labels_are_read_as_they_are_written(
    lab: Lab, tmp_path: Path, label: Any, said: bool
) -> None:
    row = {"prompt": "Why?", "completion": "Because.", "label": label}
    assert only(lab, tmp_path, row).label is said


def test_a_judged_row_of_alpaca_is_judged_as_a_whole(lab: Lab, tmp_path: Path) -> None:
    row = {"instruction": "Why?", "reasoning": "You should look.", "output": "So.", "label": False}
    assert only(lab, tmp_path, row).scope == "whole"
    assert only(lab, tmp_path, {**row, "output": ""}).scope == "reasoning"
    assert only(lab, tmp_path, {**row, "reasoning": ""}).scope == "answer"


def test_next_questions_of_dialogues_are_left_out_and_counted(lab: Lab, tmp_path: Path) -> None:
    row = {"question": "Why?", "target": "questions", "role": "assistant"}
    found = read(lab, tmp_path, row, {"instruction": "How?"})
    assert found.left_out["next_questions"] == 1
    assert [one.text for one in found.rows] == ["How?"]


TWO = [say("user", "a"), say("assistant", "b"), say("user", "c"), say("assistant", "d")]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"messages": TWO}, "field 'messages': holds 4 turns; a row is one question with one answer"),
    ({"messages": "hello"}, "field 'messages': holds a text; give a list of turns"),
    ({"messages": [say("tool", "x")]}, "holds a turn of 'tool'; only system, user and assistant"),
    ({"messages": [say("user", " ")]}, "holds a turn of 'user' without a text"),
    ({"messages": [say("assistant", "x")]}, "holds no turn of the user"),
    ({"prompt": "", "completion": "x"}, "field 'prompt': is empty"),
    ({"prompt": "Why?", "completion": ""}, "field 'completion': is empty"),
    ({"prompt": "Why?", "completion": "x", "label": "so"}, "field 'label': is 'so'; write true"),
    ({"prompt": "Why?", "chosen": "x", "rejected": "x"}, "field 'rejected': says the same as"),
    ({"prompt": "Why?", "chosen": "x"}, "field 'rejected': is empty"),
    ({"prompt": "Why?", "chosen": ""}, "field 'chosen': is empty"),
    ({"chosen": "x", "rejected": "y"}, "field 'prompt': is not there"),
    ({"instruction": "", "output": "x"}, "field 'instruction': the question is empty"),
    ({"instruction": "Why?", "label": True}, "judges a row without texts"),
    ({"instruction": "Why?", "flag": "poet"}, "unknown role 'poet'"),
    ({"instruction": "Why?", "history": [["a", "b"]]}, "field 'history': holds earlier turns"),
    ({"prompt": "x", "completion": "half \ud83d"}, "field 'completion': holds half a character"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "sentence"), WRONG)
def test_what_cannot_be_taken_is_told_with_its_place(
    lab: Lab, tmp_path: Path, row: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"instruction": "Fine?"}) + "\n" + json.dumps(row))
    (found,) = read_whole(path, lab.registry)
    (problem,) = found.problems
    assert problem.sentence.startswith("rows.jsonl, line 2")
    assert sentence in problem.sentence
    with pytest.raises(ImportRefused, match="Nothing was imported"):
        import_examples(lab.database, [found], judge=Judge())
    assert import_examples(lab.database, [found], judge=Judge(), skip_errors=True).counts.rows == 1


def test_a_completion_without_the_tag_of_its_prompt_is_refused(lab: Lab, tmp_path: Path) -> None:
    form = lab.registry.format("chat").definition
    assert form.tasks.whole is not None
    prompt = form.tasks.whole.prompt.replace("{question}", "Why?").replace("{context}", "So.")
    row = {"prompt": [say("user", prompt)], "completion": [say("assistant", "You should.")]}
    (problem,) = read(lab, tmp_path, row).problems
    assert "holds no '### Answer' after its reasoning" in problem.sentence


INFO = {
    "mine": {
        "file_name": "data/mine.json",
        "columns": {"prompt": "q", "response": "a", "system": "s", "history": "h"},
    },
    "turns_test": {
        "file_name": "turns.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk"},
        "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "me", "assistant_tag": "it"},
    },
}


def llama_factory(folder: Path, info: dict[str, Any] | None = None) -> Path:
    (folder / "data").mkdir()
    mine = [{"q": "Why?", "a": "Because.", "s": "Be kind.", "h": []}]
    (folder / "data" / "mine.json").write_text(json.dumps(mine))
    talk = [{"talk": [{"who": "me", "says": "Held?"}, {"who": "it", "says": "Yes."}]}]
    (folder / "turns.json").write_text(json.dumps(talk))
    path = folder / "dataset_info.json"
    path.write_text(json.dumps(info or INFO))
    return path


def test_llama_factory_names_its_files_columns_and_speakers(lab: Lab, tmp_path: Path) -> None:
    path = llama_factory(tmp_path)
    mine, turns = read_whole(path, lab.registry)
    assert (mine.name, turns.name) == ("data/mine.json", "turns.json")
    row = mine.rows[0]
    assert (row.text, row.output, row.context, row.held_out) == (
        "Why?",
        "Because.",
        "Be kind.",
        None,
    )
    held = turns.rows[0]
    assert (held.text, held.output, held.held_out) == ("Held?", "Yes.", True)
    (one,) = read_whole(tmp_path, lab.registry, only="turns_test")
    assert one.name == "turns.json"
    with pytest.raises(UsageError, match="lists no dataset 'his'; it has mine, turns_test"):
        read_whole(path, lab.registry, only="his")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"hf_hub_url": "somebody/data"}, "lies on a hub, not in this folder"),
        ({"file_name": "../secret.json"}, "is no file of this folder"),
        ({"file_name": "gone.json"}, "is no file of this folder"),
        ({"file_name": "turns.json", "columns": ["q"]}, "columns and tags are maps of names"),
    ],
)
def test_entries_that_cannot_be_read_are_told(
    lab: Lab, tmp_path: Path, entry: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_whole(llama_factory(tmp_path, {"mine": entry}), lab.registry)


def test_folders_are_understood_with_and_without_a_card(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "packed"
    (inner / "data").mkdir(parents=True)
    for name in ("train-00000-of-00001.jsonl", "validation.jsonl", "notes.txt"):
        (inner / "data" / name).write_text("{}")
    found = [(part.name, part.is_held_out) for part in parts_of(tmp_path / "outer")]
    train = ("data/train-00000-of-00001.jsonl", False)
    assert found == [train, ("data/validation.jsonl", True)]
    card = "---\nconfigs:\n- data_files:\n  - {split: test, path: data/train-*.jsonl}\n---\n# Hi\n"
    (inner / "README.md").write_text(card)
    assert [(part.name, part.is_held_out) for part in parts_of(inner)] == [(train[0], True)]
    (inner / "README.md").write_text(card.replace("data/train-", "data/gone-"))
    with pytest.raises(UsageError, match="names data/gone-"):
        parts_of(inner)


def test_what_is_no_training_data_is_told(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there; check the path"):
        read_whole(tmp_path / "gone", lab.registry)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no data; files that are read"):
        read_whole(tmp_path / "empty", lab.registry)
    arrow = tmp_path / "saved"
    arrow.mkdir()
    (arrow / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    (arrow / "data.arrow").write_bytes(b"no arrow")
    with pytest.raises(UsageError, match=r"data\.arrow: is no Arrow file"):
        read_whole(arrow, lab.registry)
    path = tmp_path / "rows.json"
    path.write_text('[{"instruction": "Why?"}]')
    with pytest.raises(UsageError, match="there is none to choose by --only"):
        read_whole(path, lab.registry, only="one")


def test_fields_that_nobody_reads_are_told(lab: Lab, tmp_path: Path) -> None:
    found = read(lab, tmp_path, {"instruction": "Why?", "score": 3})
    assert found.notes == ["Fields not used: score."]


def test_a_row_that_needs_no_look_at_tags_stays_quick(lab: Lab, tmp_path: Path) -> None:
    """Thousands of tags in a text must not make taking it apart slow."""
    prompt = "\n<|instruction|>x\n<|context|>y\n<|reasoning|>" * 4000
    found = only(lab, tmp_path, {"prompt": prompt, "completion": "x"})
    assert found.text == prompt.strip()


@pytest.mark.parametrize(
    ("name", "is_held_out"),
    [
        ("train/0.jsonl", False),
        ("test/0.jsonl", True),
        ("data/en/validation/0.jsonl", True),
        ("held-out.jsonl", True),
        ("my_test.jsonl", True),
        ("test-00000-of-00002.jsonl", True),
        ("latest.jsonl", False),
    ],
)
def test_every_part_of_a_name_may_say_that_rows_never_train(
    tmp_path: Path, name: str, is_held_out: bool
) -> None:
    for one in (name, "rest/other.jsonl"):
        path = tmp_path / "set" / one
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    found = {part.name: part.is_held_out for part in parts_of(tmp_path / "set")}
    assert found[name] is is_held_out
    assert found["rest/other.jsonl"] is False


def test_a_folder_with_a_card_is_read_from_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x.jsonl").write_text("{}")
    card = "configs: [{data_files: [{split: test, path: x.jsonl}]}]"
    (tmp_path / "set" / "README.md").write_text(f"---\n{card}\n---\n")
    monkeypatch.chdir(tmp_path)
    assert [(one.name, one.is_held_out) for one in parts_of(Path("set"))] == [("x.jsonl", True)]


def test_a_pair_of_reasonings_under_one_answer_compares_the_reasonings(
    lab: Lab, tmp_path: Path
) -> None:
    row = {"question": "Why?", "reasoning": "You should ask.", "answer": "So."}
    found = only(lab, tmp_path, row | {"rejected_reasoning": "You should nap."})
    assert found.scope == "reasoning"
    assert found.rejected is not None
    assert found.rejected.reasoning == "You should nap."


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Why?", "answer": "So.", "label": True, "target": "reasoning"},
        {"question": "Why?", "reasoning": "You should.", "label": False, "target": "whole"},
        {"question": "Why?", "reasoning": "Do.", "answer": "So.", "rejected_reasoning": "No.",
         "target": "whole"},
    ],
)  # fmt: skip
def test_a_judgement_of_a_text_that_is_not_there_is_told(
    lab: Lab, tmp_path: Path, row: dict[str, Any]
) -> None:
    found = read(lab, tmp_path, row)
    assert not found.rows
    assert "is missing, and the row judges the" in found.problems[0].sentence
