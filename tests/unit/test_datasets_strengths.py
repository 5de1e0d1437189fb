"""Texts are sorted by shrunken strengths, which cards that were dealt adaptively do not distort."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import minimize
from sqlalchemy import select

from db.database import Database
from db.rating.assignment import add_repeat
from db.rating.queues import NewItem, create_queue, item_row
from db.rating.ratings import Target
from db.tables import QueueItem
from tests.unit.dataset_lab import Lab
from training.datasets.evidence import PRIOR_SD, TextKey, read_evidence, strengths
from training.datasets.rules import parse_rules


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def test_one_of_one_is_not_above_nine_of_ten() -> None:
    found = strengths([], {"once": (1, 0), "often": (9, 1), "never": (0, 1), "half": (5, 5)})
    assert sorted(found, key=found.__getitem__) == ["never", "half", "once", "often"]
    assert found["half"] == pytest.approx(0, abs=1e-9)


def test_strengths_are_the_mode_that_another_optimiser_finds() -> None:
    draw = np.random.default_rng(5)
    wins = [
        (int(a), int(b), float(w))
        for a, b, w in zip(
            draw.integers(0, 6, 30),
            draw.integers(6, 12, 30),
            draw.integers(1, 9, 30) / 2,
            strict=True,
        )
    ]
    points = {n: (float(n % 3), float(n % 4)) for n in range(0, 14, 2)}

    def loss(s: np.ndarray) -> float:
        total = sum(w * np.log1p(np.exp(s[b] - s[a])) for a, b, w in wins)
        for n, (won, lost) in points.items():
            total += won * np.log1p(np.exp(-s[n])) + lost * np.log1p(np.exp(s[n]))
        return float(total + (s**2).sum() / (2 * PRIOR_SD**2))

    found = strengths(wins, points)
    reference = minimize(loss, np.zeros(14), method="BFGS", options={"gtol": 1e-8}).x
    assert [found.get(n, 0.0) for n in range(14)] == pytest.approx(reference, abs=1e-4)


def test_nothing_said_is_average() -> None:
    assert strengths([], {}) == {}
    assert strengths([], {"a": (0, 0)}) == {"a": 0.0}


def test_whoever_meets_the_strong_is_not_below_whoever_beats_the_weak() -> None:
    """As adaptive dealing does: those near the top meet each other, so their shares fall."""
    wins = [("top", "good", 3), ("good", "top", 2), ("top", "poor", 2), ("good", "fair", 4)]
    wins += [("fair", "poor", 4), ("poor", "worst", 3), ("worst", "poor", 1)]
    found = strengths(wins, {})
    assert found["top"] > found["good"] > found["fair"] > found["poor"] > found["worst"]
    harder = strengths(
        [("a", "top", 2), ("top", "a", 3), ("b", "worst", 2), ("worst", "b", 3), *wins], {}
    )
    assert harder["a"] > 0 > harder["b"], "both won two of five"


def test_a_text_with_few_wins_against_strong_ones_can_be_chosen(lab: Lab) -> None:
    q = lab.question("Why do birds sing?")
    strong, other, weak = (
        lab.reasoning(q, f"You should think of {what}.") for what in ("x", "y", "z")
    )
    for _ in range(6):
        lab.rate(strong, over=weak)
    for outcome in ("a", "a", "a", "b", "b"):
        lab.rate(strong, over=other, outcome=outcome)
    evidence = read_evidence(
        lab.session, parse_rules({"name": "x", "kind": "dpo", "contradictions": "majority"}), [q]
    )
    keys = [TextKey("reasoning", one) for one in (strong, other, weak)]
    scores = [evidence.score(key) for key in keys]
    assert scores == sorted(scores, reverse=True)
    assert evidence.strength(keys[1]) > 0  # two of five, but all of them against the best one


def test_one_value_does_not_beat_many_in_a_dataset(lab: Lab) -> None:
    q = lab.question("Why do birds sing?")
    once, often = (
        lab.reasoning(q, text) for text in ("You should nap.", "You should listen well.")
    )
    lab.rate(once, 1, axis="ok", by="Aki")
    for number in range(10):
        lab.rate(often, float(number > 0), axis="ok", by=f"Rater {number}")
    built = lab.build(
        kind="kto", contradictions="majority", per_question=1, findings=[], near_duplicates=None
    )
    assert [row.candidate.variant_id for row in built.rows] == [often]


def test_what_was_said_after_an_answer_was_seen_trains_as_little_as_it_ranks(lab: Lab) -> None:
    q = lab.question("Why do birds sing?")
    a, b = (lab.reasoning(q, f"You should think of {what}.") for what in ("territory", "mates"))
    lab.rate(a, over=b, answer_seen=True)
    lab.rate(a, 1, axis="ok", answer_seen=True)
    for kind in ("dpo", "kto"):
        built = lab.build(kind=kind)
        assert (len(built.rows), built.counts.answer_seen) == (0, 2)
    answers = [lab.answer(q, a, text) for text in ("To call.", "To court.")]
    lab.rate(answers[0], over=answers[1], scope="answer", answer_seen=True)
    assert len(lab.build(kind="dpo").rows) == 1


def test_hidden_repeats_train_as_little_as_they_rank(lab: Lab) -> None:
    q = lab.question("Why do birds sing?")
    a, b = (lab.reasoning(q, f"You should think of {what}.") for what in ("territory", "mates"))
    first = lab.rate(a, over=b)
    lab.rate(a, over=b, sampler="repeat")
    lab.rate(b, over=a, sampler="repeat")  # changed their mind: no contradiction, and no second win
    said_ok = lab.rate(a, 1, axis="ok", sampler="informative")
    lab.rate(a, 0, axis="ok", sampler="repeat")
    (pair,) = lab.build(kind="dpo").rows
    assert (pair.candidate.variant_id, pair.candidate.rating_ids) == (a, {first})
    (single,) = lab.build(kind="kto").rows
    assert (single.candidate.label, single.candidate.rating_ids) == (True, {said_ok})
    lab.rate(a, axis="flag", label="wrong", sampler="repeat")
    assert not lab.build(kind="dpo").rows, "a text that is flagged at any time is no model"


def test_repeats_are_known_by_their_card_too(lab: Lab) -> None:
    q = lab.question("Why do birds sing?")
    a, b = (lab.reasoning(q, f"You should think of {what}.") for what in ("territory", "mates"))
    card = NewItem(
        target=Target(question_id=q, variant_id=a), other=Target(question_id=q, variant_id=b)
    )
    queue = create_queue(
        lab.session, name="q", way="pair", scope="reasoning", spec={}, items=[card]
    )
    original = lab.session.scalars(select(QueueItem).where(QueueItem.queue_id == queue)).one()
    repeat = add_repeat(lab.session, item_row(original))
    first = lab.rate(a, over=b, queue_item_id=original.id)
    lab.rate(a, over=b, queue_item_id=repeat.id)
    (pair,) = lab.build(kind="dpo").rows
    assert pair.candidate.rating_ids == {first}
