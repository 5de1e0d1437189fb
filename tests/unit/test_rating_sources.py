"""Queues from sweeps, searches, dialogues and datasets, and what they promise."""

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update
from typer.testing import CliRunner

from db.database import Database
from db.errors import UsageError
from db.rating.ratings import NewRating, Target, add_ratings, ensure_rater
from db.tables import (
    Answer,
    Dataset,
    DatasetRow,
    Dialogue,
    DialogueNode,
    Question,
    ReasoningVariant,
    Theme,
)
from tests.app.seed import Seeded, seed_store
from tests.app.seed_ratings import seed_ratings
from tests.unit.dataset_lab import registry_of
from workbench.cli.main import app
from workbench.rating.cards import CardRating, current_card, submit
from workbench.rating.power import power_estimate
from workbench.rating.queues import QueueSpec, build_queue


@pytest.fixture
def filled(database: Database) -> Seeded:
    return seed_store(database)


@pytest.fixture
def dialogue(database: Database, filled: Seeded) -> int:
    """A dialogue of three questions, one of them rejected."""
    with database.write() as session:
        theme = Theme(name="light", concept="light", goal="understand")
        session.add(theme)
        session.flush()
        talk = Dialogue(theme_id=theme.id, name="on light")
        session.add(talk)
        session.flush()
        for position, state in enumerate(("answered", "open", "rejected")):
            session.add(
                DialogueNode(
                    dialogue_id=talk.id,
                    question_id=filled.question_ids[position],
                    position=position,
                    state=state,
                )
            )
        return talk.id


@pytest.fixture
def dataset(database: Database, filled: Seeded) -> int:
    """A dataset of pairs of reasonings of two questions, and one answer."""
    with database.write() as session:
        kept = Dataset(name="first", kind="dpo", rules={})
        session.add(kept)
        session.flush()
        for position in range(2):
            question_id = filled.question_ids[position]
            own = session.scalars(
                select(ReasoningVariant.id).where(ReasoningVariant.question_id == question_id)
            ).all()
            answer = session.scalars(
                select(Answer.id).where(Answer.question_id == question_id)
            ).first()
            session.add(
                DatasetRow(
                    dataset_id=kept.id,
                    position=position,
                    question_id=question_id,
                    variant_id=own[0],
                    rejected_variant_id=own[1],
                    answer_id=answer,
                    target="reasoning",
                    payload={},
                )
            )
        return kept.id


def build(database: Database, **given: object):  # type: ignore[no-untyped-def]
    spec = QueueSpec.model_validate({"name": "x", "leave_out": (), **given})
    with database.write() as session:
        registry = registry_of(session)
    with database.read() as session:
        built = build_queue(session, spec)
        return built, power_estimate(session, built, registry)


def test_a_dialogue_gives_its_questions_and_their_texts(
    database: Database, filled: Seeded, dialogue: int
) -> None:
    shown = set(filled.question_ids[:2])
    for scope, n in (("reasoning", 6), ("answer", 6), ("whole", 24)):
        built, _ = build(database, scope=scope, dialogue=dialogue)
        assert {item.target.question_id for item in built.items} == shown, scope
        assert len(built.items) == n
    built, promised = build(database, scope="question", way="single", dialogue=dialogue)
    assert {item.target for item in built.items} == {Target(question_id=id) for id in shown}
    assert promised.training_rows == {}


def test_a_dataset_gives_the_texts_of_its_rows_and_no_others(
    database: Database, filled: Seeded, dataset: int
) -> None:
    built, _ = build(database, dataset=dataset)
    assert len(built.items) == 2
    assert built.n_texts == 4
    built, _ = build(database, dataset=dataset, scope="answer", way="single")
    assert len(built.items) == 2
    built, _ = build(database, dataset=dataset, scope="question", way="table")
    assert len(built.items) == 2


def test_a_search_and_a_sweep_narrow_questions_too(database: Database, filled: Seeded) -> None:
    everything, _ = build(database, scope="question", way="single")
    assert everything.n_texts == 8
    found, _ = build(database, scope="question", way="single", search="電話")
    assert found.n_texts == 1
    of_sweep, _ = build(database, scope="question", way="table", sweep=filled.sweep_id)
    assert of_sweep.n_texts == 8
    creators, _ = build(database, scope="question", way="single", roles=("creator",))
    assert 0 < creators.n_texts < 8


def test_a_source_that_is_not_there_is_named(database: Database, filled: Seeded) -> None:
    for source in ("dialogue", "dataset", "sweep"):
        with pytest.raises(UsageError, match=f"no {source} 77"):
            build(database, **{source: 77})
    with pytest.raises(ValidationError, match="one source"):
        QueueSpec(name="x", sweep=1, dialogue=1)


def test_questions_are_rated_on_their_own_axes(
    database: Database, filled: Seeded, dialogue: int
) -> None:
    from db.rating.queues import get_queue
    from db.tables import Rating
    from workbench.rating.axes import load_axes
    from workbench.rating.queues import save_queue

    spec = QueueSpec(name="x", scope="question", way="single", dialogue=dialogue)
    with database.write() as session:
        queue = get_queue(session, save_queue(session, build_queue(session, spec)))
        rater = ensure_rater(session, "Aki")
    axes = [axis.name for axis in load_axes(database.path.parent)["question"]]  # type: ignore[union-attr]
    assert axes == ["relevant", "deeper", "novel", "answerable"]
    card = current_card(database, queue, rater)
    assert card is not None
    submit(database, queue, rater, card.id, CardRating(values=dict.fromkeys(axes, 4.0)))
    with database.read() as session:
        rows = session.scalars(select(Rating)).all()
    assert [row.axis for row in rows] == axes
    assert {(row.scope, row.variant_id, row.answer_id) for row in rows} == {
        ("question", None, None)
    }


def test_the_promise_counts_levels_that_meet_and_rows_that_train(
    database: Database, filled: Seeded
) -> None:
    alike, promised = build(database)
    assert promised.separable == ()
    assert set(promised.training_rows) == {"dpo", "sft"}
    assert not promised.is_counted
    seed_ratings(database, filled)
    with database.write() as session:
        session.execute(
            update(Question).where(Question.id == filled.question_ids[0]).values(held_out=True)
        )
    built, promised = build(database, only_trainable=False)
    assert len(built.items) == len(alike.items) == 24
    (levels,) = promised.separable
    assert levels.factor == "temperature"
    assert levels.n_cards == 16  # the first of three reasonings is calmer: two of three pairs
    assert promised.held_out == 3
    assert promised.is_counted
    built, promised = build(database)
    assert len(built.items) == 21
    assert built.left_out["held_out"] == 1
    assert promised.held_out == 0


def test_people_and_their_ok_count_for_texts_one_at_a_time(
    database: Database, filled: Seeded
) -> None:
    with database.write() as session:
        rater = ensure_rater(session, "Aki")
        add_ratings(
            session,
            [
                NewRating(
                    rater_id=rater,
                    scope="reasoning",
                    target=Target(
                        question_id=filled.question_ids[0], variant_id=filled.variant_ids[0]
                    ),
                    axis="ok",
                    value=float(i % 4 == 0),
                    blind=True,
                    card_id=f"c{i}",
                )
                for i in range(40)
            ],
        )
    _, promised = build(database, way="single")
    assert promised.is_counted
    assert promised.share == 0.25


def test_queues_of_dialogues_and_datasets_are_made_on_the_command_line(
    database: Database, filled: Seeded, dialogue: int, dataset: int
) -> None:
    def q2q(*given: str) -> str:
        done = CliRunner().invoke(app, ["rate", "queue", *given], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    asked = q2q(*["--name", "talk", "--dialogue", "1", "--scope", "question"])
    assert dialogue == 1
    assert "2 cards of 2 questions" in asked
    told = q2q("--name", "rows", "--dataset", "first", "--keep-flagged")
    assert "2 cards of 2 questions" in told
    assert "training rows to expect, by the rules at their defaults" in told
    seed_ratings(database, filled)
    assert "temperature: 0.2 / 0.8: 16 cards" in q2q("--name", "all", "--keep-flagged")
