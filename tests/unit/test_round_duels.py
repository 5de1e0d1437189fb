"""Blind comparisons of a round's models: their cards, what they come to, and that none trains."""

import json
from dataclasses import replace
from itertools import count

import pytest
from pydantic import ValidationError
from sqlalchemy import select
from typer.testing import CliRunner

from db.database import Database
from db.errors import UsageError
from db.rating.queues import ItemRow, get_items, get_queue
from db.rating.ratings import NewRating, Outcome, Scope, add_ratings, ensure_rater, undo_ratings
from db.rounds import find_round, move_round
from db.tables import Answer, Generation, ModelVersion, Question, QueueItem, Rater
from serving.formats.library import load_definitions, sync_definitions
from tests.unit.round_lab import write_round
from training.datasets.build import build
from training.datasets.freeze import freeze
from training.datasets.rules import parse_rules
from workbench.cli.main import app
from workbench.rating.cards import CardRating, current_card, submit
from workbench.rating.head_to_head import head_to_head_spec
from workbench.rating.queues import build_queue, save_queue
from workbench.rating.sources import QueueSpec
from workbench.rounds.head_to_head import HeadToHead, read_head_to_head
from workbench.rounds.text import figures_of

_cards = count()


def make_queue(database: Database, against: str = "") -> list[ItemRow]:
    with database.write() as session:
        queue_id = save_queue(
            session, build_queue(session, head_to_head_spec(session, "first", against))
        )
        ids = session.scalars(select(QueueItem.id).where(QueueItem.queue_id == queue_id)).all()
        return get_items(session, ids)


def judge(
    database: Database,
    item: ItemRow,
    outcome: Outcome,
    rater: str = "Aki",
    *,
    blind: bool = True,
    scope: Scope = "whole",
) -> list[int]:
    with database.write() as session:
        known = session.scalar(select(Rater.id).where(Rater.name == rater))
        return add_ratings(
            session,
            [
                NewRating(
                    rater_id=known or ensure_rater(session, rater),
                    scope=scope,
                    target=item.target,
                    other=item.other,
                    axis="preference",
                    outcome=outcome,
                    blind=blind,
                    queue_item_id=item.id,
                    card_id=f"duel{next(_cards)}",
                )
            ],
        )


def duels(database: Database) -> tuple[HeadToHead, ...]:
    with database.read() as session:
        found = find_round(session, "first")
        assert found.sweep_id is not None
        return read_head_to_head(session, found.sweep_id, ("base", "round-first"))


def model_of(database: Database, answer_id: int | None) -> str:
    with database.read() as session:
        return session.scalars(
            select(ModelVersion.name)
            .join(Generation, Generation.model_version_id == ModelVersion.id)
            .join(Answer, Answer.generation_id == Generation.id)
            .where(Answer.id == answer_id)
        ).one()


def test_a_card_holds_what_both_models_wrote_for_the_same_held_out_question(
    database: Database,
) -> None:
    found = write_round(database, 6, silent=[0])
    with database.write() as session:
        session.get_one(Question, 2).held_out = None
    with database.read() as session:
        built = build_queue(session, head_to_head_spec(session, found.id))
        limited = build_queue(
            session, head_to_head_spec(session, "first").model_copy(update={"limit": 4})
        )
    # One greedy and three sampled cards a question; the base has no answer to the first one.
    assert len(built.items) == 4 * 4
    assert built.left_out == {"not_whole": 4, "not_held_out": 4}
    for item in built.items:
        assert item.other is not None
        assert item.target.question_id == item.other.question_id
        assert model_of(database, item.target.answer_id) == "round-first"
        assert model_of(database, item.other.answer_id) == "base"
    assert len({item.target.question_id for item in limited.items}) == 4
    with database.read() as session:
        texts = [session.get_one(Answer, one.target.answer_id).text for one in limited.items]
    assert all("point 0" in text for text in texts), "the greedy ones are met first"


def test_reasonings_are_compared_where_most_outputs_have_no_answer(database: Database) -> None:
    write_round(database, 6, silent=range(1, 6))
    items = make_queue(database)
    with database.read() as session:
        assert get_queue(session, 1).scope == "reasoning"
    assert len(items) == 6 * 4
    assert {one.target.answer_id for one in items} == {None}
    for item in items:
        judge(database, item, "a", scope="reasoning")
    (found,) = duels(database)
    assert (found.model, found.against, found.scope) == ("round-first", "base", "reasoning")
    assert (found.n_questions, found.n_judgements, found.won.value) == (6, 24, 1.0)
    assert figures_of(found, "en").endswith("so the reasonings were compared.")
    assert figures_of(found, "ja").endswith("推論を比べました。")


def test_judgements_of_reasonings_do_not_count_beside_those_of_whole_outputs(
    database: Database,
) -> None:
    write_round(database, 3, silent=[0])
    items = make_queue(database)
    whole = items[0]
    judge(database, whole, "b")
    parts = (replace(one, answer_id=None) for one in (whole.target, whole.other))
    target, other = parts
    judge(database, replace(items[1], target=target, other=other), "a", scope="reasoning")
    (found,) = duels(database)
    assert (found.scope, found.n_judgements, found.lost.value) == ("whole", 1, 1.0)


def test_what_both_wrote_in_the_same_words_is_no_card(database: Database) -> None:
    write_round(database, 2)
    with database.write() as session:
        for answer in session.scalars(select(Answer)):
            answer.content_hash = "same"
        for one in session.execute(select(Answer, Generation).join(Generation)):
            variant_id = one.Answer.variant_id
            session.connection().exec_driver_sql(
                "UPDATE reasoning_variant SET content_hash = 'same' WHERE id = ?", (variant_id,)
            )
    with database.read() as session:
        built = build_queue(session, head_to_head_spec(session, "first"))
    assert (built.items, built.left_out) == ((), {"same_words": 8})


def test_the_side_is_dealt_by_lot_and_stored_and_the_queue_tells_no_model_on_a_card(
    database: Database,
) -> None:
    write_round(database, 8)
    make_queue(database)
    sides = set()
    with database.write() as session:
        queue = get_queue(session, 1)
        rater = ensure_rater(session, "Aki")
    for _ in range(32):
        card = current_card(database, queue, rater)
        if card is None:
            break
        sides.add(card.swapped)
        submit(database, queue, rater, card.id, CardRating(outcome="a"))
    assert sides == {True, False}
    assert queue.spec["against"] == 1
    (duel,) = duels(database)
    assert (duel.model, duel.against, duel.n_questions) == ("round-first", "base", 8)
    assert duel.won.value == 1.0


def test_won_tied_and_lost_have_intervals_over_questions(database: Database) -> None:
    write_round(database, 6)
    items = make_queue(database)
    by_question: dict[int, list[ItemRow]] = {}
    for item in items:
        by_question.setdefault(item.target.question_id, []).append(item)
    said: list[Outcome] = ["a", "a", "tie", "b"]
    for own in by_question.values():
        for item, outcome in zip(own, said, strict=True):
            judge(database, item, outcome)
    (duel,) = duels(database)
    assert (duel.won.value, duel.tied.value, duel.lost.value) == (0.5, 0.25, 0.25)
    assert duel.points.value == pytest.approx(0.625)
    assert duel.points.low is not None
    assert duel.points.high is not None
    assert duel.points.low < 0.5 < duel.points.high
    assert duel.is_better is None
    assert (duel.n_judgements, duel.n_questions, duel.n_raters) == (24, 6, 1)


def test_one_question_judged_often_is_no_sure_win(database: Database) -> None:
    write_round(database, 1)
    for item in make_queue(database):
        judge(database, item, "a")
    (duel,) = duels(database)
    assert (duel.points.value, duel.points.low, duel.is_better) == (1.0, None, None)


def test_few_questions_that_all_say_the_same_are_no_sure_win(database: Database) -> None:
    write_round(database, 3)
    for item in make_queue(database):
        judge(database, item, "a")
    (duel,) = duels(database)
    assert (duel.points.value, duel.n_judgements, duel.is_better) == (1.0, 12, None)
    assert duel.points.low is not None
    assert duel.points.low < 0.5


def test_people_and_models_are_never_mixed_and_only_blind_ones_that_hold_count(
    database: Database,
) -> None:
    write_round(database, 6)
    with database.write() as session:
        session.add(Rater(name="judge", kind="model", model_version_id=1))
    items = make_queue(database)
    for item in items:
        judge(database, item, "a")
        judge(database, item, "b", "judge")
        judge(database, item, "b", "Ben", blind=False)
    taken_back = judge(database, items[0], "b", "Cem")
    judge(database, items[1], "both_bad", "Dai")
    with database.write() as session:
        undo_ratings(session, taken_back)
    people, models = duels(database)
    assert (people.raters, people.won.value, people.n_raters) == ("person", 1.0, 1)
    assert (models.raters, models.won.value) == ("model", 0.0)
    assert (people.both_bad, people.n_judgements) == (1, 24)
    assert people.is_better is True
    assert models.is_better is False


def test_ratings_of_a_duel_never_train(database: Database) -> None:
    write_round(database, 6)
    for item in make_queue(database):
        judge(database, item, "a")
    rules = parse_rules(
        {
            "name": "pairs",
            "kind": "dpo",
            "take": {"comparisons": ["whole"]},
            "held_out": 0.2,
        }
    )
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        built = build(session, rules, registry)
        with pytest.raises(UsageError, match="no row to train on"):
            freeze(session, built)
    assert built.rows
    assert {row.split for row in built.rows} == {"held_out"}


def test_an_earlier_round_or_model_is_named_and_others_are_refused(database: Database) -> None:
    write_round(database, 2, models=("base", "round-zero", "round-first"))
    with database.read() as session:
        spec = head_to_head_spec(session, "first", "round-zero")
        assert session.get_one(ModelVersion, spec.against).name == "round-zero"
        with pytest.raises(UsageError, match="There is no round 'other'"):
            head_to_head_spec(session, "first", "other")
    with database.write() as session:
        move_round(session, 1, step="train")
    with database.read() as session, pytest.raises(UsageError, match="at the step train"):
        head_to_head_spec(session, "first")
    for more in ({"scope": "answer"}, {"way": "single"}):
        with pytest.raises(ValidationError, match="pairs of outputs or of reasonings"):
            QueueSpec(name="x", round=1, **more)
    with pytest.raises(ValidationError, match="one source"):
        QueueSpec(name="x", round=1, sweep=1, scope="whole")


def test_the_command_line_makes_the_queue(database: Database) -> None:
    write_round(database, 6, silent=[0])
    done = CliRunner().invoke(app, ["rate", "queue", "--round", "first", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["cards"], told["left_out"]) == (20, {"not_whole": 4})
    assert told["promise"]["held_out"] == 20
    assert set(told["promise"]["training_rows"].values()) <= {0}
    refused = CliRunner().invoke(app, ["rate", "queue", "--round", "second"])
    assert isinstance(refused.exception, UsageError)
    assert "There is no round 'second'" in str(refused.exception)
