"""Queues, cards and presses, on a real store."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.rating.assignment import Card
from db.rating.columns import RatingFilter, read_ratings
from db.rating.queues import QueueRow, get_queue, list_queues, queue_progress
from db.rating.ratings import active_ratings, ensure_rater, list_raters
from db.tables import (
    CheckFlag,
    Question,
    QueueItem,
    QueueItemState,
    Rating,
    ReasoningVariant,
    utc_now,
)
from tests.app.seed import seed_store
from tests.unit.rating_lab import fill
from workbench.rating.card_events import entered_on
from workbench.rating.cards import REPEAT_AFTER, CardRating, current_card, skip, submit, undo
from workbench.rating.queues import QueueSpec, build_queue, save_queue, seconds_per_card


@pytest.fixture
def filled(database: Database) -> Database:
    seed_store(database)
    return database


def make(database: Database, **given: object) -> tuple[QueueRow, int]:
    spec = QueueSpec.model_validate(
        {"name": "test", "leave_out": (), "sampler": "random", "repeat_share": 0, **given}
    )
    with database.write() as session:
        queue_id = save_queue(session, build_queue(session, spec))
        return get_queue(session, queue_id), ensure_rater(session, "Aki")


def rate_all(database: Database, queue: QueueRow, rater: int, limit: int = 500) -> list[Card]:
    cards: list[Card] = []
    card = current_card(database, queue, rater)
    while card is not None and len(cards) < limit:
        cards.append(card)
        card = submit(database, queue, rater, card.id, CardRating(outcome="a"))
    return cards


def holding(database: Database) -> list[Rating]:
    with database.read() as session:
        return list(session.scalars(active_ratings().order_by(Rating.id)))


@pytest.mark.parametrize(
    ("scope", "n"),
    [
        ("reasoning", 8 * 3),
        ("answer", 8 * 3 * 1),
        ("whole", 8 * (15 - 3)),
    ],
)
def test_a_pair_queue_compares_what_belongs_to_one_question(
    filled: Database, scope: str, n: int
) -> None:
    queue, _ = make(filled, scope=scope)
    with filled.read() as session:
        items = session.scalars(select(QueueItem)).all()
        question_of = {v.id: v.question_id for v in session.scalars(select(ReasoningVariant))}
    assert queue.n_items == len(items) == n
    for item in items:
        assert question_of[item.variant_id] == item.question_id
        assert question_of[item.other_variant_id] == item.question_id
        if scope == "answer":
            assert item.variant_id == item.other_variant_id
        else:
            assert item.variant_id != item.other_variant_id
    pairs = {(i.variant_id, i.answer_id, i.other_variant_id, i.other_answer_id) for i in items}
    assert len(pairs) == n


def test_a_limited_queue_meets_every_question_before_any_twice(filled: Database) -> None:
    make(filled, limit=10)
    with filled.read() as session:
        met = Counter(session.scalars(select(QueueItem.question_id)))
    assert len(met) == 8
    assert set(met.values()) == {1, 2}


def test_flagged_texts_and_copies_are_left_out_and_counted(filled: Database) -> None:
    with filled.read() as session:
        built = build_queue(
            session, QueueSpec(name="x", leave_out=("answer_leak", "form", "length", "repetition"))
        )
        everything = build_queue(session, QueueSpec(name="x", leave_out=()))
    assert everything.n_texts == 24
    assert built.n_texts + sum(n for reason, n in built.left_out.items() if reason != "alone") == 24
    assert built.left_out["length"] >= 1
    with filled.write() as session:
        one = session.scalars(select(ReasoningVariant)).first()
        assert one is not None
        session.execute(
            update(ReasoningVariant)
            .where(ReasoningVariant.question_id == one.question_id)
            .values(content_hash=one.content_hash)
        )
        built = build_queue(session, QueueSpec(name="x", leave_out=()))
    assert built.left_out == {"duplicate": 2, "alone": 1}


def flag_everything(session: Session) -> None:
    for variant_id in session.scalars(select(ReasoningVariant.id)).all():
        session.add(CheckFlag(variant_id=variant_id, name="form", detail="x"))
    session.flush()


def test_nothing_to_rate_is_said(database: Database) -> None:
    with database.write() as session, pytest.raises(UsageError, match="no questions yet"):
        save_queue(session, build_queue(session, QueueSpec(name="x")))
    with database.write() as session:
        fill(session)
        flag_everything(session)
        built = build_queue(session, QueueSpec(name="x"))
        with pytest.raises(UsageError, match=r"left out \(4: finding form \(--keep-flagged\)\)"):
            save_queue(session, built)
    with database.write() as session:
        for question in session.scalars(select(Question)):
            question.held_out = True
        built = build_queue(session, QueueSpec(name="x"))
        with pytest.raises(UsageError, match="never trains \\(--keep-untrainable\\)"):
            save_queue(session, built)
    with pytest.raises(ValidationError, match="one at a time"):
        QueueSpec(name="x", scope="question")


def test_each_press_stores_one_row_with_the_order_shown(filled: Database) -> None:
    queue, rater = make(filled)
    cards = rate_all(filled, queue, rater)
    rows = holding(filled)
    assert len(cards) == len(rows) == queue.n_items == 24
    assert [row.card_id for row in rows] == [card.id for card in cards]
    assert [row.swapped for row in rows] == [card.swapped for card in cards]
    assert {row.swapped for row in rows} == {True, False}
    assert all(row.blind and not row.answer_seen and row.sampler == "random" for row in rows)
    assert all(row.variant_id and row.other_variant_id for row in rows)
    with filled.read() as session:
        assert queue_progress(session, queue, rater).submitted == 24


def test_a_reload_finds_the_same_card_in_the_same_order(filled: Database) -> None:
    queue, rater = make(filled)
    assert current_card(filled, queue, rater) == current_card(filled, queue, rater)


def test_stale_double_and_empty_presses_change_nothing(filled: Database) -> None:
    queue, rater = make(filled)
    first = current_card(filled, queue, rater)
    assert first is not None
    second = submit(filled, queue, rater, first.id, CardRating(outcome="b"))
    assert second is not None
    assert submit(filled, queue, rater, first.id, CardRating(outcome="a")) == second
    assert skip(filled, queue, rater, first.id) == second
    assert submit(filled, queue, rater, second.id, CardRating()) == second
    assert [row.outcome for row in holding(filled)] == ["b"]


def test_undo_goes_back_card_by_card_and_keeps_what_was_said_as_history(filled: Database) -> None:
    queue, rater = make(filled)
    first, second, _ = rate_all(filled, queue, rater, limit=3)
    third = current_card(filled, queue, rater)
    assert third is not None
    skip(filled, queue, rater, third.id)
    for expected in (third.item.id, _.item.id, second.item.id, first.item.id):
        card = undo(filled, queue, rater)
        assert card is not None
        assert card.item.id == expected
        assert current_card(filled, queue, rater) == card
    assert card.swapped == first.swapped
    assert undo(filled, queue, rater) is None
    assert holding(filled) == []
    with filled.read() as session:
        assert session.scalar(select(func.count()).select_from(Rating)) == 6
    submit(filled, queue, rater, card.id, CardRating(outcome="both_bad"))
    assert [row.outcome for row in holding(filled)] == ["both_bad"]


def test_one_at_a_time_stores_every_axis_tag_and_flag_once(filled: Database) -> None:
    queue, rater = make(filled, way="single", scope="answer")
    card = current_card(filled, queue, rater)
    assert card is not None
    assert card.item.other is None
    said = CardRating(
        values={"correct": 4, "ok": 1}, tags=("浅い", "short"), mark="typo", note="見直す"
    )
    submit(filled, queue, rater, card.id, said)
    submit(filled, queue, rater, card.id, said)
    rows = holding(filled)
    assert [(row.axis, row.value, row.label) for row in rows] == [
        ("correct", 4.0, None),
        ("ok", 1.0, None),
        ("tag", None, "浅い"),
        ("tag", None, "short"),
        ("flag", None, "typo"),
    ]
    assert {row.note for row in rows} == {"見直す"}
    again = undo(filled, queue, rater)
    assert holding(filled) == []
    assert again is not None
    assert entered_on(again) == {
        "values": {"correct": 4, "ok": 1},
        "tags": ["浅い", "short"],
        "note": "見直す",
    }


def test_a_clock_that_is_set_back_between_two_cards_stops_nothing(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, rater = make(filled)
    first = current_card(filled, queue, rater)
    assert first is not None
    second = submit(filled, queue, rater, first.id, CardRating(outcome="a"))
    assert second is not None
    for module in ("db.rating.assignment", "workbench.rating.cards", "db.rating.ratings"):
        monkeypatch.setattr(f"{module}.utc_now", lambda: utc_now() - timedelta(hours=1))
    third = submit(filled, queue, rater, second.id, CardRating(outcome="b"))
    assert third is not None
    assert third.id != second.id
    submit(filled, queue, rater, third.id, CardRating(outcome="tie", seconds=-5.0))
    assert [row.outcome for row in holding(filled)] == ["a", "b", "tie"]
    assert all(row.seconds is not None and row.seconds >= 0 for row in holding(filled))
    for expected in (third, second, first):
        card = undo(filled, queue, rater)
        assert card is not None
        assert card.item.id == expected.item.id


def test_about_one_in_ten_comes_back_swapped_and_unannounced(filled: Database) -> None:
    queue, rater = make(filled, scope="whole", repeat_share=0.1)
    cards = rate_all(filled, queue, rater)
    repeats = [card for card in cards if card.item.repeat_of_id]
    shown = {card.item.id: (place, card) for place, card in enumerate(cards)}
    assert len(repeats) == int(0.1 * queue.n_items)
    for card in repeats:
        assert card.item.repeat_of_id is not None
        place, original = shown[card.item.repeat_of_id]
        assert card.swapped != original.swapped
        assert (card.item.target, card.item.other) == (original.item.target, original.item.other)
        assert shown[card.item.id][0] - place > REPEAT_AFTER
    assert len({card.item.repeat_of_id for card in repeats}) == len(repeats)


def test_the_counter_takes_equal_steps_whether_a_card_is_new_or_comes_back(
    filled: Database,
) -> None:
    queue, rater = make(filled, scope="whole", repeat_share=0.2)
    card, shown, totals = current_card(filled, queue, rater), [], set()
    repeats = 0
    while card is not None:
        repeats += card.item.repeat_of_id is not None
        with filled.read() as session:
            progress = queue_progress(session, queue, rater)
        shown.append(progress.done)
        totals.add(progress.total)
        card = submit(filled, queue, rater, card.id, CardRating(outcome="a"))
    assert repeats > 0
    assert shown == list(range(len(shown)))
    assert totals == {len(shown)} == {queue.n_cards()} == {queue.n_items + repeats}


def test_overlap_says_how_many_raters_meet_an_item(filled: Database) -> None:
    queue, aki = make(filled, overlap=2)
    with filled.write() as session:
        ben, chika = ensure_rater(session, "Ben"), ensure_rater(session, "千佳")
    assert len(rate_all(filled, queue, aki)) == 24
    assert len(rate_all(filled, queue, ben)) == 24
    assert rate_all(filled, queue, chika) == []


def test_an_abandoned_card_is_free_for_others_after_a_while(filled: Database) -> None:
    queue, aki = make(filled)
    with filled.write() as session:
        ben = ensure_rater(session, "Ben")
    card = current_card(filled, queue, aki)
    assert card is not None
    assert len(rate_all(filled, queue, ben)) == 23
    with filled.write() as session:
        state = session.get_one(QueueItemState, (card.item.id, aki))
        state.updated_at = state.updated_at.replace(year=2020)
    (left,) = rate_all(filled, queue, ben)
    assert left.item.id == card.item.id


def test_who_wrote_a_text_does_not_rate_it(filled: Database) -> None:
    queue, rater = make(filled)
    with filled.write() as session:
        mine = session.scalars(select(ReasoningVariant.id).limit(1)).one()
        session.execute(
            update(ReasoningVariant).where(ReasoningVariant.id == mine).values(author_id=rater)
        )
    cards = rate_all(filled, queue, rater)
    assert len(cards) == 22
    assert all(
        card.item.other and mine not in (card.item.target.variant_id, card.item.other.variant_id)
        for card in cards
    )


def test_raters_at_once_lose_nothing_and_share_the_items(filled: Database) -> None:
    queue, _ = make(filled, scope="whole")
    with filled.write() as session:
        raters = [ensure_rater(session, f"rater {i}") for i in range(4)]
    done: dict[int, int] = {}

    def work(rater: int) -> None:
        done[rater] = len(rate_all(filled, queue, rater))

    threads = [threading.Thread(target=work, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = holding(filled)
    assert sum(done.values()) == len(rows) == queue.n_items
    assert len({row.queue_item_id for row in rows}) == queue.n_items


def test_the_informative_sampler_asks_about_what_nobody_has_compared(filled: Database) -> None:
    queue, rater = make(filled, sampler="informative")
    cards = rate_all(filled, queue, rater, limit=8)
    assert len({card.item.target.question_id for card in cards}) == 8
    assert len(rate_all(filled, queue, rater)) == 16


def test_names_of_raters_are_one_line(database: Database) -> None:
    with database.write() as session:
        first = ensure_rater(session, " Ａｋｉ ")
        assert ensure_rater(session, "Aki") == first
        for bad in ("", "   ", "a\nb", "x" * 61):
            with pytest.raises(UsageError, match="one line"):
                ensure_rater(session, bad)
        assert [rater.name for rater in list_raters(session)] == ["Aki"]


def test_the_time_for_a_card_is_that_of_this_house(filled: Database) -> None:
    queue, rater = make(filled)
    with filled.read() as session:
        assert seconds_per_card(session, "pair", "reasoning") == 15.0
    rate_all(filled, queue, rater)
    with filled.write() as session:
        session.execute(update(Rating).values(seconds=7.0))
        assert seconds_per_card(session, "pair", "reasoning") == 7.0
        assert seconds_per_card(session, "single", "reasoning") == 20.0
        session.execute(update(Rating).values(seconds=-3600.0))  # of a clock that was set back
        assert seconds_per_card(session, "pair", "reasoning") == 15.0
        assert set(read_ratings(session, RatingFilter(scope="reasoning"))["seconds"]) == {None}
        assert [queue.name for queue in list_queues(session)] == ["test"]
