"""Next questions on the page: edit, write, merge, park, reject, go back, fork, look around."""

import pytest

from db.database import Database
from db.dialogues import list_dialogues
from db.questions import NewQuestion, add_question
from tests.app.dialogue_desk import Desk, draft_field
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab
from workbench.dialogue.decisions import choose
from workbench.dialogue.lifecycle import change_state
from workbench.dialogue.tree import read_tree


@pytest.fixture
def desk(store: Database, fake_server: FakeServer) -> Desk:
    lab = Lab(store, fake_server)
    view = lab.answer()
    with store.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    lab.ask("rebut")
    return Desk(lab)


def shown(desk: Desk) -> list[str]:
    return [one.text for one in desk.lab.view().candidates if one.is_shown]


def test_editing_starts_from_the_words_of_the_question_that_is_selected(desk: Desk) -> None:
    first, second, *_ = shown(desk)
    desk.key("W")
    assert draft_field(desk.app, "own").value == ""
    desk.key("E")
    assert desk.app.text_area[0].value == first
    desk.key("2")
    desk.key("E")
    assert desk.app.text_area[0].value == second
    desk.press("Cancel")
    assert not desk.app.text_area
    desk.key("E")
    desk.app.text_area[0].set_value("Who pays for it at night?")
    draft_field(desk.app, "reason").set_value("more to the point")
    desk.press("Go on with this")
    child = desk.tree.nodes[-1]
    assert (child.question, child.source, child.move, child.reason) == (
        "Who pays for it at night?",
        "human",
        "rebut",
        "more to the point",
    )


def test_a_merge_shows_what_is_kept_and_can_be_left(desk: Desk) -> None:
    desk.key("M")
    assert desk.button("Don't merge")
    desk.key("M")
    desk.key("M")
    desk.key("2")
    assert desk.key("M") == "Same as the first"
    (merged,) = [one for one in desk.lab.view().candidates if one.merged_into is not None]
    assert not merged.is_shown


def test_a_question_that_was_parked_or_taken_is_gone_to_and_not_made_twice(desk: Desk) -> None:
    draft_field(desk.app, "reason").set_value("later")
    assert desk.key("K") == "Park"
    parked = desk.tree.nodes[-1]
    assert (parked.state, parked.reason) == ("parked", "later")
    desk.key("N")
    assert [event.kind for event in desk.events("park", "reject")] == ["park", "reject"]
    place = next(i for i, text in enumerate(shown(desk), start=1) if text == parked.question)
    desk.key(str(place))
    assert desk.key("P") == "Go there"
    assert len(desk.tree.nodes) == 2
    assert desk.tree.current_id == parked.id
    assert desk.tree.node(parked.id).state == "open"


def test_a_reason_waits_at_its_question_until_a_decision_takes_it(desk: Desk) -> None:
    field = draft_field(desk.app, "reason")
    field.set_value("it can be counted")
    lab = desk.lab
    with lab.database.write() as session:  # in another tab
        change_state(session, lab.id, "close", lab.by)
    desk.key("K")
    assert [one.reason for one in desk.events("park")] == []
    with lab.database.write() as session:
        change_state(session, lab.id, "resume", lab.by)
    desk.run()
    assert draft_field(desk.app, "reason").value == "it can be counted"
    desk.key("P")
    assert desk.tree.nodes[-1].reason == "it can be counted"
    desk.work()
    desk.app.query_params["node"] = str(desk.tree.nodes[0].id)
    desk.run()
    desk.key("Shift+P")
    again = draft_field(desk.app, "reason")
    assert (again.key, again.value) == (field.key, "")


def test_one_goes_back_with_a_reason_and_rejects_where_it_led(desk: Desk) -> None:
    desk.key("P")
    root, child = desk.tree.nodes
    desk.press("Show")
    assert "You are looking at question 1" in desk.words
    draft_field(desk.app, "back-reason").set_value("it led nowhere")
    assert desk.key("Shift+P") == "Go on from here"
    assert desk.tree.current_id == root.id
    assert desk.events("goto")[-1].reason == "it led nowhere"
    desk.app.query_params["node"] = str(child.id)
    desk.run()
    desk.press("Reject it")
    assert desk.tree.node(child.id).state == "rejected"


def test_a_fork_by_its_key_takes_the_way_along(desk: Desk) -> None:
    desk.key("P")
    assert desk.key("Shift+F") == "Fork"
    draft_field(desk.app, "fork", "name").set_value("The other way")
    desk.app.button(key="fork_go").click()
    desk.run()
    with desk.lab.database.read() as session:
        new = next(one for one in list_dialogues(session) if one.name == "The other way")
        fork = read_tree(session, new.id)
    assert [node.question for node in fork.nodes] == [node.question for node in desk.tree.nodes]
    assert str(new.id) in desk.app.query_params["session"]


def test_proposals_are_held_against_the_store_on_a_key(desk: Desk) -> None:
    first = shown(desk)[0]
    with desk.lab.database.write() as session:
        add_question(session, NewQuestion(text=first.replace("Who measured", "Who has measured")))
    desk.key("Shift+M")
    assert "Asked in the store already" in desk.words
    assert "Nearest in the store" in desk.words
    desk.key("Shift+M")
    assert "Asked in the store already" not in desk.words
