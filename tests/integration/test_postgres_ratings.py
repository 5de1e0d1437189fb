"""Ratings on a real PostgreSQL server: several raters, verdicts, tags and notes, exports."""

import pytest

from db.database import Database
from db.rating.remarks import known_tags
from db.texts.lists import TextFilter, list_texts
from db.texts.matrix import MatrixFilter, matrix
from tests.integration.test_postgres import migrated, store
from tests.unit import test_rating_team as team
from tests.unit.rating_lab import fill, leave_remarks
from workbench.rating.adjudication import adjudicate, disagreements
from workbench.rating.cards import CardRating
from workbench.rating.export import rating_rows

__all__ = ["migrated", "store"]
pytestmark = pytest.mark.postgres


def test_tags_and_notes_of_raters_are_found_and_exported(store: Database) -> None:
    leave_remarks(store)
    with store.read() as session:
        vague = list_texts(session, TextFilter(rater_tags=("vague",)))
        (row,) = matrix(session, MatrixFilter(is_noted=True)).rows
        assert known_tags(session) == {"vague": 2, "broad": 1}
    assert {one.ref for one in vague.rows} == {"v1", "v2"}
    assert row.question_id == 1
    assert [one["card_id"] for one in rating_rows(store, tags=["vague"])] == ["p", "p/1", "p/2"]
    assert list(rating_rows(store, 1)) == []


def test_cards_shared_out_by_name_are_disagreed_about_and_settled(store: Database) -> None:
    with store.write() as session:
        fill(session)
    queue = team.make(store, overlap=2, raters="Aki, Ben")
    for name, outcome in (("Aki", "a"), ("Ben", "b")):
        assert team.rate_all(store, queue, name, CardRating(outcome=outcome)) == queue.n_items
    with store.read() as session:
        first = disagreements(session, queue).rows[0]
        assert disagreements(session, queue).total == queue.n_items
    chie = team.rater(store, "Chie")
    adjudicate(store, queue, chie, first.item.id, CardRating(outcome="a", note="it leads on"))
    rows = [one for one in rating_rows(store, queue.id) if one["adjudication"] or one["overruled"]]
    assert sorted(one["rater"] for one in rows) == ["Aki", "Ben", "Chie"]
    assert [one["rater"] for one in rating_rows(store, is_noted=True)] == ["Chie"]
