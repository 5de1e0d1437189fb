"""What the browser tells of cards: each event is applied once, in the order of the presses."""

from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from db.database import Database
from db.rating.assignment import Card
from db.rating.queues import QueueRow, get_queue
from db.rating.ratings import active_ratings, ensure_rater
from db.tables import QueueItemState, Rating
from tests.app.seed import seed_store
from workbench.rating.card_events import CardEvent, apply_event, enter, entered_on
from workbench.rating.cards import ANSWER_SEEN, current_card, undo
from workbench.rating.queues import QueueSpec, build_queue, save_queue


@pytest.fixture
def filled(database: Database) -> Database:
    seed_store(database)
    return database


def make(database: Database, **given: object) -> tuple[QueueRow, int]:
    spec = QueueSpec.model_validate(
        {"name": "test", "leave_out": (), "repeat_share": 0, "sampler": "random", **given}
    )
    with database.write() as session:
        queue = get_queue(session, save_queue(session, build_queue(session, spec)))
        return queue, ensure_rater(session, "Aki")


def lying(database: Database, queue: QueueRow, rater: int) -> Card:
    card = current_card(database, queue, rater)
    assert card is not None
    return card


def event(card: Card | None, act: str, **given: Any) -> CardEvent:
    return CardEvent.model_validate(
        {"id": "e", "card": card.id if card else None, "act": act, **given}
    )


def holding(database: Database) -> list[Rating]:
    with database.read() as session:
        return list(session.scalars(active_ratings().order_by(Rating.id)))


@pytest.mark.parametrize(
    ("place", "swapped", "outcome"),
    [
        ("left", False, "a"),
        ("right", False, "b"),
        ("left", True, "b"),
        ("right", True, "a"),
        ("tie", True, "tie"),
        ("both_bad", False, "both_bad"),
    ],
)
def test_a_side_is_stored_as_the_text_that_stood_there(
    filled: Database, place: str, swapped: bool, outcome: str
) -> None:
    queue, rater = make(filled)
    card = lying(filled, queue, rater)
    with filled.write() as session:
        state = session.get_one(QueueItemState, (card.item.id, rater))
        state.draft = {**(state.draft or {}), "swapped": swapped}
    assert apply_event(filled, queue, rater, event(card, "rate", place=place))
    assert [(row.outcome, row.swapped) for row in holding(filled)] == [(outcome, swapped)]


def test_the_same_events_sent_again_are_stored_once(filled: Database) -> None:
    queue, rater = make(filled, way="single", scope="answer")
    card = lying(filled, queue, rater)
    rated = event(card, "rate", values={"correct": 2, "ok": 1}, tags=[" a ", "a"], seconds=4.2)
    assert apply_event(filled, queue, rater, rated)
    following = lying(filled, queue, rater)
    assert apply_event(filled, queue, rater, rated)
    for act in ("skip", "flag", "undo", "draft"):
        assert apply_event(filled, queue, rater, event(card, act))
    assert lying(filled, queue, rater) == following
    assert [(row.axis, row.value, row.label, row.seconds) for row in holding(filled)] == [
        ("correct", 2.0, None, 4.2),
        ("ok", 1.0, None, 4.2),
        ("tag", None, "a", 4.2),
    ]


def test_an_undo_is_taken_once_also_where_all_cards_are_rated(filled: Database) -> None:
    queue, rater = make(filled, limit=1)
    card = lying(filled, queue, rater)
    apply_event(filled, queue, rater, event(card, "rate", place="tie"))
    assert current_card(filled, queue, rater) is None
    taken_back = event(None, "undo")
    apply_event(filled, queue, rater, taken_back)
    back = lying(filled, queue, rater)
    apply_event(filled, queue, rater, taken_back)
    assert lying(filled, queue, rater) == back
    assert back.item.id == card.item.id
    assert holding(filled) == []


def test_a_judgement_of_a_card_that_was_taken_back_elsewhere_is_told(filled: Database) -> None:
    queue, rater = make(filled)
    first = lying(filled, queue, rater)
    apply_event(filled, queue, rater, event(first, "rate", place="left"))
    second = lying(filled, queue, rater)
    undo(filled, queue, rater)
    assert not apply_event(filled, queue, rater, event(second, "rate", place="left"))
    assert holding(filled) == []


@pytest.mark.parametrize(
    ("way", "first", "second"),
    [
        ("pair", {"place": "left"}, {"place": "tie"}),
        ("single", {"values": {"correct": 2}}, {"values": {"correct": 4}}),
        ("single", {"values": {"correct": 2}}, {"values": {"correct": 2, "ok": 1}}),
        ("single", {"tags": ["a"]}, {"tags": ["b"]}),
    ],
)
def test_another_judgement_of_a_card_that_was_judged_elsewhere_is_told_and_the_first_stays(
    filled: Database, way: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    queue, rater = make(filled, way=way, scope="answer")
    card = lying(filled, queue, rater)
    assert apply_event(filled, queue, rater, event(card, "rate", **first))
    before = [(row.id, row.value, row.label, row.outcome) for row in holding(filled)]
    assert not apply_event(filled, queue, rater, event(card, "rate", **second))
    assert apply_event(filled, queue, rater, event(card, "rate", **first))
    assert [(row.id, row.value, row.label, row.outcome) for row in holding(filled)] == before


def test_what_is_entered_stays_on_the_card_beside_what_is_known_of_it(filled: Database) -> None:
    queue, rater = make(filled, way="single", scope="reasoning")
    card = lying(filled, queue, rater)
    enter(filled, card, rater, {ANSWER_SEEN: True})
    entered = {"values": {"clear": 3}, "tags": ["x"], "note": "because"}
    apply_event(filled, queue, rater, event(card, "draft", **entered))
    card = lying(filled, queue, rater)
    assert entered_on(card) == entered
    apply_event(filled, queue, rater, event(card, "rate", **entered))
    assert {(row.answer_seen, row.note) for row in holding(filled)} == {(True, "because")}
    back = undo(filled, queue, rater)
    assert back is not None
    assert entered_on(back) == entered
    apply_event(filled, queue, rater, event(back, "rate", **entered))
    assert all(row.answer_seen for row in holding(filled))


def test_a_card_that_an_undo_puts_back_comes_again_with_what_was_entered(
    filled: Database,
) -> None:
    queue, rater = make(filled, way="single", scope="reasoning")
    first = lying(filled, queue, rater)
    apply_event(filled, queue, rater, event(first, "rate", values={"clear": 1}))
    second = lying(filled, queue, rater)
    enter(filled, second, rater, {ANSWER_SEEN: True})
    entered = {"values": {"clear": 3}, "tags": ["x"], "note": "because"}
    apply_event(filled, queue, rater, event(second, "undo", **entered))
    back = lying(filled, queue, rater)
    assert back.item.id == first.item.id
    apply_event(filled, queue, rater, event(back, "rate", values={"clear": 2}))
    again = lying(filled, queue, rater)
    assert (again.item.id, again.swapped) == (second.item.id, second.swapped)
    assert entered_on(again) == entered
    apply_event(filled, queue, rater, event(again, "rate", **entered))
    assert {row.answer_seen for row in holding(filled) if row.queue_item_id == again.item.id} == {
        True
    }
    apply_event(filled, queue, rater, event(lying(filled, queue, rater), "undo"))
    assert entered_on(lying(filled, queue, rater)) == entered


def test_values_entered_before_the_update_are_still_on_their_card(filled: Database) -> None:
    queue, rater = make(filled, way="single", scope="answer")
    card = lying(filled, queue, rater)
    with filled.write() as session:
        state = session.scalars(select(QueueItemState)).one()
        entered = {"correct": 2, "ok": 0, "answer_seen": True}
        draft = {**(state.draft or {}), "entered": entered}
        session.execute(update(QueueItemState).values(draft=draft))
    card = lying(filled, queue, rater)
    assert entered_on(card) == {"values": {"correct": 2, "ok": 0}, "tags": [], "note": ""}


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": {"correct": 6}},
        {"values": {"correct": 0}},
        {"values": {"ok": 2}},
        {"values": {"correct": 2.5}},
        {"seconds": float("nan")},
        {"place": "middle"},
        {"act": "delete"},
    ],
)
def test_what_no_panel_can_mean_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CardEvent.model_validate({"id": "e", "card": "c", "act": "rate", **wrong})
