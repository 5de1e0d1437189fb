"""Pairs for DPO and single judgements for KTO."""

from collections.abc import Iterator
from typing import Any

import pytest

from db.database import Database
from tests.unit.dataset_lab import Lab, add_up


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def dpo(lab: Lab, **rules: Any) -> Any:
    return lab.build(kind="dpo", **rules)


def two_reasonings(lab: Lab) -> tuple[int, int, int]:
    q = lab.question("Why do birds sing?")
    return q, lab.reasoning(q, "You should think of mates."), lab.reasoning(q, "You should nap.")


def test_a_comparison_of_reasonings_teaches_the_reasoning(lab: Lab) -> None:
    _, good, bad = two_reasonings(lab)
    ids = {lab.rate(bad, over=good, outcome="b"), lab.rate(good, over=bad, by="Ben")}
    tie = lab.rate(good, over=bad, outcome="tie", by="Cleo")
    built = dpo(lab)
    (row,) = built.rows
    assert row.target == "reasoning"
    assert row.texts.reasoning == "You should think of mates."
    assert row.texts.rejected_reasoning == "You should nap."
    assert row.texts.answer is None
    assert row.candidate.rating_ids == ids
    assert tie not in ids
    add_up(built)


def test_both_bad_and_ties_give_no_pair(lab: Lab) -> None:
    _, a, b = two_reasonings(lab)
    lab.rate(a, over=b, outcome="both_bad")
    q = lab.question("How deep is the sea?")
    c, d = lab.reasoning(q, "You should dive."), lab.reasoning(q, "You should read a chart.")
    lab.rate(c, over=d, outcome="tie")
    built = dpo(lab)
    assert not built.rows
    assert built.counts.not_taken == {"both_bad": 1, "tie": 1}
    add_up(built)


def test_a_pair_judged_both_ways_is_dropped_or_decided_by_most(lab: Lab) -> None:
    _, a, b = two_reasonings(lab)
    lab.rate(a, over=b), lab.rate(b, over=a, by="Ben"), lab.rate(b, over=a, by="Cleo")
    built = dpo(lab)
    assert built.counts.dropped == {"contradiction": 1}
    add_up(built)
    (row,) = dpo(lab, contradictions="majority").rows
    assert row.candidate.variant_id == b


def test_equal_words_that_were_judged_both_ways_contradict_each_other(lab: Lab) -> None:
    q, a, b = two_reasonings(lab)
    a2, b2 = lab.reasoning(q, "You should think of mates."), lab.reasoning(q, "You should nap.")
    lab.rate(a, over=b), lab.rate(b2, over=a2)
    assert dpo(lab).counts.dropped == {"contradiction": 2}


def test_equal_pairs_are_one_row_with_both_ratings(lab: Lab) -> None:
    q, a, b = two_reasonings(lab)
    a2, b2 = lab.reasoning(q, "You should think of mates."), lab.reasoning(q, "You should nap.")
    ids = {lab.rate(a, over=b), lab.rate(a2, over=b2)}
    built = dpo(lab)
    (row,) = built.rows
    assert row.candidate.rating_ids == ids
    assert built.counts.dropped == {"duplicate": 1}
    add_up(built)


def test_answers_are_compared_under_one_reasoning(lab: Lab) -> None:
    q, v, w = two_reasonings(lab)
    a, b = lab.answer(q, v, "For mates."), lab.answer(q, v, "They nap.")
    other = lab.answer(q, w, "No idea.")
    lab.rate(a, over=b, scope="answer"), lab.rate(a, over=other, scope="answer")
    built = dpo(lab)
    (row,) = built.rows
    assert row.target == "answer"
    assert (row.texts.reasoning, row.texts.rejected_reasoning) == (
        "You should think of mates.",
        None,
    )
    assert (row.texts.answer, row.texts.rejected_answer) == ("For mates.", "They nap.")
    assert built.counts.not_taken == {"other_prompt": 1}
    add_up(built)


def test_wholes_are_compared_with_their_reasonings(lab: Lab) -> None:
    q, v, w = two_reasonings(lab)
    a, b = lab.answer(q, v, "For mates."), lab.answer(q, w, "They nap.")
    lab.rate(a, over=b, scope="whole")
    (row,) = dpo(lab).rows
    assert row.target == "whole"
    assert row.texts.rejected_reasoning == "You should nap."
    assert row.texts.rejected_answer == "They nap."
    assert not dpo(lab, take={"comparisons": ["answer"]}).rows


def test_an_edit_is_better_than_its_original(lab: Lab) -> None:
    q, original, _ = two_reasonings(lab)
    edited = lab.reasoning(q, "You should name two causes.", source="edited", parent=original)
    answer = lab.answer(q, original, "For mate.")
    corrected = lab.answer(q, original, "For mates.", source="edited", parent=answer)
    built = dpo(lab)
    pairs = {(row.target, row.candidate.variant_id, row.candidate.answer_id) for row in built.rows}
    assert pairs == {("reasoning", edited, None), ("answer", original, corrected)}
    assert built.counts.taken == {"edits": 2}
    assert not dpo(lab, take={"edits": False}).rows
    lab.rate(edited, over=original, outcome="b")
    (row,) = [row for row in dpo(lab).rows if row.target == "reasoning"]
    assert row.candidate.variant_id == original


def test_only_what_is_better_must_be_free_of_findings(lab: Lab) -> None:
    q = lab.question("Why do birds sing?")
    good = lab.reasoning(q, "You should think of mates.")
    leaky = lab.reasoning(q, "You should say: for mates.", flags=["answer_leak"])
    cut = lab.reasoning(q, "You should go on and", flags=["cut_off"])
    lab.rate(good, over=leaky), lab.rate(good, over=cut)
    built = dpo(lab)
    assert [row.candidate.rejected_variant_id for row in built.rows] == [leaky]
    assert built.counts.dropped == {"cut_off": 1}
    add_up(built)


def test_only_blind_judgements_where_asked(lab: Lab) -> None:
    _, a, b = two_reasonings(lab)
    lab.rate(a, over=b, blind=False)
    assert dpo(lab).rows
    assert not dpo(lab, blind_only=True).rows


def test_models_that_rate_are_never_mixed_with_people(lab: Lab) -> None:
    _, a, b = two_reasonings(lab)
    lab.rate(a, over=b)
    assert not dpo(lab, raters="models").rows


def test_ok_and_not_ok_become_labels(lab: Lab) -> None:
    q, good, bad = two_reasonings(lab)
    answer = lab.answer(q, good, "For mates.")
    lab.rate(good, 1, axis="ok"), lab.rate(bad, 0, axis="ok")
    lab.rate(answer, 0, axis="ok", scope="answer")
    lab.rate(answer, 1, axis="ok", scope="whole")
    built = lab.build(kind="kto")
    said = {(row.target, row.candidate.label) for row in built.rows}
    assert said == {
        ("reasoning", True),
        ("reasoning", False),
        ("answer", False),
        ("whole", True),
    }
    assert built.counts.taken == {"ok": 2, "not_ok": 2}
    add_up(built)
    assert len(lab.build(kind="kto", take={"ok": ["reasoning"]}).rows) == 2


def test_a_text_called_both_is_dropped_also_where_its_words_are_another_texts(lab: Lab) -> None:
    q, one, two = two_reasonings(lab)
    lab.rate(one, 1, axis="ok"), lab.rate(one, 0, axis="ok", by="Ben")
    again = lab.reasoning(q, "You should nap.")
    lab.rate(two, 1, axis="ok"), lab.rate(again, 0, axis="ok")
    built = lab.build(kind="kto")
    assert built.counts.dropped == {"contradiction": 3}
    add_up(built)
