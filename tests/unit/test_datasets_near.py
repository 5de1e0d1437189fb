"""Near-duplicates are found exactly, and quickly."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.datasets.near import are_alike, grams, near_pairs, similarity

WORDS = st.lists(st.sampled_from(["aa", "bcd", "富士", "山は", "Ａ", "e"]), max_size=8).map(
    " ".join
)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(WORDS, max_size=25), threshold=st.sampled_from([0.5, 0.8, 0.9, 1.0]))
def test_the_pairs_are_those_of_comparing_all_with_all(texts: list[str], threshold: float) -> None:
    sets = [grams(text) for text in texts]
    first = [sets.index(one) for one in sets]
    expected = {
        (i, j)
        for j in range(len(texts))
        for i in range(j)
        if first[i] == i
        and (first[j] == i or (first[j] == j and similarity(sets[i], sets[j]) >= threshold))
    }
    assert {tuple(sorted(pair)) for pair in near_pairs(texts, threshold)} == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [("What is the sky?", "what  IS the sky?"), ("Ｍｔ． Ｆｕｊｉ", "mt. fuji"), ("", " ")],
)
def test_case_width_and_spacing_do_not_count(a: str, b: str) -> None:
    assert list(near_pairs([a, b], 1.0)) == [(0, 1)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (
            "Add 3 cups of flour to the dough and wait.",
            "Add 8 cups of flour to the dough and wait.",
        ),
        (
            "七日間の旅行の計画を立てて、家族に見せてください",
            "三日間の旅行の計画を立てて、家族に見せてください",
        ),
    ],
)
def test_texts_that_differ_in_their_numbers_are_no_duplicates(a: str, b: str) -> None:
    assert list(near_pairs([a, b], 0.5)) == []
    assert not are_alike(grams(a), grams(b), 0.5)


def test_three_thousand_questions_take_little_time() -> None:
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(500)]
    texts = [" ".join(draw.choices(words, k=16)) for _ in range(3_000)]
    began = time.perf_counter()
    found = set(near_pairs([*texts, texts[7] + "!"], 0.8))
    assert time.perf_counter() - began < 8
    assert (7, 3_000) in found
