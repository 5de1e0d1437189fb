"""Answers on the page: both sides and their judge, translations, one's own hint, tags and notes."""

import pytest

from db.database import Database
from tests.app.dialogue_desk import Desk, draft_field
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab
from tests.unit.sweep_lab import rows
from workbench.dialogue.decisions import choose


@pytest.fixture
def lab(store: Database, fake_server: FakeServer) -> Lab:
    return Lab(store, fake_server)


def take_first(lab: Lab) -> None:
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)


def test_both_sides_are_argued_and_the_audience_is_asked(lab: Lab) -> None:
    desk = Desk(lab)
    assert desk.key("O") == "Argue both sides"
    assert desk.button("Have it answered").disabled
    assert desk.work() == 2
    sides = [one for one in desk.words.splitlines() if "for the " in one]
    assert any("for the goal" in one for one in sides)
    assert any("for the opposing goal" in one for one in sides)
    desk.says("You are to be convinced", '{"why": "It is nearer to me.", "better": "first"}')
    assert desk.key("J") == "Ask the audience"
    assert "The audience is judging." in desk.words
    assert desk.work() == 2
    assert "Shop owners of the centre" in desk.words
    assert "It is nearer to me." in desk.words
    assert "changes with the order" in desk.words
    assert rows(lab.database, "SELECT outcome, swapped FROM rating ORDER BY id") == [
        ("a", 0),
        ("b", 1),
    ]
    desk.key("1")
    assert any("for the " in line for line in desk.words.splitlines())
    assert len(desk.events("choose")) == 1


def test_a_judge_whose_words_cannot_be_read_is_told(lab: Lab) -> None:
    desk = Desk(lab)
    desk.key("O")
    desk.work()
    desk.says("You are to be convinced", "Hm.")
    desk.key("J")
    desk.work()
    assert "The judge gave no verdict that could be read." in desk.words
    assert rows(lab.database, "SELECT count(*) FROM rating") == [(0,)]


def test_translations_follow_the_reader_to_what_is_proposed(lab: Lab) -> None:
    take_first(lab)
    desk = Desk(lab, lang="ja")
    desk.says("Translate this text into Japanese", "町は静かになります。")
    assert desk.key("X") == "翻訳"
    assert desk.work() == 3  # the question, the chosen answer, its reasoning
    assert desk.words.count("町は静かになります。") == 3
    lab.ask("rebut")
    desk.run()
    n = desk.work()
    assert n == sum(one.is_shown for one in lab.view().candidates)
    assert desk.words.count("町は静かになります。") == 3 + n
    desk.key("P")
    desk.work()
    assert desk.words.count("町は静かになります。") == 3  # the first question, its answer, this one
    desk.key("X")
    assert "町は静かになります。" not in desk.words


def test_a_translation_that_fails_is_told_once_and_asked_for_again_by_the_key(lab: Lab) -> None:
    desk = Desk(lab, lang="ja")
    lab.server.text = lambda prompt, index, seed: ""
    desk.key("X")
    assert desk.work() == 1
    assert "翻訳は届きませんでした。" in desk.words
    desk.run()
    assert desk.work() == 0
    desk.key("X")
    desk.says("Translate this text", "訳文です。")
    desk.key("X")
    assert desk.work() == 1
    assert "訳文です。" in desk.words


def test_a_hint_comes_first_and_its_answer_is_taken(lab: Lab) -> None:
    desk = Desk(lab)
    assert desk.key("H") == "My hint"
    desk.press("Save and answer from it")
    assert "empty" in desk.words
    draft_field(desk.app, "edit").set_value("You should name who pays.")
    desk.press("Save and answer from it")
    assert "You should name who pays." in desk.words
    assert desk.work() == 1
    assert desk.key("P") == "Go on from the new answer"
    (root,) = desk.tree.nodes
    assert root.state == "answered"
    assert rows(lab.database, "SELECT source, text FROM reasoning_variant") == [
        ("human", "You should name who pays.")
    ]


def test_an_edited_reasoning_of_a_second_card_starts_from_its_own_words(lab: Lab) -> None:
    shown = lab.answer().shown
    desk = Desk(lab)
    for key, card in zip(("E", "Shift+E", "Q"), shown, strict=False):
        assert desk.key(key) == "Edit"
        assert card.reasoning
        assert draft_field(desk.app, "edit").value == card.reasoning.text
        desk.press("Back to the turn")


def test_tags_notes_and_a_note_that_is_empty(lab: Lab) -> None:
    desk = Desk(lab)
    assert desk.key("G") == "Tag"
    draft_field(desk.app, "tag").set_value("traffic、静か, who pays")
    desk.press("Add")
    assert desk.tree.nodes[0].tags == ("traffic", "who pays", "静か")
    desk.press("Note")
    desk.press("Add")
    assert "The note is empty." in desk.words
    draft_field(desk.app, "note").set_value("Ask the *bus* company.")
    desk.press("Add")
    assert "Ask the *bus* company." in desk.words
    desk.key("I")
    desk.press("Cancel")
    assert not desk.app.text_area
