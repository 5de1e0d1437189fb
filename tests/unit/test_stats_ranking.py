"""Bradley-Terry against a published example; intervals against simulated truth."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from workbench.insights.ranking import rank_levels, rank_texts, strengths
from workbench.rating.sampling import N_CANDIDATES, PointsRecord, gain
from workbench.stats.intervals import draw_weights, intervals, share
from workbench.stats.mixed_effects import expected_points
from workbench.stats.text_pairs import TextPairs

Array = np.ndarray

# Games of the American League East in 1987: row beat column. Agresti, "Categorical Data Analysis"
# (2nd ed., 2002), p. 438; estimates (Baltimore is 0, home advantage left out) as published with the
# vignette of Turner and Firth, "Bradley-Terry Models in R: The BradleyTerry2 Package".
BASEBALL = {
    "Milwaukee": (1.5814, [0, 7, 9, 7, 7, 9, 11]),
    "Detroit": (1.4364, [6, 0, 7, 5, 11, 9, 9]),
    "Toronto": (1.2945, [4, 6, 0, 7, 7, 8, 12]),
    "New York": (1.2476, [6, 8, 6, 0, 6, 7, 10]),
    "Boston": (1.1077, [6, 2, 6, 7, 0, 7, 12]),
    "Cleveland": (0.6839, [4, 4, 5, 6, 6, 0, 6]),
    "Baltimore": (0.0, [2, 4, 1, 3, 1, 7, 0]),
}


def test_strengths_are_those_of_agrestis_baseball_example() -> None:
    wins = np.array([row for _, row in BASEBALL.values()], dtype=float)
    found = strengths(wins, imagined=0)
    published = [published for published, _ in BASEBALL.values()]
    assert found - found[-1] == pytest.approx(published, abs=0.00006)
    assert found.mean() == pytest.approx(0, abs=1e-9)


def pairs_of(rows: list[tuple[int, str, str, float]]) -> pd.DataFrame:
    """Return comparisons of one text a level: question, level of a, level of b, points of a."""
    table = pd.DataFrame(rows, columns=["question_id", "format_a", "format_b", "points"])
    return table.assign(
        a=table["question_id"] * 1000 + table["format_a"].map(ord),
        b=table["question_id"] * 1000 + table["format_b"].map(ord),
    )


def test_levels_that_never_met_are_not_ranked_together() -> None:
    met = [(q, "x", "y", float(q % 3 > 0)) for q in range(12)]
    apart = [(q, "z", "w", 1.0) for q in range(3)]
    ranking = rank_levels(pairs_of(met + apart), "format")
    assert ranking is not None
    assert [place.name for place in ranking.places] == ["x", "y"]
    assert ranking.apart == ("w", "z")
    assert (ranking.n_comparisons, ranking.n_questions) == (12, 12)
    assert rank_levels(pairs_of([(1, "x", "x", 1.0)]), "format") is None


def test_a_level_that_won_everything_is_strong_but_not_infinite() -> None:
    ranking = rank_levels(pairs_of([(q, "x", "y", 1.0) for q in range(20)]), "format")
    assert ranking is not None
    assert ranking.places[0].name == "x"
    assert 0.7 < ranking.places[0].share.value < 1.0


def test_one_question_alone_gives_no_interval() -> None:
    ranking = rank_levels(pairs_of([(1, "x", "y", 1.0), (1, "y", "x", 1.0)]), "format")
    assert ranking is not None
    assert ranking.places[0].share.low is None


def test_the_same_comparisons_give_the_same_figures_again() -> None:
    pairs = pairs_of([(q, "x", "y", float(q % 4 > 0)) for q in range(20)])
    assert rank_levels(pairs, "format") == rank_levels(pairs.iloc[::-1], "format")


def test_texts_of_a_question_are_ranked_by_their_wins_with_wider_intervals_for_fewer() -> None:
    won = [(1, 2, 1.0)] * 6 + [(2, 3, 1.0)] * 6 + [(1, 3, 1.0)] * 6 + [(3, 4, 1.0)]
    places = rank_texts(pd.DataFrame(won, columns=["a", "b", "points"]))
    assert [place.name for place in places] == ["1", "2", "3", "4"]
    assert [place.n_comparisons for place in places] == [12, 12, 13, 1]

    def width(name: str) -> float:
        found = next(place.share for place in places if place.name == name)
        assert found.low is not None
        assert found.high is not None
        return found.high - found.low

    assert width("4") > 1.3 * width("3")


def test_a_share_has_the_interval_of_its_questions_not_of_its_ratings() -> None:
    alike = share(np.array([50.0, 0.0] * 10), np.full(20, 50.0))
    mixed = share(np.full(20, 25.0), np.full(20, 50.0))
    assert alike.value == mixed.value == 0.5
    assert alike.low is not None
    assert alike.low == pytest.approx(0.5 - 2.093 * 0.5 / np.sqrt(19), abs=0.02)
    # All questions say the same: what is left is the chance of 1000 independent ratings.
    assert mixed.low == pytest.approx(0.5 - 1.96 * 0.5 / np.sqrt(1000), abs=0.002)


def test_a_few_ratings_that_all_say_the_same_are_no_certainty() -> None:
    found = share(np.ones(3), np.ones(3))
    assert found.value == 1
    assert found.low is not None
    assert found.low < 0.5
    assert share(np.ones(1), np.ones(1)).low is None


# --- do the intervals cover the truth? -------------------------------------------------------

EFFECTS = np.array([0.6, 0.0, -0.6])
LEVELS = np.repeat([0, 1, 2], 2)
"""Two texts of each of three levels for every question."""
BY_QUESTION, BY_TEXT = 0.6, 0.6
"""How far a level's strength differs from question to question, and a text's from its level's."""
N_QUESTIONS, N_PAIRS, REPEATS = 24, 120, 120
PAIRS = [(i, j) for i in range(6) for j in range(i + 1, 6)]

Choose = Callable[[np.random.Generator, Array, int], list[tuple[int, int, int, float]]]


def qualities(random: np.random.Generator, n_questions: int) -> Array:
    by_level = EFFECTS + random.normal(0, BY_QUESTION, (n_questions, 3))
    return by_level[:, LEVELS] + random.normal(0, BY_TEXT, (n_questions, 6))


@pytest.fixture(scope="module")
def truth() -> Array:
    """The strengths that any number of questions, all pairs compared, would come to."""
    quality = qualities(np.random.default_rng(1), 100_000)
    points = np.zeros((3, 3))
    for i, j in PAIRS:
        if LEVELS[i] != LEVELS[j]:
            chance = expit(quality[:, i] - quality[:, j]).mean()
            points[LEVELS[i], LEVELS[j]] += chance
            points[LEVELS[j], LEVELS[i]] += 1 - chance
    return strengths(points * 1e6)


def at_random(
    random: np.random.Generator, quality: Array, n: int
) -> list[tuple[int, int, int, float]]:
    items = [(q, i, j) for q in range(len(quality)) for i, j in PAIRS]
    chosen = [items[place] for place in random.permutation(len(items))[:n]]
    return [(q, i, j, wins(random, quality, q, i, j)) for q, i, j in chosen]


def by_gain(
    random: np.random.Generator, quality: Array, n: int
) -> list[tuple[int, int, int, float]]:
    """Choose as the informative sampler does: the highest gain among the candidates of a window."""
    items = [(q, i, j) for q in range(len(quality)) for i, j in PAIRS]
    items = [items[place] for place in random.permutation(len(items))]
    records = {(q, i): PointsRecord() for q in range(len(quality)) for i in range(6)}
    said = []
    for _ in range(n):
        start = int(random.integers(len(items)))
        window = [(start + step) % len(items) for step in range(min(N_CANDIDATES, len(items)))]
        gains = [
            gain(records[items[at][0], items[at][1]], records[items[at][0], items[at][2]])
            for at in window
        ]
        q, i, j = items.pop(window[int(np.argmax(gains))])
        won = wins(random, quality, q, i, j)
        for text, points in ((i, won), (j, 1 - won)):
            records[q, text].points += points
            records[q, text].n += 1
        said.append((q, i, j, won))
    return said


def compared(said: list[tuple[int, int, int, float]]) -> pd.DataFrame:
    question, i, j, points = (np.array(column) for column in zip(*said, strict=True))
    return pd.DataFrame(
        {
            "question_id": question,
            "a": question * 6 + i,
            "b": question * 6 + j,
            "format_a": LEVELS[i].astype(str),
            "format_b": LEVELS[j].astype(str),
            "points": points,
        }
    )


def wins(random: np.random.Generator, quality: Array, q: int, i: int, j: int) -> float:
    return float(random.random() < expit(quality[q, i] - quality[q, j]))


def coverage(
    choose: Choose,
    truth: Array,
    n_questions: int = N_QUESTIONS,
    n_pairs: int = N_PAIRS,
    repeats: int = REPEATS,
) -> tuple[float, float]:
    """Return how often the interval of the best level holds the truth, and its mean error."""
    hits, errors = [], []
    for repeat in range(repeats):
        random = np.random.default_rng(repeat)
        said = choose(random, qualities(random, n_questions), n_pairs)
        ranking = rank_levels(compared(said), "format")
        assert ranking is not None
        best = next(place for place in ranking.places if place.name == "0")
        assert best.share.low is not None
        assert best.share.high is not None
        hits.append(best.share.low <= expit(truth[0]) <= best.share.high)
        errors.append(best.strength - truth[0])
    return float(np.mean(hits)), float(np.mean(errors))


THREE_SIGMA = 3 * np.sqrt(0.95 * 0.05 / REPEATS)


def test_intervals_cover_the_truth_at_the_stated_rate(truth: Array) -> None:
    rate, error = coverage(at_random, truth)
    assert rate == pytest.approx(0.95, abs=THREE_SIGMA)
    assert abs(error) < 0.06


def test_intervals_cover_it_also_where_the_informative_sampler_chose(truth: Array) -> None:
    rate, error = coverage(by_gain, truth)
    assert rate == pytest.approx(0.95, abs=THREE_SIGMA)
    assert abs(error) < 0.06


def test_the_informative_sampler_does_not_draw_levels_together(truth: Array) -> None:
    """Points counted level by level do: close texts are dealt more often than others."""
    lead, counted = [], []
    for repeat in range(8):
        random = np.random.default_rng(repeat)
        said = compared(by_gain(random, qualities(random, 300), 3000))
        ranking = rank_levels(said, "format")
        assert ranking is not None
        strength = {place.name: place.strength for place in ranking.places}
        lead.append(strength["0"] - strength["2"])
        points = np.zeros((3, 3))
        a, b = said["format_a"].astype(int), said["format_b"].astype(int)
        np.add.at(points, (a, b), said["points"])
        np.add.at(points, (b, a), 1 - said["points"])
        np.fill_diagonal(points, 0)
        found = strengths(points)
        counted.append(found[0] - found[2])
    whole = truth[0] - truth[2]
    assert np.mean(counted) < whole - 0.05
    assert np.mean(lead) == pytest.approx(whole, abs=0.05)


def many_levels(random: np.random.Generator, strength: Array, n_questions: int) -> pd.DataFrame:
    """Return comparisons of four texts of different levels a question, five of them each."""
    rows = []
    for question in range(n_questions):
        levels = random.choice(len(strength), 4, replace=False)
        quality = strength[levels] + random.normal(0, 0.85, 4)
        for _ in range(5):
            i, j = random.choice(4, 2, replace=False)
            won = float(random.random() < expit(quality[i] - quality[j]))
            rows.append((question, chr(97 + levels[i]), chr(97 + levels[j]), won))
    return pairs_of(rows)


def test_intervals_of_many_levels_under_few_questions_hold_the_truth_and_are_not_narrow() -> None:
    strength = np.linspace(0.8, -0.8, 10)
    points = expected_points(strength[:, None] - strength[None, :], 0.85 * np.sqrt(2))
    np.fill_diagonal(points, 0)
    true = expit(strengths(points, imagined=0))
    held, widths = [], []
    for seed in range(12):
        ranking = rank_levels(many_levels(np.random.default_rng(seed), strength, 20), "format")
        assert ranking is not None
        for place in ranking.places:
            assert place.share.low is not None
            assert place.share.high is not None
            held.append(place.share.low <= true[ord(place.name) - 97] <= place.share.high)
            widths.append(place.share.high - place.share.low)
    assert np.mean(held) > 0.9
    assert min(widths) > 0.1


def test_a_level_that_wins_almost_always_is_ranked_by_how_often() -> None:
    ranking = rank_levels(pairs_of([(q, "x", "y", float(q < 485)) for q in range(500)]), "format")
    assert ranking is not None
    assert expit(2 * ranking.places[0].strength) == pytest.approx(0.97, abs=0.005)


def test_a_few_questions_that_say_the_opposite_are_heard() -> None:
    """There the search for the likeliest strengths begins on the wrong side, far away."""
    lost = [(q, "x", "y", 0.0) for q in range(57, 60) for _ in range(30)]
    won = [(q, "x", "y", float(n > 0)) for q in range(57) for n in range(30)]
    ranking = rank_levels(pairs_of(won + lost), "format")
    assert ranking is not None
    # Integrated over the deviations by quadrature.
    assert expit(2 * ranking.places[0].strength) == pytest.approx(0.913, abs=0.01)


def test_a_name_changes_nothing() -> None:
    pairs = many_levels(np.random.default_rng(3), np.linspace(0.8, -0.8, 8), 30)
    renamed = pairs.assign(
        **{name: pairs[name].replace({"h": "0"}) for name in ("format_a", "format_b")}
    )
    before, after = rank_levels(pairs, "format"), rank_levels(renamed, "format")
    assert before is not None
    assert after is not None
    for one, other in zip(before.places, after.places, strict=True):
        assert other.name == one.name.replace("h", "0")
        for end in ("value", "low", "high"):
            assert getattr(other.share, end) == pytest.approx(getattr(one.share, end), abs=0.02)


def test_slopes_and_curvatures_are_those_of_the_likelihood() -> None:
    random = np.random.default_rng(0)
    said = compared(at_random(random, qualities(random, 12), 80))
    levels = said[["format_a", "format_b"]].to_numpy(dtype=int)
    met = TextPairs.of(said, levels, 3)
    design = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    at = np.array([0.3, -0.4, np.log(0.5), np.log(0.8)])
    drawn = met.draw(design @ at[:2], 0.5**2, 0.8**2)

    def likelihood(at: Array) -> Array:
        shared, own = np.exp(2 * at[2:])
        lead = drawn.sums - drawn.sizes * (design @ at[:2])[drawn.levels][:, None]
        variance = own + drawn.sizes * shared
        log = (drawn.squares - drawn.sums**2 / drawn.sizes) / own + lead**2 / drawn.sizes / variance
        log = -0.5 * (log + (drawn.sizes - 1) * np.log(own) + np.log(variance))
        log = drawn.fit + np.add.reduceat(log, drawn.starts, axis=0)
        return np.log(np.exp(log).mean(axis=1))

    slopes, hessians = drawn.information(design, at[:2])
    steps = 1e-4 * np.eye(4)
    along = np.stack([likelihood(at + one) - likelihood(at - one) for one in steps], axis=1)
    assert slopes == pytest.approx(along / 2e-4, abs=1e-5)
    for one, other in product(range(4), range(4)):
        a, b = steps[one], steps[other]
        hessian = likelihood(at + a - b) + likelihood(at - a + b)
        hessian = (hessian - likelihood(at + a + b) - likelihood(at - a - b)) / 4e-8
        assert hessians[:, one, other] == pytest.approx(hessian, abs=1e-4)


@pytest.mark.soak
@pytest.mark.parametrize("n_questions", [8, 20, 60, 200, 400])
@pytest.mark.parametrize("choose", [at_random, by_gain])
def test_intervals_cover_the_truth_over_many_repetitions(
    truth: Array, choose: Choose, n_questions: int
) -> None:
    """The table of docs/insights.md; with few questions intervals are rather too wide."""
    repeats = 200
    rate, _ = coverage(choose, truth, n_questions, 10 * n_questions, repeats)
    assert rate > 0.95 - 3 * np.sqrt(0.95 * 0.05 / repeats)
    assert rate < 0.99 or n_questions < 60


def test_resampling_single_values_instead_of_questions_covers_too_rarely() -> None:
    """Without clusters the interval of a mean is too narrow: the test above would notice."""
    hits = {True: 0, False: 0}
    for repeat in range(300):
        random = np.random.default_rng(repeat)
        by_question = random.normal(0, 1, 20)
        values = (by_question[:, None] + random.normal(0, 1, (20, 8))).ravel()
        question = np.repeat(np.arange(20), 8)
        for cluster in hits:
            group = question if cluster else np.arange(160)
            sums, counts = np.bincount(group, values), np.bincount(group)
            weights = draw_weights(len(sums), 200)
            draws = (weights @ sums) / (weights @ counts)
            low, high = intervals(np.array([values.mean()]), draws[:, None], len(sums))
            hits[cluster] += int(low[0] <= 0 <= high[0])
    assert hits[True] / 300 == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 300))
    assert hits[False] / 300 < 0.8
