"""Figures of precisions: the bound and its tail, agreement, intervals, and what is asked."""

import numpy as np
import pytest

from db.database import Database
from db.errors import UsageError
from db.identity import AS_STORED
from db.tables import ModelVersion
from tests.unit.sweep_lab import fill, registry_of
from workbench.precision.divergence import LEAST, Agreement, agreement, divergence, figures
from workbench.precision.spec import CompareSpec, parse_compare_spec
from workbench.precision.store import (
    comparison_line,
    comparisons_of,
    queue_comparison,
    save_comparison,
)
from workbench.precision.texts import prepare


def top(log_probs: np.ndarray, k: int) -> dict[int, float]:
    """Return what a server tells of one place: its k likeliest tokens."""
    return {int(i): float(log_probs[i]) for i in np.argsort(-log_probs)[:k]}


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits)


def pair(seed: int, noise: float, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, n)
    return log_softmax(logits), log_softmax(logits + random.normal(0, noise, n))


def test_with_all_tokens_told_the_divergence_is_exact() -> None:
    p, q = pair(1, 0.5)
    found = divergence([top(p, 500)], [top(q, 500)])
    assert found.kl[0] == pytest.approx(np.sum(np.exp(p) * (p - q)), rel=1e-6)
    assert found.rest[0] == pytest.approx(LEAST, abs=1e-7)


def test_tokens_that_are_not_told_make_it_a_lower_bound_that_tightens() -> None:
    exact, bounds = [], []
    for seed in range(50):
        p, q = pair(seed, 0.3)
        exact.append(float(np.sum(np.exp(p) * (p - q))))
        bounds.append([divergence([top(p, k)], [top(q, k)]).kl[0] for k in (1, 5, 20, 100)])
    assert all(one <= whole + 1e-9 for row, whole in zip(bounds, exact, strict=True) for one in row)
    shares = np.mean(bounds, axis=0) / np.mean(exact)
    assert list(shares) == sorted(shares)
    assert shares[-1] > 0.95


def test_the_same_distribution_is_no_change() -> None:
    p, _ = pair(3, 0.0)
    found = divergence([top(p, 20)] * 3, [top(p, 20)] * 3)
    assert found.kl == pytest.approx(0)
    assert found.same_top.all()


def test_texts_agree_up_to_the_first_other_token() -> None:
    assert agreement([1, 2, 3], [1, 2, 3]) == Agreement(True, 3, 3)
    assert agreement([1, 2, 3], [1, 2]) == Agreement(False, 2, 3)
    assert agreement([1, 2, 3], [4, 2, 3]) == Agreement(False, 0, 3)


def test_intervals_over_questions_hold_the_truth_where_tokens_of_one_hang_together() -> None:
    """Each question has a divergence of its own; its 40 tokens lie around that."""
    n_held, runs = 0, 200
    for seed in range(runs):
        random = np.random.default_rng(seed)
        texts = []
        for _ in range(25):
            level = random.gamma(2.0, 0.01)
            kl = random.exponential(level, size=40)
            place = {0: -0.1, 1: -3.0}
            text = divergence([place] * 40, [place] * 40)
            texts.append(type(text)(kl, text.same_top, text.rest))
        found = figures(texts, [Agreement(True, 5, 5), Agreement(False, 2, 5)]).kl
        assert found.low is not None
        assert found.high is not None
        n_held += found.low <= 0.02 <= found.high
    assert n_held / runs == pytest.approx(0.95, abs=0.035)


def test_what_is_asked_is_checked() -> None:
    with pytest.raises(UsageError, match="name one besides bf16"):
        parse_compare_spec({"model": "m", "precisions": ["bf16"]})
    with pytest.raises(UsageError, match="precisions"):
        parse_compare_spec({"model": "m", "precisions": ["fp4"]})
    assert parse_compare_spec({"model": "m", "precisions": ["bf16", "fp8"]}).others == ("fp8",)


@pytest.fixture
def base(database: Database) -> Database:
    fill(database, 6, ())
    with database.write() as session:
        values = {"name": "base", "kind": "base", "precision": AS_STORED, "digest": "sha256:b"}
        session.add(ModelVersion(**values, path="/models/base", context_length=512))
    return database


def test_the_16_bit_weights_are_asked_twice_and_a_second_run_asks_nothing_anew(
    base: Database,
) -> None:
    registry = registry_of(base)
    spec = CompareSpec(model="base", questions=4, format="tagged@1")
    with base.write() as session:
        asked = prepare(session, registry, spec)
        again = prepare(session, registry, spec)
    assert [(one.model.name, one.n_slots) for one in asked] == [("base", 8), ("base@fp8", 4)]
    assert [one.sweep_id for one in again] == [one.sweep_id for one in asked]


def test_a_comparison_is_queued_once_stored_and_shown_as_a_line(base: Database) -> None:
    registry = registry_of(base)
    spec = CompareSpec(model="base", questions=4, format="tagged@1")
    with base.write() as session:
        assert queue_comparison(session, registry, spec) == queue_comparison(
            session, registry, spec
        )
        result = {
            "n_questions": 4, "n_tokens": 400, "rest": 0.012, "length": 40.0, "kl_p99": 0.2,
            "kl": {"value": 0.0123, "low": 0.01, "high": 0.015},
            "same_top": {"value": 0.97, "low": 0.95, "high": 0.98},
            "identical": {"value": 0.5, "low": None, "high": None},
            "prefix": {"value": 21.0, "low": 12.0, "high": 30.0},
        }  # fmt: skip
        save_comparison(session, 2, 1, result)
        (found,) = comparisons_of(session, 1)
    assert (found.model, found.reference, found.precision) == ("base@fp8", "base", "fp8")
    line = comparison_line(found.model, found.result)
    assert line["KL"] == "0.012 (0.01 to 0.015)"
    assert line["identical"] == "50%"
    assert line["same tokens"] == "21 (12 to 30) of 40"
