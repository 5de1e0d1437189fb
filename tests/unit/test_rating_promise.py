"""What a plan says of a queue is what comes: the power of its ranking, the rows of the rules."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks import queue_power as bench
from db.database import Database
from db.rating.ratings import NewRating, Target, add_ratings, ensure_rater
from db.tables import Question
from tests.unit.dataset_lab import Lab
from workbench.rating.power import (
    Meeting,
    PowerEstimate,
    chance_to_show,
    lead_errors,
    power_estimate,
    smallest_share,
)
from workbench.rating.queues import BuiltQueue, QueueSpec, build_queue


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    random.seed(7)
    with database.write() as session:
        yield Lab(session)


def planned(lab: Lab, **given: object) -> tuple[BuiltQueue, PowerEstimate]:
    spec = QueueSpec.model_validate({"name": "x", **given})
    built = build_queue(lab.session, spec)
    return built, power_estimate(lab.session, built, lab.registry)


SUBJECTS = ("tides", "volcanoes", "owls", "bread", "glaciers", "violins", "bridges", "coral")


def fill(lab: Lab, n_questions: int, n_reasonings: int) -> list[int]:
    asked = [lab.question(f"What should everybody know about {name}?") for name in SUBJECTS]
    for number, question in enumerate(asked[:n_questions]):
        for place in range(n_reasonings):
            word = chr(97 + number) * 4 + chr(107 + place) * 9
            lab.reasoning(question, f"You should look at {word} before {word[::-1]} {place * 3}.")
    return asked[:n_questions]


def meetings(questions: int, each: float) -> list[Meeting]:
    return [Meeting(q, 2 * q, 2 * q + 1, 0, 1, each) for q in range(questions)]


def test_repeats_of_a_pair_tell_less_than_new_questions() -> None:
    alone = lead_errors(meetings(20, 1), 2)[0, 0, 1]
    repeated = lead_errors(meetings(20, 4), 2)[0, 0, 1]
    endlessly = lead_errors(meetings(20, 10_000), 2)[0, 0, 1]
    more = lead_errors(meetings(80, 1), 2)[0, 0, 1]
    assert max(more, endlessly) < repeated < alone
    assert lead_errors(meetings(20, 10**8), 2)[0, 0, 1] == pytest.approx(endlessly, rel=1e-3)
    assert more == pytest.approx(alone / 2, rel=0.02)


def test_a_third_level_tells_of_two_that_never_meet_and_nothing_of_those_apart() -> None:
    rows = [Meeting(q, 3 * q, 3 * q + 1, 0, 1, 1) for q in range(30)]
    rows += [Meeting(q, 3 * q + 2, 3 * q + 1, 2, 1, 1) for q in range(30)]
    errors = lead_errors(rows, 4)[0]
    assert errors[0, 1] < errors[0, 2] < np.inf
    assert errors[0, 3] == np.inf
    assert smallest_share(lead_errors(rows, 4)[:, 0, 3], 30) == 1.0


def test_more_questions_show_smaller_preferences() -> None:
    shares = [smallest_share(lead_errors(meetings(n, 1), 2)[:, 0, 1], n) for n in (1, 10, 40, 400)]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.6
    errors = lead_errors(meetings(40, 1), 2)[:, 0, 1]
    assert chance_to_show(shares[2], errors, 40) == pytest.approx(0.8, abs=1e-6)


def test_a_promised_preference_shows_in_about_four_of_five_simulated_rankings() -> None:
    """A fast part of ``benchmarks.queue_power``: 60 runs tell 80 % within about 10 points."""
    found = bench.measured(bench.Layout(30, 2, 1), runs=60)
    assert 0.65 <= found["power"] <= 0.95


@pytest.mark.soak
@pytest.mark.parametrize("layout", bench.LAYOUTS, ids=str)
def test_promised_power_is_that_of_many_simulated_rankings(layout: bench.Layout) -> None:
    found = bench.measured(layout, runs=400)
    assert 0.75 - 0.04 <= found["power"] <= 0.85 + 0.04, found


def test_the_forecast_of_rows_is_what_the_rules_then_give(lab: Lab) -> None:
    asked = fill(lab, 6, 6)
    built, promised = planned(lab, limit=45)
    assert len(built.items) == 45
    rng = np.random.default_rng(3)
    rater = ensure_rater(lab.session, "Aki")
    add_ratings(
        lab.session,
        [
            NewRating(
                rater_id=rater,
                scope="reasoning",
                target=item.target,
                other=item.other,
                axis="preference",
                outcome=("a", "b", "tie", "both_bad")[rng.choice(4, p=[0.3, 0.3, 0.2, 0.2])],
                blind=True,
                card_id=f"card {number}",
            )
            for number, item in enumerate(built.items)
        ],
    )
    questions = {"ids": asked}
    pairs = lab.build(kind="dpo", questions=questions, held_out=0.1)
    examples = lab.build(
        questions=questions,
        held_out=0.1,
        take={"chosen": True, "needs": "reasoning"},
        targets={"assistant": "reasoning"},
    )
    given = {"dpo": pairs.counts.rows["train"], "sft": examples.counts.rows["train"]}
    assert promised.training_rows["dpo"] == pytest.approx(given["dpo"], abs=6)
    assert promised.training_rows["sft"] == pytest.approx(given["sft"], abs=4)


def test_a_queue_of_what_never_trains_promises_no_row(lab: Lab) -> None:
    for question in fill(lab, 4, 3):
        lab.session.get_one(Question, question).held_out = True
    built, promised = planned(lab, only_trainable=False)
    assert len(built.items) == 12
    assert promised.held_out == 12
    assert promised.training_rows == {"dpo": 0, "sft": 0}
    built, _ = planned(lab)
    assert (len(built.items), built.left_out) == (0, {"held_out": 4})


def test_rewordings_of_held_out_questions_and_flagged_texts_are_left_out(lab: Lab) -> None:
    first, second, *_ = fill(lab, 5, 3)
    lab.session.get_one(Question, first).held_out = True
    again = lab.question("What should everyone please know about tides?")
    lab.session.get_one(Question, again).text = "What should everybody know about the tides?!"
    lab.reasoning(again, "You should look at the moon."), lab.reasoning(again, "You should nap.")
    flagged = lab.reasoning(second, "You should not look at all.")
    rater = ensure_rater(lab.session, "Aki")
    target = Target(question_id=second, variant_id=flagged)
    mark = NewRating(
        rater_id=rater, scope="reasoning", target=target, axis="flag", label="wrong",
        blind=True, card_id="f",
    )  # fmt: skip
    add_ratings(lab.session, [mark])
    built, _ = planned(lab, way="single")
    assert built.left_out == {"held_out": 2, "flagged": 1}
    assert {item.target.question_id for item in built.items}.isdisjoint({first, again})
    everything, _ = planned(lab, way="single", only_trainable=False)
    assert len(everything.items) == len(built.items) + 3 + 2 + 1
