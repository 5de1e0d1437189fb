"""Krippendorff's alpha against its author's worked example; position, length and time."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from benchmarks.agreement_coverage import coverage, simulated
from workbench.insights import report
from workbench.insights.agreement import (
    Distance,
    agreement,
    alphas,
    between_raters,
    coincidences,
    with_oneself,
)

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers,
# twelve units, any number of values missing. A dot is a missing value.
OBSERVERS = ["12332141 2...", "12332241 25.3", ".3332342 251.", "12332441 251."]
PUBLISHED = {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849}


def krippendorff() -> pd.DataFrame:
    rows = [line.replace(" ", "") for line in OBSERVERS]
    return pd.DataFrame(
        [
            {
                "observer": observer,
                "rater_id": observer,
                "unit": unit,
                "question_id": unit,
                "value": int(value),
            }
            for observer, line in enumerate(rows)
            for unit, value in enumerate(line)
            if value != "."
        ]
    )


@pytest.mark.parametrize(("distance", "published"), PUBLISHED.items())
def test_alpha_is_that_of_krippendorffs_example(distance: Distance, published: float) -> None:
    found = agreement(krippendorff(), "any", distance)
    assert found is not None
    assert found.alpha is not None
    assert found.alpha.value == pytest.approx(published, abs=0.0006)
    assert found.n_units == 11
    assert found.alpha.low is not None
    assert found.alpha.high is not None
    assert found.alpha.low < published < found.alpha.high <= 1


@pytest.mark.parametrize(("distance", "published"), PUBLISHED.items())
def test_the_draws_compute_alpha_as_the_library_does(distance: Distance, published: float) -> None:
    units = krippendorff()
    units = units[units["unit"] != 11]
    coded, levels = pd.factorize(units["value"], sort=True)
    unit = units["unit"].to_numpy()
    by_question = coincidences(unit, unit, coded, len(levels), units["unit"].nunique())
    found = alphas(by_question.sum(axis=0)[None], np.asarray(levels, float), distance)
    assert found == pytest.approx([published], abs=0.0006)


def comparisons(rows: list[tuple[int, int, str]], **columns: object) -> pd.DataFrame:
    """Return comparisons: rater, item, outcome; each item is a question of its own."""
    table = pd.DataFrame(rows, columns=["rater_id", "item_id", "outcome"])
    given: dict[str, object] = {"question_id": table["item_id"], "is_repeat": False, "ranks": True}
    given |= {"repeat_of_id": np.nan, "a": table["item_id"] * 10, "b": table["item_id"] * 10 + 1}
    points = table["outcome"].map({"a": 1.0, "tie": 0.5, "b": 0.0})
    return table.assign(**given, points=points).assign(**columns)


def test_raters_who_agree_have_alpha_one_and_those_who_guess_about_zero() -> None:
    random = np.random.default_rng(3)
    said = random.choice(["a", "b"], 400)
    agreeing = between_raters(
        comparisons([(rater, i, said[i]) for rater in (1, 2) for i in range(400)])
    )
    guessing = between_raters(
        comparisons([(rater, i, random.choice(["a", "b"])) for rater in (1, 2) for i in range(400)])
    )
    assert agreeing is not None
    assert agreeing.alpha is not None
    assert agreeing.alpha.value == agreeing.alpha.high == 1
    assert agreeing.alpha.low is not None
    assert 0.97 < agreeing.alpha.low < 0.99  # exact: at most 0.92 % of such questions are unlike
    assert guessing is not None
    assert guessing.alpha is not None
    assert abs(guessing.alpha.value) < 0.12
    assert guessing.same.value == pytest.approx(0.5, abs=0.07)


def alpha_coverage(repeats: int, n_questions: int) -> float:
    """Return how often alpha's interval holds the truth.

    Two raters say what is true with the chance p, else anything of three; p differs from question
    to question. They agree in (p² + (1 - p²) / 3) of the cases, chance gives 1/3: alpha is E[p²].
    """
    chances = (0.5, 0.9)
    truth = float(np.mean(np.square(chances)))
    hits = []
    for repeat in range(repeats):
        random = np.random.default_rng(repeat)
        question = np.repeat(np.arange(n_questions), 5)
        knows = random.choice(chances, n_questions)[question]
        true = random.integers(3, size=len(question))
        said = [
            np.where(random.random(len(true)) < knows, true, random.integers(3, size=len(true)))
            for _ in range(2)
        ]
        units = pd.concat(
            [
                pd.DataFrame(
                    {
                        "unit": np.arange(len(true)),
                        "observer": observer,
                        "rater_id": observer,
                        "question_id": question,
                        "value": values,
                    }
                )
                for observer, values in enumerate(said)
            ]
        )
        found = agreement(units, "preference", "nominal")
        assert found is not None
        assert found.alpha is not None
        assert found.alpha.low is not None
        assert found.alpha.high is not None
        hits.append(found.alpha.low <= truth <= found.alpha.high)
    return float(np.mean(hits))


def test_alphas_interval_covers_the_truth_at_the_stated_rate() -> None:
    assert alpha_coverage(100, 24) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 100))


@pytest.mark.soak
@pytest.mark.parametrize("n_questions", [12, 40, 150])
def test_alphas_interval_covers_the_truth_over_many_repetitions(n_questions: int) -> None:
    rate = alpha_coverage(600, n_questions)
    assert rate == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 600))


def test_raters_who_always_prefer_the_older_text_agree_and_alpha_says_so() -> None:
    found = between_raters(
        comparisons(
            [
                (rater, i, "b" if (rater == 2 and i < 10) else "a")
                for rater in (1, 2)
                for i in range(100)
            ]
        )
    )
    assert found is not None
    assert found.alpha is not None
    assert found.same.value == pytest.approx(0.9)
    assert found.alpha.value == pytest.approx(0.8, abs=0.03)


def test_nothing_rated_twice_gives_no_alpha() -> None:
    assert between_raters(comparisons([(1, 1, "a"), (2, 2, "b")])) is None
    assert with_oneself(comparisons([(1, 1, "a"), (2, 1, "b")])) is None


def test_hidden_repeats_tell_how_far_one_agrees_with_oneself_and_nothing_else() -> None:
    originals = comparisons([(1, i, "a" if i % 2 else "b") for i in range(40)])
    repeats = originals.assign(
        item_id=originals["item_id"] + 1000,
        repeat_of_id=originals["item_id"],
        is_repeat=True,
        outcome=["b" if i < 8 else said for i, said in enumerate(originals["outcome"])],
    )
    # The other rater's original of the same card is not the first rating of rater 1.
    other = comparisons([(2, i, "b") for i in range(40)])
    found = with_oneself(pd.concat([originals, repeats, other], ignore_index=True))
    assert found is not None
    assert found.n_units == 40
    assert found.same.value == pytest.approx(36 / 40)
    assert between_raters(pd.concat([originals, repeats], ignore_index=True)) is None


@pytest.mark.parametrize("n", [2, 12, 40])
def test_full_agreement_has_an_interval_that_more_questions_make_narrower(n: int) -> None:
    rows = [
        {
            "observer": rater,
            "rater_id": rater,
            "unit": i,
            "question_id": i,
            "value": ("a", "b")[i % 2],
        }
        for rater in (1, 2)
        for i in range(n)
    ]
    found = agreement(pd.DataFrame(rows), "preference", "nominal")
    assert found is not None
    assert found.alpha is not None
    assert (found.alpha.value, found.alpha.high, found.n_raters) == (1, 1, 2)
    # So many questions that were not asked may be judged differently; chance does that to half.
    exact = binomtest(0, n).proportion_ci(0.95, "exact").high
    assert found.alpha.low == pytest.approx(1 - exact / 0.5)


def test_intervals_of_many_raters_tell_of_any_and_so_are_wider() -> None:
    of_these, of_any = (simulated(60, n_raters, seed=1) for n_raters in (3, 8))
    for (these, _), (those, _) in zip(of_these, of_any, strict=True):
        assert these.low is not None
        assert these.high is not None
        assert those.low is not None
        assert those.high is not None
        assert those.high - those.low > 1.3 * (these.high - these.low)


@pytest.mark.parametrize("n_raters", [3, 8])
def test_intervals_of_sides_and_agreement_cover_the_truth_with_raters(n_raters: int) -> None:
    assert min(coverage(30, n_raters, 60)) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)


@pytest.mark.soak
@pytest.mark.parametrize("n_questions", [10, 40, 200])
@pytest.mark.parametrize("n_raters", [3, 5, 8])
def test_they_cover_it_over_many_runs(n_questions: int, n_raters: int) -> None:
    assert min(coverage(n_questions, n_raters, 150)) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 150)


def test_position_bias_is_the_share_of_the_left_text() -> None:
    rows = [(1, i, "a" if i % 2 else "b") for i in range(100)] + [(2, 200, "tie")]
    left = [1.0 if i % 2 else 0.0 for i in range(100)] + [1.0]
    found = report.position(comparisons(rows, a_left=left))
    assert [(one.name, one.n, one.share.value) for one in found] == [
        ("all", 100, 1.0),
        ("1", 100, 1.0),
    ]
    fair = report.position(comparisons(rows, a_left=1.0))[0]
    assert fair.share.value == 0.5
    assert fair.share.low is not None
    assert 0.38 < fair.share.low < 0.45


def test_length_bias_is_told_by_how_many_times_longer_the_longer_text_is() -> None:
    rows = [(1, i, "a") for i in range(10)] + [(1, i, "b") for i in range(10, 20)] + [(1, 99, "a")]
    table = comparisons(
        rows,
        characters_a=[300] * 10 + [105] * 10 + [100],
        characters_b=[100] * 20 + [100],
    )
    found = {one.name: (one.n, one.share.value) for one in report.length(table)}
    assert found == {"all": (20, 0.5), "1": (10, 0.0), "2": (10, 1.0)}


def test_the_time_of_a_card_counts_once_however_many_facts_it_has() -> None:
    table = pd.DataFrame(
        {
            "rater_id": [1, 1, 1, 1, 2],
            "item_id": [1.0, 1.0, 2.0, 3.0, np.nan],
            "seconds": [100.0, 100.0, 10.0, 20.0, 5.0],
        }
    )
    (found,) = report.times(table)
    assert (found.rater_id, found.n, found.median) == (1, 3, 20.0)
