"""``q2q dialogue`` beside the turns: decisions, both sides, the judge, reading translations."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from db.errors import Q2QError, UsageError
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import asking
from tests.unit.test_cli_dialogue import q2q, theme, told
from workbench.cli.main import app

__all__ = ["theme"]  # a fixture


def writing(prompt: str, choice_index: int, seed: int | None) -> str:
    """Judge for whoever stands first, translate into a word, else ask as the lab does."""
    if "You are to be convinced" in prompt:
        return '{"why": "It is nearer to me.", "better": "first"}'
    if "Translate this text into Japanese" in prompt:
        return "町は静かになります。"
    return asking(prompt, choice_index, seed)


@pytest.fixture
def begun(theme: str, fake_server: FakeServer) -> Any:
    """A dialogue at its first proposals."""
    fake_server.text = writing
    told("new", theme)
    told("next", "1")
    return told("next", "1", "--answer", "A")


def refused(*words: str) -> str:
    with pytest.raises(Q2QError) as error:
        CliRunner().invoke(app, ["dialogue", *words], catch_exceptions=False)
    assert isinstance(error.value, UsageError)
    return str(error.value)


def test_proposals_are_set_aside_merged_and_taken_in_other_words(begun: Any) -> None:
    assert told("park", "1", "--question", "1", "--reason", "later")["state"] == "parked"
    assert told("reject", "1", "--question", "2", "--reason", "too general")["state"] == "rejected"
    assert told("merge", "1", "--question", "3", "--same", "4")["keep"] == 3
    asked = told("next", "1", "--question", "3", "--write", "Who pays for it at night?")
    assert asked["question"] == "Who pays for it at night?"
    became = [one["decision"] for one in told("show", "1", "--node", "1")["questions"][:4]]
    assert became == ["park", "reject", "pick", "merge"]
    tree = told("show", "1")["questions"]
    assert [(one["state"], one["source"]) for one in tree[1:]] == [
        ("parked", "model"),
        ("open", "human"),
    ]
    assert tree[1]["reason"] == "later"


def test_the_tree_is_walked_merged_noted_and_closed(begun: Any) -> None:
    told("next", "1", "--write", "Who pays for the new bus lines?")
    assert "No two questions" in q2q("merge", "1").stderr
    told("go", "1", "--node", "1", "--reason", "another way")
    told("next", "1", "--write", "Who is it that pays for the new bus lines?")
    assert told("merge", "1") == [
        {"questions": [2, 3], "text": "Who pays for the new bus lines?"},
    ]
    listed = "Nothing was merged. To merge: q2q dialogue merge 1 --node 2 --same 3"
    assert listed in q2q("merge", "1").stderr
    assert "Nothing was merged" in refused("merge", "1", "--same", "2", "--same", "3")
    told("merge", "1", "--node", "2", "--same", "3", "--reason", "the same bill")
    shown = told("show", "1")
    assert (shown["at"], shown["questions"][2]["same_as"]) == (2, 2)
    assert "(= 2)" in q2q("show", "1").stdout
    assert told("note", "1", "ask the mayor")["node"] == 2
    assert told("tag", "1", "money", "--node", "1")["tags"] == ["money"]
    assert told("show", "1", "--node", "2")["notes"] == ["ask the mayor"]
    assert told("park", "1", "--node", "2")["state"] == "parked"
    assert told("close", "1", "--reason", "we know enough")["state"] == "closed"
    assert "closed" in refused("note", "1", "too late")
    assert told("resume", "1")["state"] == "open"


def test_a_reasoning_is_edited_and_answered_anew(begun: Any) -> None:
    edited = told("next", "1", "--answer", "B", "--edit", "You should name one street.")
    assert edited["answers"][0]["reasoning"] == "You should name one street."
    assert len(edited["answers"]) == 4
    again = told("next", "1", "--answer", "A", "--move", "gap")
    assert again["step"] == "pick"
    assert "not both at once" in refused("next", "1", "--hint", "x", "--edit", "y")


def test_both_sides_are_argued_and_judged(begun: Any) -> None:
    assert "no two sides yet" in refused("judge", "1")
    sides = told("argue", "1")["answers"]
    assert sorted(one["side"] for one in sides) == ["goal", "opposing"]
    said = told("judge", "1")
    assert [verdict["better"] for verdict in said["verdicts"]] == list(said["answers"])
    assert "The order decided" in said["says"]
    assert "It is nearer to me." in q2q("judge", "1", "--answers", "A,B").stdout
    read = "Having read the answer for the goal, then the answer for the opposing goal, it prefers"
    assert f"{read}: the answer for the goal. It is nearer to me." in q2q("export", "1").stdout
    page = q2q("export", "1", "--format", "html").stdout
    assert f"{read}: the answer for the goal." in page
    assert "Answer · fake" in page
    assert "two answers" in refused("judge", "1", "--answers", "A")
    assert "There is no answer 'Z'" in refused("judge", "1", "--answers", "A,Z")


def test_texts_are_read_in_another_language(begun: Any) -> None:
    found = told("translate", "1", "--to", "ja")
    assert [one["ref"][0] for one in found] == ["q", "a"]
    assert {one["text"] for one in found} == {"町は静かになります。"}
    reasoning = f"v{told('show', '1', '--node', '1')['answers'][0]['reasoning_id']}"
    (one,) = told("translate", "1", "--to", "ja", "--text", reasoning)
    assert one["ref"] == reasoning
    assert "no language" in refused("translate", "1", "--to", "Japanese")


def test_what_cannot_be_is_one_sentence(begun: Any) -> None:
    for words, sentence in (
        (["park", "1"], "--question"),
        (["reject", "1", "--question", "1", "--node", "1"], "--question"),
        (["park", "1", "--question", "99"], "There is no question '99'"),
        (["merge", "1", "--question", "1"], "at least two"),
        (["merge", "1", "--question", "1", "--node", "1"], "not both"),
        (["go", "1", "--node", "9"], "no question 9"),
        (["go", "7", "--node", "1"], "no dialogue 7"),
    ):
        assert sentence in refused(*words)
    assert told("show", "1")["at"] == 1


def test_a_spreadsheet_comes_in_as_trees_that_can_be_gone_on_with(
    theme: str, tmp_path: Path
) -> None:
    sheet = tmp_path / "sessions.csv"
    sheet.write_text(
        "Goal,Step,QInitial,AInitial,FBQ1,FBQ2,SEL1\n"
        "Quiet streets,1,Why are they loud?,Cars.,Which cars?,When are they loud?,x\n",
        "utf-8",
    )
    (found,) = told("import", str(sheet))
    assert (found["goal"], found["n_questions"], found["is_new"]) == ("Quiet streets", 2, True)
    assert not told("import", str(sheet))[0]["is_new"]
    told("go", "1", "--node", "1")
    root = told("show", "1", "--node", "1")
    assert root["step"] == "pick"
    assert [one["decision"] for one in root["questions"]] == ["pick", None]
    assert told("park", "1", "--question", "2")["state"] == "parked"
    broken = tmp_path / "broken.csv"
    broken.write_text("Goal,Answer\nx,y\n", "utf-8")
    with pytest.raises(Q2QError, match="QInitial"):
        CliRunner().invoke(app, ["dialogue", "import", str(broken)], catch_exceptions=False)


def built_rows(rules: dict[str, Any], folder: Path, shape: str) -> list[dict[str, Any]]:
    """Build a dataset from rules, export it, and return its rows."""
    path, target = folder / f"{rules['name']}.yaml", folder / f"{rules['name']}.jsonl"
    path.write_text(yaml.safe_dump(rules | {"held_out": 0, "findings": []}), "utf-8")
    export = ["dataset", "export", rules["name"], str(target), "--format", shape]
    for words in (["dataset", "build", str(path)], export):
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    text = target.read_text("utf-8")
    whole = text if text.startswith("[") else f"[{','.join(text.splitlines())}]"
    rows: list[dict[str, Any]] = json.loads(whole)
    return rows


def test_what_was_chosen_becomes_training_rows(begun: Any, tmp_path: Path) -> None:
    told("next", "1", "--answer", "B", "--edit", "You should name one street.")
    asked = told("next", "1", "--answer", "A", "--move", "rebut")["questions"]
    told("reject", "1", "--question", "2", "--reason", "too general")
    told("next", "1", "--question", "1")
    taken, rejected = asked[0]["text"], asked[1]["text"]
    rows = built_rows(
        {
            "name": "next",
            "kind": "sft",
            "take": {"edited": True, "needs": "reasoning"},
            "targets": {"assistant": "reasoning"},
            "question_to_question": 0.6,
            "without_reasoning": 0,
        },
        tmp_path,
        "alpaca",
    )
    (learned,) = [row for row in rows if row["output"] == taken]
    assert learned["reasoning"] == "You should name one street."
    pairs = built_rows({"name": "better", "kind": "dpo", "take": {}}, tmp_path, "trl")
    (pair,) = [row for row in pairs if taken in row["chosen"]]
    assert rejected in pair["rejected"]
    assert "Each doubts one claim" in pair["prompt"], "the very prompt that proposed them"
