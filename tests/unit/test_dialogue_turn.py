"""A turn: answers shown blind, one chosen, questions proposed, one picked, all of it kept."""

from collections.abc import Callable

import pytest

from db.database import Database
from db.dialogues import read_events
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab
from tests.unit.sweep_lab import rows, scalar
from workbench.dialogue.decisions import choose, pick
from workbench.dialogue.tree import read_tree


@pytest.fixture
def lab(database: Database, fake_server: FakeServer) -> Lab:
    return Lab(database, fake_server)


def test_a_turn_shows_three_answers_and_six_questions_and_leads_to_the_next_one(lab: Lab) -> None:
    view = lab.answer()
    assert view.step == "choose"
    assert len(view.shown) == 3
    assert all(card.reasoning is not None for card in view.shown)
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[1].answer.id, lab.by, reason="concrete")
    view = lab.ask("deepen", "rebut", "ground")
    assert view.step == "pick"
    assert sum(c.is_shown for c in view.candidates) == 6
    assert {c.move for c in view.candidates if c.is_shown} == {"deepen", "rebut", "ground"}
    first = view.candidates[0]
    with lab.database.write() as session:
        child = pick(session, lab.id, lab.here, first.event_id, first.place, lab.by, reason="new")
    assert lab.here == child
    with lab.database.read() as session:
        tree = read_tree(session, lab.id)
    root, node = tree.nodes
    assert (root.state, root.answer_id) == ("answered", view.chosen and view.chosen.answer.id)
    assert (node.depth, node.question, node.move) == (1, first.text, first.move)
    assert (node.source, node.reason, node.automatic) == ("model", "new", False)
    asked = "SELECT text, source, move, parent_id FROM question WHERE id > 1"
    assert rows(lab.database, asked) == [(first.text, "model", first.move, root.question_id)]


def test_what_asks_for_questions_goes_through_the_runner_with_its_prompt_and_schema(
    lab: Lab,
) -> None:
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    lab.ask("rebut")
    (body,) = [r for r in lab.server.requests if "structured_outputs" in r]
    assert body["structured_outputs"]["json"]["type"] == "array"
    assert "Each doubts one claim" in body["prompt"]
    assert view.shown[0].answer.text in body["prompt"]
    assert body["priority"] < 0
    kept = "SELECT kind, ok, prompt_id IS NOT NULL, question_id FROM generation ORDER BY id DESC"
    assert rows(lab.database, kept)[0] == ("questions", 1, 1, 1)
    assert scalar(lab.database, "SELECT count(*) FROM answer") == 3
    assert scalar(lab.database, "SELECT purpose FROM sweep ORDER BY id DESC") == "turn"


def test_more_answers_and_more_lists_are_new_ones(lab: Lab) -> None:
    first = lab.answer()
    more = lab.answer(variants=2)
    assert len(more.shown) == 2
    assert {c.answer.id for c in first.shown} == {c.answer.id for c in more.folded}
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, more.shown[0].answer.id, lab.by)
    once = lab.ask("gap")
    again = lab.ask("gap")
    assert len(again.earlier_candidates) == len(once.candidates) == 5
    assert len(again.candidates) == 5


def test_the_order_of_cards_is_random_and_stays(lab: Lab) -> None:
    view = lab.answer(variants=6)
    with lab.database.read() as session:
        (event,) = read_events(session, lab.id, kinds=("answers_shown",))
    assert [card.answer.id for card in view.shown] == event.payload["shown"]
    assert sorted(event.payload["shown"] + event.payload["folded"]) == [1, 2, 3, 4, 5, 6]
    assert [card.answer.id for card in lab.view().shown] == event.payload["shown"]


def test_a_question_asked_before_is_folded_away_not_deleted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = lab.view().question.text
    lab.server.text = _listing([asked, "Which streets were closed first in other towns?"])
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    view = lab.ask("deepen")
    shown, folded = view.candidates
    assert shown.text.startswith("Which streets")
    assert (folded.text, folded.is_repeat, folded.is_shown) == (asked, True, False)
    assert folded.nearest == asked


def _listing(questions: list[str]) -> Callable[[str, int, int | None], str]:
    import json

    def text(prompt: str, choice_index: int, seed: int | None) -> str:
        is_list = "Propose five next questions" in prompt
        return json.dumps(questions) if is_list else f"You should see {choice_index}."

    return text
