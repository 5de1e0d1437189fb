"""Which texts are imitated: by rating, choice, edit, OK and source; and what drops them again."""

from collections.abc import Iterator
from typing import Any

import pytest

from db.database import Database
from db.errors import UsageError
from db.rating.ratings import undo_ratings
from db.tables import Question
from tests.unit.dataset_lab import Lab, add_up, all_ratings, linked_ratings

FROM_FILES = {"sources": ["imported"]}
LOOSE: dict[str, Any] = {"near_duplicates": None}


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def test_rows_of_a_file_need_no_rating(lab: Lab) -> None:
    lab.whole("Why is the sky blue?", "You should think of light.", "Blue light scatters.")
    built = lab.build(take=FROM_FILES)
    (row,) = built.rows
    assert (row.target, row.texts.reasoning) == ("whole", "You should think of light.")
    assert row.texts.system.startswith("You are a knowledgeable assistant")
    assert built.counts.taken == {"sources": 1}
    add_up(built)


def test_both_texts_must_be_rated_high_enough(lab: Lab) -> None:
    _, good, answer = lab.whole("Why do birds sing?")
    _, poor, other = lab.whole("How deep is the sea?", "You should dive.", "Deep.")
    _, half, _ = lab.whole("Who wrote Hamlet?", "You should name the poet.", "Shakespeare.")
    lab.whole("What is rust?", "You should think of iron.", "Iron oxide.")
    used = {
        lab.rate(good, 5),
        lab.rate(good, 3, by="Ben"),
        lab.rate(answer, 4, scope="answer", axis="correct"),
    }
    lab.rate(poor, 3), lab.rate(other, 5, scope="answer"), lab.rate(half, 5)
    built = lab.build(take={"rated": {"at_least": 4}})
    assert [row.candidate.variant_id for row in built.rows] == [good]
    assert built.rows[0].candidate.rating_ids == used
    assert built.counts.not_taken == {"one_part_only": 2, "not_judged": 1}
    add_up(built)
    one_axis = lab.build(take={"rated": {"at_least": 4, "axes": ["correct"]}})
    assert not one_axis.rows
    two_raters = lab.build(take={"rated": {"at_least": 4, "raters": 2}, "needs": "reasoning"})
    assert [row.candidate.variant_id for row in two_raters.rows] == [good]


def test_a_whole_that_was_rated_vouches_for_both_texts(lab: Lab) -> None:
    _, variant, answer = lab.whole("Why do birds sing?")
    lab.rate(answer, 5, scope="whole", axis="overall")
    (row,) = lab.build(take={"rated": {"at_least": 4}}).rows
    assert (row.candidate.variant_id, row.candidate.answer_id) == (variant, answer)


def test_what_won_its_comparisons_is_taken(lab: Lab) -> None:
    q, first, answer = lab.whole("Why do birds sing?", "You should think of mates.")
    second = lab.reasoning(q, "You should consider territory and warnings.")
    lab.answer(q, second, "To warn.")
    won = lab.rate(second, over=first, outcome="b")  # given the other way round
    built = lab.build(take={"chosen": True, "needs": "reasoning"})
    (row,) = built.rows
    assert row.candidate.variant_id == first
    assert row.candidate.rating_ids == {won}
    assert row.candidate.answer_id == answer


def test_ties_and_both_bad_choose_nothing(lab: Lab) -> None:
    q, first, _ = lab.whole("Why do birds sing?")
    second = lab.reasoning(q, "You should consider territory.")
    lab.rate(first, over=second, outcome="tie")
    lab.rate(first, over=second, outcome="both_bad", by="Ben")
    assert not lab.build(take={"chosen": True, "needs": "reasoning"}).rows


def test_an_undone_rating_counts_no_more(lab: Lab) -> None:
    _, variant, _ = lab.whole("Why do birds sing?")
    rating = lab.rate(variant, 1, axis="ok")
    rules = {"take": {"ok": True, "needs": "reasoning"}}
    assert lab.build(**rules).rows
    undo_ratings(lab.session, [rating])
    assert not lab.build(**rules).rows


def test_an_edit_by_a_person_is_taken(lab: Lab) -> None:
    q, first, _ = lab.whole("Why do birds sing?")
    edited = lab.reasoning(q, "You should name two reasons.", source="edited", parent=first)
    lab.answer(q, edited, "Mates and territory.")
    built = lab.build(take={"edited": True, "needs": "reasoning"})
    assert [row.candidate.variant_id for row in built.rows] == [edited]
    assert built.counts.taken == {"edited": 1}


def test_ok_and_not_ok_contradict_each_other(lab: Lab) -> None:
    _, variant, _ = lab.whole("Why do birds sing?")
    for by, value in (("Aki", 1), ("Ben", 0), ("Cleo", 1)):
        lab.rate(variant, value, axis="ok", by=by)
    rules: dict[str, Any] = {"take": {"ok": True, "needs": "reasoning"}}
    built = lab.build(**rules)
    assert built.counts.dropped == {"contradiction": 1}
    add_up(built)
    assert len(lab.build(contradictions="majority", **rules).rows) == 1


def test_a_pair_judged_both_ways_chooses_nothing_unless_most_agree(lab: Lab) -> None:
    q, first, _ = lab.whole("Why do birds sing?")
    second = lab.reasoning(q, "You should consider territory.")
    for by, outcome in (("Aki", "a"), ("Ben", "b"), ("Cleo", "a")):
        lab.rate(first, over=second, outcome=outcome, by=by)  # type: ignore[arg-type]
    rules: dict[str, Any] = {"take": {"chosen": True, "needs": "reasoning"}}
    assert not lab.build(**rules).rows
    assert len(lab.build(contradictions="majority", **rules).rows) == 1


def test_up_to_m_different_reasonings_of_a_question(lab: Lab) -> None:
    q = lab.question("Why do birds sing?")
    for i, text in enumerate(
        [
            "You should think of mates in spring.",
            "You should think of mates in spring!",
            "You should compare with a bell that says who owns a garden.",
            "You should list what a listener learns about danger.",
            "You should ask when in the day it happens.",
        ]
    ):
        variant = lab.reasoning(q, text)
        lab.answer(q, variant, f"Answer {i}, which is unlike the others: {'abcde'[i] * 9}.")
        lab.answer(q, variant, f"Second {i}, which is unlike the others: {'vwxyz'[i] * 9}.")
    built = lab.build(take=FROM_FILES, per_question=2, answers_per_reasoning=1)
    assert len({row.candidate.variant_id for row in built.rows}) == len(built.rows) == 2
    assert set(built.counts.dropped) == {"near_duplicate", "per_question", "answers_per_reasoning"}
    add_up(built)
    two_each = lab.build(take=FROM_FILES, per_question=2, answers_per_reasoning=2)
    assert len(two_each.rows) == 4


def test_the_better_of_two_near_duplicates_stays(lab: Lab) -> None:
    q = lab.question("Why do birds sing?")
    poor = lab.reasoning(q, "You should think of mates in the spring.")
    good = lab.reasoning(q, "You should think of mates in the spring!")
    for variant in (poor, good):
        lab.answer(q, variant, "For mates.")
    lab.rate(poor, 3), lab.rate(good, 5)
    (row,) = lab.build(take=FROM_FILES).rows
    assert row.candidate.variant_id == good


def test_near_duplicates_are_found_across_questions_that_say_nearly_the_same(lab: Lab) -> None:
    lab.whole("Why do birds sing so early in the morning?")
    lab.whole("Why do birds sing so early in the morning!?")
    lab.whole("Why do birds sing so early in the morning??", "You should ask whom it is for.")
    lab.whole("How deep is the sea?")
    built = lab.build(take=FROM_FILES)
    assert built.counts.dropped == {"near_duplicate": 1}
    assert len(built.rows) == 3
    add_up(built)
    assert len(lab.build(take=FROM_FILES, **LOOSE).rows) == 4


@pytest.mark.parametrize(
    ("finding", "dropped"),
    [("cut_off", True), ("empty", True), ("answer_leak", True), ("dont_know", False)],
)
def test_findings_drop_a_text(lab: Lab, finding: str, dropped: bool) -> None:
    q = lab.question("Why do birds sing?")
    variant = lab.reasoning(q, "You should think.", flags=[finding])
    lab.answer(q, variant, "For mates.")
    built = lab.build(take=FROM_FILES)
    assert built.counts.dropped == ({finding: 1} if dropped else {})
    assert len(built.rows) == (not dropped)


def test_a_text_that_a_rater_flagged_is_dropped(lab: Lab) -> None:
    _, variant, _ = lab.whole("Why do birds sing?")
    lab.rate(variant, axis="flag", label="unsafe")
    built = lab.build(take=FROM_FILES)
    assert built.counts.dropped == {"flagged": 1}
    add_up(built)


def test_empty_texts_and_controls_are_never_learned(lab: Lab) -> None:
    lab.whole("Why do birds sing?", "You should think.", "  ")
    q = lab.question("How deep is the sea?")
    control = lab.reasoning(q, "You should talk of bananas.", source="control")
    lab.answer(q, control, "Bananas.")
    built = lab.build(take=FROM_FILES)
    assert not built.rows
    assert built.counts.dropped == {"empty": 1}


def test_answers_without_reasoning_are_a_share(lab: Lab) -> None:
    for i in range(8):
        text = f"{'qwertyuiop'[i] * 12} number {i}?"
        lab.whole(text)
        lab.answer(lab.question(text + " again, at length"), None, f"Plain {i}.")
    built = lab.build(take=FROM_FILES, without_reasoning=0.2)
    plain = [row for row in built.rows if row.candidate.variant_id is None]
    assert (len(built.rows), len(plain)) == (10, 2)
    assert {row.target for row in plain} == {"answer"}
    assert built.counts.dropped == {"without_reasoning": 6}
    assert built.rows == lab.build(take=FROM_FILES, without_reasoning=0.2).rows
    assert len(lab.build(take=FROM_FILES, without_reasoning=0).rows) == 8


def test_next_questions_are_learned_as_a_share(lab: Lab) -> None:
    q, *_ = lab.whole("Why do birds sing?")
    child = lab.question("Do they sing in cities?", parent_id=q, root_id=q, move="deepen")
    lab.question("Why do birds sing, please?", parent_id=q, root_id=q, move="edit")
    built = lab.build(take=FROM_FILES, question_to_question=0.5, without_reasoning=0)
    (row,) = [one for one in built.rows if one.candidate.next_question_id]
    assert row.candidate.next_question_id == child
    assert (row.texts.context, row.texts.answer) == (
        "Why do birds sing?",
        "Do they sing in cities?",
    )
    assert not lab.build(take=FROM_FILES).counts.taken.get("dialogue")


@pytest.mark.parametrize(
    ("learned", "target"), [("reasoning", "reasoning"), ("response", "answer"), ("both", "whole")]
)
def test_a_role_says_what_is_learned(lab: Lab, learned: str, target: str) -> None:
    q = lab.question("All A are B. What follows?", role="logician")
    variant = lab.reasoning(q, "You should name the rule.")
    lab.answer(q, variant, "Modus ponens.")
    lab.whole("Why do birds sing?")
    built = lab.build(take=FROM_FILES, targets={"logician": learned})
    rows = {row.texts.role: row for row in built.rows}
    assert rows["logician"].target == target
    assert rows["assistant"].target == "whole"
    assert (rows["logician"].texts.answer is None) == (learned == "reasoning")


def test_a_role_that_is_not_there_is_told(lab: Lab) -> None:
    with pytest.raises(UsageError, match="no role 'logicain'; known are assistant"):
        lab.build(take=FROM_FILES, targets={"logicain": "both"})


def test_two_passes_are_two_rows(lab: Lab) -> None:
    lab.whole("Why do birds sing?")
    built = lab.build(take=FROM_FILES, passes="two")
    assert sorted(row.target for row in built.rows) == ["answer", "reasoning"]
    assert built.counts.kept == 1
    add_up(built)


def test_a_limit_draws_at_random_but_always_the_same(lab: Lab) -> None:
    for letter in "abcdefghij":
        lab.whole(letter * 12)
    built = lab.build(take=FROM_FILES, limit=4)
    assert len(built.rows) == 4
    assert built.counts.dropped == {"limit": 6}
    assert built.content_hash == lab.build(take=FROM_FILES, limit=4).content_hash
    assert built.content_hash != lab.build(take=FROM_FILES, limit=4, seed=2).content_hash


def test_the_hash_is_that_of_the_rows_alone(lab: Lab, tmp_path: Any) -> None:
    lab.whole("Why do birds sing?")
    lab.whole("How deep is the sea?", "You should dive.", "Deep.")
    built = lab.build(take=FROM_FILES)
    renamed = lab.build(name="other", take=FROM_FILES | {"edited": True}, **LOOSE)
    assert built.content_hash == renamed.content_hash
    assert len(built.content_hash) == 32
    lab.whole("Who wrote Hamlet?")
    assert lab.build(take=FROM_FILES).content_hash != built.content_hash


def test_a_frozen_dataset_knows_every_rating_in_it(lab: Lab) -> None:
    _, variant, answer = lab.whole("Why do birds sing?")
    used = {lab.rate(variant, 5), lab.rate(variant, 4, by="Ben")}
    used |= {lab.rate(answer, 5, scope="answer")}
    lab.rate(answer, 1, scope="answer", axis="ok")
    dataset_id = lab.freeze(take={"rated": {"at_least": 4}})
    assert linked_ratings(lab.session, dataset_id) == used < all_ratings(lab.session)


def test_a_frozen_dataset_never_changes(lab: Lab) -> None:
    lab.whole("Why do birds sing?")
    first = lab.freeze(take=FROM_FILES)
    assert lab.freeze(take=FROM_FILES) == first
    lab.whole("How deep is the sea?")
    with pytest.raises(UsageError, match="another name"):
        lab.freeze(take=FROM_FILES)
    with pytest.raises(UsageError, match="no row to train on"):
        lab.freeze(name="none", take={"edited": True})


def test_a_preview_writes_nothing(lab: Lab) -> None:
    for letter in "abcdef":
        lab.whole(letter * 12)
    lab.build(take=FROM_FILES, held_out=0.5)
    assert all(one.held_out is None for one in lab.session.query(Question))


def test_an_axis_that_nothing_is_rated_on_is_refused_by_name(lab: Lab) -> None:
    _, variant, _ = lab.whole("Why is the sea salty?")
    lab.rate(variant, 5, axis="clear")
    with pytest.raises(UsageError, match=r"axis 'nope'; ratings are on clear\."):
        lab.build(take={"rated": {"at_least": 4, "axes": ["clear", "nope"]}})
