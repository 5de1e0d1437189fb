"""The table way of rating on a real store: facts are only added, corrections leave history."""

import pytest
from sqlalchemy import func, select

from db.database import Database
from db.rating.assignment import Card
from db.rating.queues import QueueRow, get_queue
from db.rating.ratings import active_ratings, ensure_rater
from db.tables import QueueItem, QueueItemState, Rating, ReasoningVariant
from tests.app.seed import seed_store
from workbench.rating.cards import CardRating, current_card, submit
from workbench.rating.queues import QueueSpec, build_queue, save_queue
from workbench.rating.table import NOTHING, save_table, table_page


@pytest.fixture
def filled(database: Database) -> Database:
    seed_store(database)
    return database


def make(database: Database, **given: object) -> tuple[QueueRow, int]:
    spec = QueueSpec.model_validate(
        {"name": "test", "way": "table", "leave_out": (), "repeat_share": 0, **given}
    )
    with database.write() as session:
        queue_id = save_queue(session, build_queue(session, spec))
        return get_queue(session, queue_id), ensure_rater(session, "Aki")


def said(database: Database) -> list[tuple[str, float | None, str | None]]:
    with database.read() as session:
        rows = session.scalars(active_ratings().order_by(Rating.id))
        return [(row.axis, row.value, row.label) for row in rows]


def n_facts(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Rating)) or 0


def test_all_items_are_listed_and_a_saved_table_adds_facts_once(filled: Database) -> None:
    queue, rater = make(filled, scope="answer")
    with filled.read() as session:
        first = table_page(session, queue, rater, 1, 20)
        last = table_page(session, queue, rater, 99, 20)
    assert first.total == queue.n_items == 48
    assert (len(first.rows), len(last.rows)) == (20, 8)
    items = [row.item.id for row in first.rows]
    wanted = {
        items[0]: CardRating(values={"correct": 4, "ok": 1}, tags=("浅い",)),
        items[1]: CardRating(values={"correct": 2}),
    }
    saved = save_table(filled, queue, rater, wanted)
    assert (saved.changed, saved.taken) == (2, 0)
    assert save_table(filled, queue, rater, wanted).changed == 0
    assert said(filled) == [
        ("correct", 4.0, None),
        ("ok", 1.0, None),
        ("tag", None, "浅い"),
        ("correct", 2.0, None),
    ]
    with filled.read() as session:
        again = table_page(session, queue, rater, 1, 20)
        assert [row.item.id for row in again.rows] == items
        assert again.rows[0].rated == wanted[items[0]]
        facts = session.scalars(select(Rating)).all()
    assert {(row.sampler, row.seconds, row.blind) for row in facts} == {("table", None, True)}


def test_a_correction_is_a_new_fact_and_leaves_what_was_right_alone(filled: Database) -> None:
    queue, rater = make(filled, scope="reasoning")
    with filled.read() as session:
        item = table_page(session, queue, rater, 1, 5).rows[0].item.id
    save_table(
        filled, queue, rater, {item: CardRating(values={"clear": 3, "novel": 5}, tags=("a",))}
    )
    save_table(
        filled, queue, rater, {item: CardRating(values={"clear": 4, "novel": 5}, tags=("b",))}
    )
    assert sorted(said(filled), key=str) == sorted(
        [("novel", 5.0, None), ("clear", 4.0, None), ("tag", None, "b")], key=str
    )
    # Three facts, two of them undone by two more, and two new ones.
    assert n_facts(filled) == 7
    save_table(filled, queue, rater, {item: NOTHING})
    assert said(filled) == []
    assert n_facts(filled) == 10
    with filled.read() as session:
        assert session.get(QueueItemState, (item, rater)) is None


def test_comparisons_are_reviewed_with_the_sides_as_shown_and_keep_how_they_were_made(
    filled: Database,
) -> None:
    queue, rater = make(filled, way="pair")
    cards: list[Card] = []
    card = current_card(filled, queue, rater)
    while card is not None and len(cards) < 4:
        cards.append(card)
        card = submit(filled, queue, rater, card.id, CardRating(outcome="a"))
    with filled.read() as session:
        page = table_page(session, queue, rater, 1, 20)
    assert [row.item.id for row in page.rows] == [card.item.id for card in reversed(cards)]
    assert [row.swapped for row in page.rows] == [card.swapped for card in reversed(cards)]
    wrong = cards[1]
    save_table(filled, queue, rater, {wrong.item.id: CardRating(outcome="both_bad", values={})})
    with filled.read() as session:
        row = session.scalars(active_ratings().where(Rating.queue_item_id == wrong.item.id)).one()
        old = session.get_one(Rating, 2)
    assert row.outcome == "both_bad"
    assert (row.swapped, row.sampler, row.seconds) == (old.swapped, old.sampler, old.seconds)
    assert row.other_variant_id == old.other_variant_id
    assert row.card_id != old.card_id


def test_items_that_enough_others_rated_are_neither_shown_nor_stored(filled: Database) -> None:
    queue, aki = make(filled, scope="reasoning")
    with filled.write() as session:
        ben = ensure_rater(session, "Ben")
    with filled.read() as session:
        item = table_page(session, queue, ben, 1, 5).rows[0].item.id
    save_table(filled, queue, aki, {item: CardRating(values={"clear": 5})})
    saved = save_table(filled, queue, ben, {item: CardRating(values={"clear": 1})})
    assert (saved.changed, saved.taken) == (0, 1)
    assert said(filled) == [("clear", 5.0, None)]
    with filled.read() as session:
        assert item not in [row.item.id for row in table_page(session, queue, ben, 1, 50).rows]
        assert table_page(session, queue, aki, 1, 50).total == 24


def test_a_table_holds_no_text_of_the_raters_own_hand(filled: Database) -> None:
    queue, rater = make(filled, scope="reasoning")
    with filled.write() as session:
        mine = session.scalars(select(ReasoningVariant).limit(1)).one()
        mine.author_id = rater
    with filled.read() as session:
        page = table_page(session, queue, rater, 1, 50)
    assert page.total == 23
    assert mine.id not in [row.item.target.variant_id for row in page.rows]


def test_items_of_another_queue_are_left_alone(filled: Database) -> None:
    queue, rater = make(filled, scope="reasoning")
    other, _ = make(filled, scope="reasoning")
    with filled.read() as session:
        item = session.scalars(select(QueueItem.id).where(QueueItem.queue_id == other.id)).first()
    assert item is not None
    assert save_table(filled, queue, rater, {item: CardRating(values={"clear": 1})}).changed == 0
    assert n_facts(filled) == 0


def test_the_review_lists_the_last_card_first_and_no_comparison_twice_where_some_came_back(
    filled: Database,
) -> None:
    queue, rater = make(filled, way="pair", scope="whole", repeat_share=0.3, sampler="random")
    card = current_card(filled, queue, rater)
    n_repeats = 0
    while card is not None:
        last = card
        n_repeats += card.item.repeat_of_id is not None
        card = submit(filled, queue, rater, card.id, CardRating(outcome="a"))
        with filled.read() as session:
            page = table_page(session, queue, rater, 1, 500)
        assert page.rows[0].item.id == last.item.id
    assert n_repeats > 0
    compared = [(row.item.target, row.item.other) for row in page.rows]
    assert len(set(compared)) == len(compared) == page.total == queue.n_items
