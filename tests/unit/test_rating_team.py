"""Several raters: cards shared out by name, what they disagree about settled by a person."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from db.database import Database
from db.errors import UsageError
from db.rating.columns import RatingFilter
from db.rating.queues import QueueRow, get_queue, raters_progress
from db.rating.ratings import active_ratings, ensure_rater, overruled
from db.rating.summaries import rating_summaries
from db.tables import QueueAssignment, Rating
from tests.unit.rating_lab import fill
from training.datasets.evidence import read_evidence
from training.datasets.rules import parse_rules
from workbench.cli.main import app
from workbench.insights.report import read_insights
from workbench.rating.adjudication import adjudicate, disagreements, withdraw
from workbench.rating.cards import (
    CardRating,
    current_card,
    mark_problem,
    reopen,
    skip,
    submit,
)
from workbench.rating.queues import QueueSpec, build_queue, save_queue
from workbench.rating.table import table_page


@pytest.fixture
def filled(database: Database) -> Database:
    with database.write() as session:
        fill(session)
    return database


def make(database: Database, **given: object) -> QueueRow:
    spec = QueueSpec.model_validate(
        {"name": "team", "leave_out": (), "sampler": "random", "repeat_share": 0, **given}
    )
    with database.write() as session:
        return get_queue(session, save_queue(session, build_queue(session, spec)))


def rater(database: Database, name: str) -> int:
    with database.write() as session:
        return ensure_rater(session, name)


def rate_all(database: Database, queue: QueueRow, name: str, rating: CardRating) -> int:
    who, n = rater(database, name), 0
    card = current_card(database, queue, who)
    while card is not None:
        card, n = submit(database, queue, who, card.id, rating), n + 1
    return n


def test_cards_are_shared_out_by_name_and_share_and_each_meets_only_their_own(
    filled: Database,
) -> None:
    queue = make(filled, way="single", scope="answer", raters="Aki:2、Ben")
    assert queue.assigned is not None
    assert sum(queue.assigned.values()) == queue.n_items == 8
    shares = {name: queue.n_cards(rater(filled, name)) for name in ("Aki", "Ben", "Chie")}
    assert shares == {"Aki": 5, "Ben": 3, "Chie": 0}
    done = {name: rate_all(filled, queue, name, CardRating(values={"ok": 1})) for name in shares}
    assert done == shares
    with filled.read() as session:
        progress = raters_progress(session, queue)
    assert {(one.done, one.total) for one in progress.values()} == {(5, 5), (3, 3)}


def test_with_overlap_two_of_three_meet_each_card(filled: Database) -> None:
    queue = make(filled, way="table", scope="answer", overlap=2, raters="Aki, Ben, Chie")
    with filled.read() as session:
        rows = session.query(QueueAssignment).all()
        pages = [
            table_page(session, queue, rater_id, 1, 20).total for rater_id in queue.assigned or ()
        ]
    assert len({(row.item_id, row.rater_id) for row in rows}) == 16
    assert sorted(pages) == sorted((queue.assigned or {}).values()) == [5, 5, 6]
    with pytest.raises(UsageError, match="overlap is 3, and 2 raters are named"):
        make(filled, scope="answer", overlap=3, raters={"Aki": 1, "Ben": 1})


def test_nobody_is_given_a_text_of_their_own(filled: Database) -> None:
    aki = rater(filled, "Aki")
    with filled.write() as session:
        session.execute(text("UPDATE reasoning_variant SET author_id = :aki"), {"aki": aki})
    queue = make(filled, way="single", raters="Aki, Ben")
    assert queue.assigned == {aki: 0, rater(filled, "Ben"): 4}


def test_a_tag_of_a_pair_is_found_at_both_texts(filled: Database) -> None:
    queue, aki = make(filled), rater(filled, "Aki")
    card = current_card(filled, queue, aki)
    assert card is not None
    assert card.item.other is not None
    submit(filled, queue, aki, card.id, CardRating(outcome="a", tags=("vague",), note="see b"))
    with filled.read() as session:
        rows = session.scalars(active_ratings().order_by(Rating.id)).all()
        (said,) = table_page(session, queue, aki, 1, 20).rows
    tagged = [row.variant_id for row in rows if row.label == "vague"]
    assert tagged == [card.item.target.variant_id, card.item.other.variant_id]
    assert {row.note for row in rows} == {"see b"}
    assert said.rated.tags == ("vague",)


def test_skipped_and_put_aside_cards_come_back_to_who_left_them(filled: Database) -> None:
    queue, aki = make(filled), rater(filled, "Aki")
    first = current_card(filled, queue, aki)
    assert first is not None
    second = skip(filled, queue, aki, first.id)
    assert second is not None
    mark_problem(filled, queue, aki, second.id)
    for item in (second.item, first.item):
        again = reopen(filled, queue, aki, item.id)
        assert again is not None
        assert again.item == item
    with filled.read() as session:
        assert not session.scalars(active_ratings()).all()  # the flag is taken back
    submit(filled, queue, aki, again.id, CardRating(outcome="tie"))
    assert reopen(filled, queue, aki, first.item.id) is None


def counted(session: Session, text_id: int) -> float:
    return rating_summaries(session, "variant", [text_id])[text_id].score


def test_a_verdict_ranks_and_trains_instead_of_what_raters_said_and_agreement_keeps_theirs(
    filled: Database,
) -> None:
    queue = make(filled, overlap=2)
    for name, outcome in (("Aki", "a"), ("Ben", "b")):
        rate_all(filled, queue, name, CardRating(outcome=outcome))  # type: ignore[arg-type]
    chie = rater(filled, "Chie")
    with filled.read() as session:
        before = read_insights(session, RatingFilter())
        found = disagreements(session, queue)
    assert found.total == queue.n_items == 2
    item = found.rows[0].item
    assert [(one.rater, one.outcome) for one in found.rows[0].said] == [("Aki", "a"), ("Ben", "b")]
    adjudicate(filled, queue, chie, item.id, CardRating(outcome="both_bad"))
    adjudicate(filled, queue, chie, item.id, CardRating(outcome="a", note="it leads on"))
    assert item.target.variant_id is not None
    with filled.read() as session:
        (settled, _) = disagreements(session, queue).rows
        after = read_insights(session, RatingFilter())
        evidence = read_evidence(session, parse_rules({"name": "x", "kind": "dpo"}), [1, 2])
        score = counted(session, item.target.variant_id)
    assert settled.verdict["preference"].rater == "Chie"
    assert settled.verdict["preference"].outcome == "a"
    assert score == 1
    assert (before.counts.ranked, after.counts.ranked) == (4, 3)
    assert after.between_raters[0].same == before.between_raters[0].same
    outcomes = [sorted(pair.by_outcome) for pair in evidence.pairs.values()]
    assert sorted(outcomes) == [["a"], ["a", "b"]]
    withdraw(filled, item.id)
    with filled.read() as session:
        assert counted(session, item.target.variant_id) == 0.5
        assert not session.scalars(active_ratings().where(overruled())).all()


def test_values_two_apart_disagree_and_are_settled_by_axis(filled: Database) -> None:
    queue = make(filled, way="single", scope="answer", overlap=2)
    rate_all(filled, queue, "Aki", CardRating(values={"correct": 5, "complete": 3, "ok": 1}))
    rate_all(filled, queue, "Ben", CardRating(values={"correct": 2, "complete": 4, "ok": 1}))
    with filled.read() as session:
        row = disagreements(session, queue, 2, 5).rows[0]
    assert row.axes == ["correct"]
    adjudicate(filled, queue, rater(filled, "Aki"), row.item.id, CardRating(values={"correct": 4}))
    with filled.read() as session:
        own = Rating.queue_item_id == row.item.id
        rows = session.scalars(active_ratings().where(own, ~overruled())).all()
    assert sorted((one.axis, one.value) for one in rows) == [
        ("complete", 3),
        ("complete", 4),
        ("correct", 4),
        ("ok", 1),
        ("ok", 1),
    ]


def test_who_wrote_a_text_does_not_settle_its_card(filled: Database, tmp_path: Path) -> None:
    queue, aki = make(filled), rater(filled, "Aki")
    card = current_card(filled, queue, rater(filled, "Ben"))
    assert card is not None
    with filled.write() as session:
        session.execute(text("UPDATE reasoning_variant SET author_id = :aki"), {"aki": aki})
    with pytest.raises(UsageError, match="another person"):
        adjudicate(filled, queue, aki, card.item.id, CardRating(outcome="a"))
    other = make(filled, name="another")
    with pytest.raises(UsageError, match="has no card"):
        adjudicate(filled, other, aki, card.item.id, CardRating(outcome="a"))


def test_the_command_line_shares_cards_out_and_shows_who_is_how_far(
    filled: Database, tmp_path: Path
) -> None:
    guidelines = tmp_path / "guidelines.md"
    guidelines.write_text("# One hint at a time", "utf-8")
    made = ["--name", "team", "--scope", "answer", "--way", "single", "--overlap", "2"]
    shares = ["--raters", "Aki: 2, Ben, Chie", "--guidelines", str(guidelines)]
    assert CliRunner().invoke(app, ["rate", "queue", *made, *shares]).exit_code == 0
    with filled.read() as session:
        queue = get_queue(session, 1)
    assert queue.guidelines == "# One hint at a time"
    rate_all(filled, queue, "Aki", CardRating(values={"ok": 1}))
    rate_all(filled, queue, "Ben", CardRating(values={"ok": 0}))
    shown = json.loads(CliRunner().invoke(app, ["rate", "show", "1", "--json"]).stdout)
    assert [(one["rater"], one["done"], one["total"]) for one in shown["raters"]] == [
        ("Aki", 8, 8),
        ("Ben", 4, 4),
        ("Chie", 0, 4),
    ]
    assert shown["total"] == 4
    assert "Disagreements: 4; settled: 0." in CliRunner().invoke(app, ["rate", "show", "1"]).stdout
