"""Diversity that depends neither on the length of texts nor on their script, and good best sets."""

import numpy as np
import pandas as pd
import pytest

from tests.unit.diversity_texts import LANGUAGES, PARALLEL, text_of
from workbench.insights.diversity import groups, text_quality
from workbench.stats.diversity import (
    GOOD_ENOUGH,
    best_set,
    floor_of,
    mean_difference,
    number_of_different,
    similarity,
)

TOLERANCE = 0.05
"""Of similarities between languages and lengths; of numbers of different texts, of each text."""
ALL = len(PARALLEL)


def alike(language: str, n: int, shared: int, seed: int) -> float:
    """Return how alike two texts of ``n`` sentences are that have ``shared`` of them in common."""
    order = np.random.default_rng(seed).permutation(ALL).tolist()
    first, second = order[:n], [*order[:shared], *order[n : 2 * n - shared]]
    return float(similarity([text_of(language, first), text_of(language, second)])[0, 1])


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_equal_sameness_gives_equal_figures_in_every_script(n: int, share: float) -> None:
    found = {
        language: np.mean([alike(language, n, int(n * share), seed) for seed in range(20)])
        for language in LANGUAGES
    }
    assert max(found.values()) - min(found.values()) < TOLERANCE
    assert np.mean(list(found.values())) == pytest.approx(share, abs=0.1)


def test_changed_words_count_about_alike_in_every_script() -> None:
    found = {}
    for language in LANGUAGES:
        pairs = [
            [text_of(language, [one, (one + 5) % ALL, (one + 9) % ALL], word) for word in words]
            for one in range(ALL)
            for words in ((1, 4), (3, 5), (2, 7))
        ]
        found[language] = np.mean([similarity(pair)[0, 1] for pair in pairs])
    assert max(found.values()) - min(found.values()) < 2 * TOLERANCE, found


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_doubled_length_changes_nothing(language: str) -> None:
    """By repetition, and by text that is as unlike (or as alike) as what was there."""
    rng = np.random.default_rng(1)
    glue = " " if language == "en" else ""
    order = rng.permutation(ALL).tolist()
    short = [text_of(language, [one]) for one in order[:8]]
    longer = [
        text_of(language, [one, other]) for one, other in zip(order[:8], order[8:], strict=True)
    ]
    repeated = [glue.join([one] * 2) for one in short]
    counts = [number_of_different(similarity(texts)) for texts in (short, longer, repeated)]
    assert max(counts) - min(counts) < 8 * TOLERANCE
    assert counts[0] == pytest.approx(8, abs=8 * TOLERANCE)
    assert np.abs(similarity(repeated) - similarity(short)).max() < 2 * TOLERANCE
    half = np.mean([alike(language, 4, 2, seed) for seed in range(20)])
    whole = np.mean([alike(language, 8, 4, seed) for seed in range(20)])
    assert half == pytest.approx(whole, abs=TOLERANCE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_hundreds_of_words_are_not_alike_for_being_long(language: str) -> None:
    """Words by Zipf's law: what any two long texts of a language have in common."""
    rng = np.random.default_rng(2)
    letters = {
        "en": "etaoinshrdlu",
        "ja": "いのるたしとがにをてはで山川人日大本",
        "zh": "的一是不了人我在有他这中大来",
    }
    size = {"en": 5, "ja": 2.3, "zh": 1.5}[language]
    words = [
        "".join(rng.choice(list(letters[language]), 1 + rng.poisson(size - 1))) for _ in range(4000)
    ]
    shares = 1 / np.arange(1, len(words) + 1)
    shares /= shares.sum()
    glue = " " if language == "en" else ""
    found = []
    for length in (40, 80, 160, 320):
        texts = [glue.join(rng.choice(words, length, p=shares)) for _ in range(8)]
        found.append(number_of_different(similarity(texts)))
    assert max(found) - min(found) < 8 * TOLERANCE


def test_case_width_and_spacing_do_not_count() -> None:
    texts = ["Think of the water cycle.", "THINK  of\nthe Ｗater cycle."]
    assert mean_difference(similarity(texts)) == pytest.approx(0, abs=1e-9)


def test_the_matrix_is_one_of_a_kernel() -> None:
    texts = [text_of("ja", [one, (one + 1) % ALL]) for one in range(ALL)]
    assert np.linalg.eigvalsh(similarity(texts)).min() > -1e-9


@pytest.mark.parametrize("worst", [0.0, 0.08, 0.24])
def test_a_bad_text_is_in_no_best_set_while_better_ones_are_left(worst: float) -> None:
    quality = np.array([0.9, 0.88, 0.86, worst])
    near = np.full((4, 4), 0.95)
    near[3] = near[:, 3] = 0.0
    np.fill_diagonal(near, 1.0)
    assert 3 not in best_set(quality, near, 3)
    assert best_set(quality, near, 4, fill=True)[-1] == 3
    assert 3 not in best_set(quality, near, 4)


def test_where_all_are_bad_the_best_go_first() -> None:
    quality = np.array([0.08, 0.12, 0.11])
    near = np.array([[1, 0, 0], [0, 1, 0.99], [0, 0.99, 1]])
    assert best_set(quality, near, 3) == [1]
    assert best_set(quality, near, 3, fill=True) == [1, 2, 0]
    assert floor_of(quality) == 0.12 < GOOD_ENOUGH
    assert best_set(np.array([]), np.zeros((0, 0))) == []


def judged(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["question_id", "variant_id", "text_id", "other_id", "axis", "value", "outcome"]
    given = {
        "blind": True,
        "answer_seen": False,
        "repeat_of_id": None,
        "sampler": None,
        "is_adjudication": False,
        "is_overruled": False,
    }
    return pd.DataFrame(rows, columns=columns).assign(**given)


NO_PAIRS = pd.DataFrame(
    columns=["question_id", "variant_id", "a", "b", "points", "rater_id", "item_id"]
)


def test_unrated_texts_are_left_apart_and_texts_called_bad_are_bad() -> None:
    rows = [(1, text, text, None, "overall", 4.0, None) for text in (1, 2)]
    rows += [(1, 3, 3, 4, "preference", None, "both_bad")]
    rows += [(1, 5, 5, None, "mark", None, None)]
    words = {one: text_of("en", [one]) for one in range(1, 6)}
    (found,) = groups(judged(rows), NO_PAIRS, "reasoning", words)
    assert set(found.best) == {1, 2}
    assert found.unrated == (5,)
    assert found.n_texts == 5
    assert found.floor is not None
    assert found.floor >= GOOD_ENOUGH


def test_where_every_text_was_called_bad_there_is_no_best_set() -> None:
    rows = [(1, 1, 1, 2, "preference", None, "both_bad"), (1, 3, 3, None, "overall", 1.0, None)]
    words = {one: text_of("en", [one]) for one in range(1, 4)}
    (found,) = groups(judged(rows), NO_PAIRS, "reasoning", words)
    assert (found.best, found.floor, found.unrated) == ((), None, ())


def test_one_high_value_does_not_beat_many() -> None:
    rows = [(1, 1, 1, None, "overall", 5.0, None)]
    rows += [(1, 2, 2, None, "overall", value, None) for value in [5.0] * 9 + [4.0]]
    rows += [(1, 3, 3, None, "overall", 1.0, None)] * 8
    quality = text_quality(judged(rows), NO_PAIRS, "reasoning", imagined=1.0)
    assert quality[2] > quality[1] > quality[3]
    plain = text_quality(judged(rows), NO_PAIRS, "reasoning")
    assert plain[1] > plain[2]


@pytest.mark.parametrize(
    "changes", [{"sampler": "repeat"}, {"repeat_of_id": 7.0}, {"answer_seen": True}]
)
def test_values_that_do_not_rank_tell_no_quality(changes: dict[str, object]) -> None:
    first = judged([(1, 1, 1, None, "overall", 5.0, None)])
    again = judged([(1, 1, 1, None, "overall", 1.0, None)]).assign(**changes)
    both = pd.concat([first, again], ignore_index=True)
    assert text_quality(both, NO_PAIRS, "reasoning")[1] == 1
