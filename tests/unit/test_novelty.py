"""The guard against going round in circles: repeats are found, near misses are not, quickly."""

import json

import pytest

from benchmarks import novelty as bench
from workbench.dialogue.novelty import REPEAT_FROM, assess, exhaustion, same_questions

GOAL = "Understand how sleep and memory belong together."


def is_repeat(candidate: str, *earlier: str) -> bool:
    return assess([candidate], earlier, GOAL)[0].is_repeat


@pytest.mark.parametrize(
    ("candidate", "earlier"),
    [
        ("how does sleep affect MEMORY", "How does sleep affect memory?"),
        ("In what way does sleep influence memory?", "How does sleep affect memory?"),
        ("睡眠が記憶に及ぼす影響は何ですか。", "睡眠は記憶にどのような影響を与えますか。"),
        ("睡眠对记忆有哪些影响？", "睡眠对记忆有什么影响？"),
        (
            "Ｈｏｗ　ｄｏｅｓ　ｓｌｅｅｐ　ａｆｆｅｃｔ　ｍｅｍｏｒｙ？",
            "How does sleep affect memory?",
        ),
    ],
)
def test_a_question_said_again_is_a_repeat(candidate: str, earlier: str) -> None:
    assert is_repeat(candidate, "Why is the sea salty?", earlier)


@pytest.mark.parametrize(
    ("candidate", "earlier"),
    [
        ("How does sleep not affect memory?", "How does sleep affect memory?"),
        ("Why does sleep affect memory?", "How does sleep affect memory?"),
        ("How do 3 hours of sleep affect memory?", "How do 6 hours of sleep affect memory?"),
        ("What are the risks of naps?", "What are the benefits of naps?"),
        ("睡眠は記憶に影響を与えないのですか。", "睡眠は記憶に影響を与えるのですか。"),
        ("睡眠は食欲にどのような影響を与えますか。", "睡眠は記憶にどのような影響を与えますか。"),
        ("睡眠对记忆没有什么影响？", "睡眠对记忆有什么影响？"),
        ("一天后还记得什么？", "一年后还记得什么？"),
    ],
)
def test_a_near_miss_is_not(candidate: str, earlier: str) -> None:
    assert not is_repeat(candidate, earlier)


def test_of_twins_among_the_candidates_the_second_is_the_repeat() -> None:
    found = assess(["Who sleeps least?", "Where is it dark?", "Who sleeps least"], [], GOAL)
    assert [one.is_repeat for one in found] == [False, False, True]
    assert [one.same_as for one in found] == [None, None, 0]
    assert found[0].nearest is None
    assert found[0].similarity == 0.0


def test_forty_identical_candidates_leave_one() -> None:
    found = assess(["Who sleeps least?"] * 40, ["Where is it dark?"], GOAL)
    assert sum(not one.is_repeat for one in found) == 1


def test_a_question_leans_towards_one_of_two_goals() -> None:
    goals = ("Cars should leave the old town.", "Shops in the centre should earn more.")
    found = assess(
        ["Should cars leave the old town?", "How do shops in the centre earn more?", "Is it?"],
        [],
        *goals,
    )
    assert [one.towards for one in found] == ["goal", "opposing", None]
    assert found[0].goal_distance is not None
    assert found[0].opposing_distance is not None
    assert found[0].goal_distance < 0.5 < found[0].opposing_distance


def test_a_goal_in_another_script_has_no_distance() -> None:
    (found,) = assess(["Who sleeps least?"], [], "睡眠と記憶の関係を理解する")
    assert found.goal_distance is None


@pytest.mark.parametrize("text", ["", "   ", "?!", "の", "the", "\u202e", "😀", "a" * 100_000])
def test_any_text_can_be_compared(text: str) -> None:
    (found,) = assess([text], ["How?", "", text], "")
    assert 0 <= found.similarity <= 1


def test_no_candidates_need_no_comparison() -> None:
    assert assess([], ["How?"], GOAL) == []


def test_thousands_of_earlier_questions_are_compared() -> None:
    earlier = [
        f"How does part {n} of the town change when {n * 7} trees grow?" for n in range(4000)
    ]
    found = assess([earlier[17], "Why do owls hunt at night?"], earlier, GOAL)
    assert (found[0].nearest, found[0].is_repeat) == (17, True)
    assert not found[1].is_repeat


def test_distinct_questions_grow_with_new_ones_only() -> None:
    found = exhaustion(["Who?", "Who sleeps least?", "who sleeps least", "Where is it dark?"])
    assert found.curve == (1, 2, 2, 3)
    assert (found.n_proposals, found.n_distinct) == (4, 3)
    assert found.chance_of_new == 0.5
    assert found.n_expected == 3 + 2 * 1 / (2 * 2)
    assert not found.is_exhausted


def test_a_branch_whose_questions_all_come_back_is_exhausted() -> None:
    asked = ["Who sleeps least?", "Where is it dark?", "When do owls hunt?"] * 5
    found = exhaustion(asked)
    assert found.is_exhausted
    assert found.n_expected == found.n_distinct == 3
    assert same_questions(asked)[:6] == [0, 1, 2, 0, 1, 2]


def test_nothing_proposed_is_not_exhausted() -> None:
    assert not exhaustion([]).is_exhausted


def test_the_published_figures_are_those_of_this_code() -> None:
    published = json.loads(bench.OUT.read_text("utf-8"))
    testing = bench.pairs(1)
    assert published["threshold"] == REPEAT_FROM
    assert published["choosing"] == bench.figures(bench.pairs(0), REPEAT_FROM)
    assert published["testing"] == bench.figures(testing, REPEAT_FROM)
    assert len(testing) + len(bench.pairs(0)) >= 200
