"""A session as a whole on the page: turns by themselves, replay, synopsis, settings, files."""

import json
from pathlib import Path

import pytest

from db.database import Database
from db.dialogues import list_dialogues
from db.models import declare_model
from serving.importers.source import ImportRefused
from tests.app.conftest import OpenApp, words_of
from tests.app.dialogue_desk import Desk, draft_field
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab, theme
from workbench.dialogue.decisions import choose
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import new_dialogue
from workbench.dialogue.sheet_trees import import_sheet
from workbench.dialogue.sheets import plan_tree, read_sheet
from workbench.dialogue.tree import read_tree
from workbench.i18n import translate_message

EXAMPLE = Path(__file__).parents[2] / "examples" / "dialogues" / "earlier_sessions.csv"


@pytest.fixture
def lab(store: Database, fake_server: FakeServer) -> Lab:
    return Lab(store, fake_server)


def take_first(lab: Lab) -> None:
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)


def test_turns_run_by_themselves_up_to_a_checkpoint_that_is_told(lab: Lab) -> None:
    desk = Desk(lab, view="more")
    desk.press("Run")
    assert "Turns run by themselves." in desk.words
    assert desk.work() == 1
    assert "Checkpoint: 2 of 2 turns ran by themselves." in desk.words
    badges = [one for one in desk.words.splitlines() if "automatic" in one and "badge" in one]
    assert len(badges) >= 4  # two answers and two questions
    desk.key("A")
    assert "Checkpoint" not in desk.words


def test_a_replay_by_another_model_version_stands_beside_what_was_chosen(lab: Lab) -> None:
    with lab.database.write() as session:
        declare_model(session, "round1", "lab", context_length=None, tokenizer_hash=None)
    take_first(lab)
    desk = Desk(lab, view="more")
    desk.press("Answer anew")
    assert "Name what is to be another one" in "".join(e.value for e in desk.app.error)
    next(s for s in desk.app.selectbox if s.label == "Another model").set_value("round1")
    desk.press("Answer anew")
    assert "On its way." in desk.words
    assert desk.work() == 1
    assert "Answered anew with round1" in desk.words
    assert "On its way." not in desk.words
    assert len(desk.tree.nodes) == 1


def test_a_synopsis_is_written_edited_and_leads_to_its_questions(lab: Lab) -> None:
    take_first(lab)
    desk = Desk(lab, view="synopsis")
    lines = [{"kind": "known", "text": "Vans still come.", "questions": [1]}]
    desk.says("Sum up", json.dumps(lines))
    desk.key("A")
    assert desk.work() == 1
    assert "Vans still come." in desk.words
    desk.key("E")
    assert draft_field(desk.app, "synopsis", "known").value == "Vans still come. [1]"
    draft_field(desk.app, "synopsis", "open").set_value("Who pays? [9]")
    desk.press("Save")
    assert desk.app.error
    draft_field(desk.app, "synopsis", "open").set_value("Who pays? [1]")
    desk.press("Save")
    assert "Last edited by a person." in desk.words
    desk.press("Question 1")
    assert "view" not in desk.app.query_params
    assert "Chosen answer" in desk.words


def test_a_synopsis_is_read_in_another_language_line_by_line_also_while_it_is_edited(
    lab: Lab,
) -> None:
    take_first(lab)
    desk = Desk(lab, view="synopsis")
    lines = [
        {"kind": "known", "text": "Vans still come.", "questions": [1]},
        {"kind": "open", "text": "Who pays?", "questions": []},
    ]
    desk.says("Sum up", json.dumps(lines))
    desk.key("A")
    desk.work()
    desk.says("Translate this text into Japanese", "配達の車は今も来ます。")
    assert desk.key("X") == "Translate"
    assert desk.work() == 2
    assert desk.words.count("配達の車は今も来ます。") == 2
    desk.key("E")
    assert desk.words.count("配達の車は今も来ます。") == 2
    assert draft_field(desk.app, "synopsis", "known").value == "Vans still come. [1]"
    draft_field(desk.app, "synopsis", "open").set_value("Who pays, and when?")
    desk.press("Save")
    assert desk.work() == 2, "the synopsis as it stands now"
    assert desk.words.count("配達の車は今も来ます。") == 2
    desk.key("X")
    assert "配達の車は今も来ます。" not in desk.words
    assert len(desk.events("translated")) == 4
    assert "配達の車は今も来ます。" not in str(desk.events("synopsis_edited")[-1].payload)


def test_settings_are_changed_and_a_closed_session_is_only_read(lab: Lab) -> None:
    take_first(lab)
    lab.ask("rebut")
    desk = Desk(lab, view="more")
    numbers = {one.label: one for one in desk.app.number_input}
    assert numbers["Longest step in seconds"].proto.format == "%.0f"
    numbers["Reasonings a question"].set_value(5)
    next(one for one in desk.app.multiselect).set_value(["ground"])
    desk.press("Save settings")
    settings = desk.tree.dialogue.settings
    assert (settings["variants"], settings["moves"]) == (5, ["ground"])
    assert desk.events("settings")[-1].payload == {"variants": 5, "moves": ["ground"]}
    desk.press("Close")
    assert desk.tree.dialogue.state == "closed"
    desk.app.query_params.pop("view", None)
    desk = Desk(lab)
    assert "Proposed questions" in "".join(one.label for one in desk.app.expander)
    assert not [one for one in desk.app.button if one.label in ("Take it", "Choose again")]
    desk.press("Resume")
    assert desk.button("Take it")


def test_a_spreadsheet_is_shown_before_it_comes_in(store: Database, open_app: OpenApp) -> None:
    app = open_app("dialogues", **{"import": "1"}, rater="Ada")
    app.file_uploader[0].upload(EXAMPLE.name, EXAMPLE.read_bytes(), "text/csv").run()
    words = words_of(app)
    assert "Make evenings in the street quieter" in words
    assert app.dataframe[0].value["Becomes"].tolist() == [
        "first question",
        "under row 2, where it was taken",
        "under row 3, where it was taken",
    ]
    next(one for one in app.button if one.label == "Import 2 dialogues").click()
    app.run()
    assert not app.exception
    with store.read() as session:
        found = list_dialogues(session)
    assert sorted(one.n_nodes for one in found) == [2, 4]


def test_what_is_wrong_in_a_spreadsheet_is_named_by_row_and_column(open_app: OpenApp) -> None:
    app = open_app("dialogues", **{"import": "1"}, rater="Ada")
    table = "Goal,Step,QInitial\nQuiet,1,Why?\nQuiet,two,Who?\nQuiet,3,\n"
    app.file_uploader[0].upload("old.csv", table.encode(), "text/csv").run()
    words = words_of(app)
    step, question = (line for line in words.splitlines() if line.startswith("old.csv"))
    assert step == "old.csv, line 3, field 'Step': is 'two'; give a number."
    assert question.startswith("old.csv, line 4, field 'QInitial': is empty")
    with pytest.raises(ImportRefused) as refused:
        read_sheet(table.encode(), name="old.csv")
    sentences = [translate_message(one.sentence, "ja") for one in refused.value.problems]
    assert "列 Step：'two' は数ではありません" in sentences[0]
    assert "列 QInitial：空です" in sentences[1]
    assert not [one for one in app.button if one.label.startswith("Import ")]


def test_the_preview_of_a_spreadsheet_is_the_tree_that_comes(database: Database) -> None:
    goals = read_sheet(EXAMPLE)
    with database.write() as session:
        found = import_sheet(session, EXAMPLE, By())
        trees = [read_tree(session, one.dialogue_id) for one in found]
    for rows, tree in zip(goals.values(), trees, strict=True):
        plan = plan_tree(rows)
        lines = {step.row.line: step.row.question for step in plan}
        told = {(step.row.question, lines.get(step.under or 0)) for step in plan}
        ids = {node.id: node.question for node in tree.nodes}
        stored = {(node.question, ids.get(node.parent_id or 0)) for node in tree.nodes}
        assert told <= stored
        assert len(stored) == len(told) + sum(step.n_waiting for step in plan)


def test_what_two_dialogues_both_ask_is_listed(lab: Lab) -> None:
    with lab.database.write() as session:
        other_id = new_dialogue(session, theme(name="The same town again"), lab.by)
    desk = Desk(lab, **{"with": str(other_id)})
    assert "Asked in both: 1" in desk.words
