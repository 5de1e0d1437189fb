"""Held-out questions never train: fixed once, inherited, whatever the rules."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from db.database import Database
from db.datasets import get_dataset
from db.errors import UsageError
from db.questions import NewQuestion, edit_question
from db.tables import DatasetRow, Question
from tests.unit.dataset_lab import Lab
from training.datasets.freeze import consequences, freeze
from training.datasets.held_out import read_questions, settle

FROM_FILES = {"sources": ["imported"]}


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with database.write() as session:
        yield Lab(session)


def held_out(lab: Lab) -> dict[int, bool | None]:
    lab.session.expire_all()
    return {one.id: one.held_out for one in read_questions(lab.session)}


def split_of(lab: Lab, dataset_id: int) -> dict[int, str]:
    rows = lab.session.query(DatasetRow).where(DatasetRow.dataset_id == dataset_id)
    return {row.question_id: row.split for row in rows}


def many(lab: Lab, n: int = 20) -> list[int]:
    return [lab.whole(f"{chr(97 + i) * 15} {i}")[0] for i in range(n)]


def test_the_share_is_fixed_when_a_dataset_is_frozen_and_stays(lab: Lab) -> None:
    ids = many(lab)
    first = lab.freeze(name="first", take=FROM_FILES, held_out=0.2)
    fixed = held_out(lab)
    assert sum(bool(one) for one in fixed.values()) == 4
    assert None not in fixed.values()
    assert split_of(lab, first) == {q: "held_out" if fixed[q] else "train" for q in ids}
    later = [lab.whole(f"{chr(65 + i)} {'xyzuvw'[i] * 14}")[0] for i in range(4)]
    second = lab.freeze(name="second", take=FROM_FILES, held_out=0.5)
    now = held_out(lab)
    assert {q: now[q] for q in ids} == fixed
    assert all(now[q] for q in later)
    assert {q for q, split in split_of(lab, second).items() if split == "train"} == {
        q for q in ids if not fixed[q]
    }


def test_two_families_are_enough_to_hold_one_out_and_one_is_not(lab: Lab) -> None:
    lab.whole("Why do birds sing?")
    assert lab.build(take=FROM_FILES, held_out=0.1).counts.newly_held_out == 0
    lab.whole("How deep is the sea?")
    assert lab.build(take=FROM_FILES, held_out=0.1).counts.newly_held_out == 1
    assert lab.build(take=FROM_FILES, held_out=0).counts.newly_held_out == 0


def test_a_row_is_struck_out_by_hand_and_kept_in_the_account(lab: Lab) -> None:
    for name in ("birds", "seas", "hills"):
        lab.whole(f"What are {name}?", f"You should look at {name}.", f"They are {name}.")
    rules: dict[str, Any] = {"take": FROM_FILES, "held_out": 0, "name": "lab"}
    before = lab.build(**rules)
    gone = before.rows[1]
    built = lab.build(**rules, struck_out=[gone.key])
    assert [row.key for row in built.rows] == [before.rows[0].key, before.rows[2].key]
    assert built.struck_out == (gone,)
    assert (built.counts.rows["train"], built.counts.kept, built.counts.struck_out) == (2, 3, 1)
    assert built.content_hash != before.content_hash
    assert lab.build(**rules).rows == before.rows, "nothing of it was written"
    assert [str(one) for one in consequences(built.counts.as_json())] == [
        "2 rows to train on and 0 held-out rows are stored for good, as they are now.",
        "3 more questions are fixed as ones to train on: they can never be held out for"
        " comparisons.",
        "Rows struck out by hand: 1. They stay out of this dataset; another one may take them.",
    ]
    frozen = get_dataset(lab.session, freeze(lab.session, built))
    assert (frozen.n_train, frozen.rules["struck_out"]) == (2, [gone.key])
    (kept,) = frozen.counts["struck_out_rows"]
    assert (kept["key"], kept["payload"]) == (gone.key, gone.texts.payload())


def test_descendants_and_near_duplicates_inherit(lab: Lab) -> None:
    root, *_ = lab.whole("Why do the birds sing so early in the morning?")
    lab.session.get_one(Question, root).held_out = True
    child, *_ = lab.whole("Is it about territory?")
    lab.session.get_one(Question, child).parent_id = root
    lab.session.get_one(Question, child).root_id = root
    near, *_ = lab.whole("Why do the birds sing so early in the morning!?", "You should nap.")
    other, *_ = lab.whole("How deep is the sea?")
    dataset_id = lab.freeze(take=FROM_FILES)
    assert split_of(lab, dataset_id) == {
        root: "held_out",
        child: "held_out",
        near: "held_out",
        other: "train",
    }
    assert held_out(lab) == {root: True, child: True, near: True, other: False}


PASSAGE = " ".join(
    f"In chapter {n} the keeper of the lighthouse tells of storm {n}." for n in range(40)
)


def same_family(lab: Lab, one: dict[str, str], other: dict[str, str]) -> bool:
    ids = [lab.question(**given) for given in (one, other)]
    family = settle(read_questions(lab.session), ids, 0).family
    return family[ids[0]] == family[ids[1]]


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ("Who lives in the lighthouse?", "When was the lighthouse built?", False),
        ("Who lives in the lighthouse?", "Who is living in the lighthouse?", True),
        ("灯台守はなぜ島を去ったのですか。", "灯台守はいつ島を去ったのですか。", False),
        ("灯台守はなぜ島を去ったのですか。", "灯台守がなぜ島を去ったのですか。", True),
    ],
)
def test_questions_on_one_passage_are_told_apart_by_themselves(
    lab: Lab, one: str, other: str, is_one: bool
) -> None:
    mine, theirs = ({"text": text, "context": PASSAGE} for text in (one, other))
    assert same_family(lab, mine, theirs) is is_one


def test_one_task_on_other_texts_is_another_question(lab: Lab) -> None:
    task = "Summarise the text in one sentence."
    one = {"text": task, "context": "Owls hunt at night."}
    assert not same_family(lab, one, {"text": task, "context": "Bread rises in the oven."})
    assert not same_family(lab, one, {"text": task, "context": ""})
    assert same_family(
        lab, one, {"text": f"Please {task.lower()}", "context": "Owls hunt at night!"}
    )


def test_contexts_with_other_numbers_are_other_contexts(lab: Lab) -> None:
    task = "How much does the flat cost in a year?"
    given = [{"text": task, "context": f"The flat costs {n} euros a month."} for n in (700, 900)]
    assert not same_family(lab, *given)


def test_an_edit_of_a_held_out_question_is_held_out(lab: Lab) -> None:
    root, *_ = lab.whole("Why do birds sing?")
    lab.session.get_one(Question, root).held_out = True
    lab.session.flush()
    child, _ = edit_question(lab.session, root, NewQuestion(text="Do they sing in winter, too?"))
    assert held_out(lab)[child] is True


def test_what_trained_before_is_used_no_more_once_its_like_is_held_out(lab: Lab) -> None:
    trained, *_ = lab.whole("Why do the birds sing so early in the morning?")
    lab.whole("How deep is the sea?")
    lab.freeze(name="first", take=FROM_FILES)
    like, *_ = lab.whole("Why do the birds sing so early in the morning!?")
    lab.session.get_one(Question, like).held_out = True
    lab.session.flush()
    built = lab.build(name="second", take=FROM_FILES)
    assert built.counts.dropped == {"near_held_out": 1}
    assert trained not in {row.candidate.question_id for row in built.rows}
    assert held_out(lab)[trained] is False


def test_only_questions_that_the_rules_select_are_fixed(lab: Lab) -> None:
    one, *_ = lab.whole("Why do birds sing?")
    other, *_ = lab.whole("How deep is the sea?")
    lab.freeze(take=FROM_FILES, questions={"ids": [one]})
    assert held_out(lab) == {one: False, other: None}


def test_a_question_held_out_since_the_preview_stops_the_freeze(lab: Lab) -> None:
    q, *_ = lab.whole("Why do birds sing?")
    lab.whole("How deep is the sea?")
    built = lab.build(take=FROM_FILES)
    lab.session.execute(update(Question).where(Question.id == q).values(held_out=True))
    with pytest.raises(UsageError, match="build it again"):
        freeze(lab.session, built)


RULES = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("sft"),
            "take": st.fixed_dictionaries(
                {
                    "sources": st.just(["imported", "human"]),
                    "chosen": st.booleans(),
                    "edited": st.booleans(),
                    "ok": st.booleans(),
                    "needs": st.sampled_from(["both", "reasoning", "answer"]),
                }
            ),
            "passes": st.sampled_from(["one", "two"]),
            "question_to_question": st.sampled_from([0.0, 0.4]),
            "without_reasoning": st.sampled_from([0.0, 0.5]),
        }
    ),
    st.fixed_dictionaries({"kind": st.sampled_from(["dpo", "kto"])}),
)
COMMON = st.fixed_dictionaries(
    {
        "held_out": st.sampled_from([0.0, 0.1, 0.5]),
        "near_duplicates": st.sampled_from([None, 0.5, 0.9]),
        "contradictions": st.sampled_from(["drop", "majority"]),
        "findings": st.sampled_from([[], ["cut_off"]]),
        "per_question": st.integers(1, 4),
    }
)
QUESTION = st.tuples(
    st.sampled_from(["Why is the sky so blue today", "How deep is the sea", "What is rust", "Who"]),
    st.integers(0, 3),
    st.sampled_from([None, True, False]),
    st.one_of(st.none(), st.integers(0, 9)),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    questions=st.lists(QUESTION, min_size=1, max_size=10),
    rounds=st.lists(st.tuples(RULES, COMMON), min_size=1, max_size=3),
)
def test_held_out_never_trains_in_any_round_whatever_the_rules(
    database: Database, questions: list[Any], rounds: list[Any]
) -> None:
    with database.write() as session:
        lab = Lab(session)
        _fill(lab, questions)
        ever_held: set[int] = set()
        for number, (rules, common) in enumerate(rounds):
            before = held_out(lab)
            try:
                dataset_id = lab.freeze(name=f"round {number}", **rules, **common)
            except UsageError:
                continue  # nothing to train on
            after = held_out(lab)
            assert all(after[q] == value for q, value in before.items() if value is not None)
            ever_held |= {q for q, value in after.items() if value}
            rows = session.query(DatasetRow).where(DatasetRow.dataset_id == dataset_id).all()
            trains = {row.question_id for row in rows if row.split == "train"}
            assert not trains & ever_held
            families = settle(read_questions(session), [], 0)
            held = {families.family[q] for q in ever_held}
            assert not held & {families.family[q] for q in trains}
        session.rollback()


def _fill(lab: Lab, questions: list[Any]) -> None:
    made: list[int] = []
    for text, number, fixed, parent in questions:
        root = made[parent % len(made)] if parent is not None and made else None
        known = lab.session.get(Question, root) if root else None
        q = lab.question(
            f"{text}{'?' * number}",
            held_out=fixed,
            parent_id=root,
            root_id=(known.root_id or root) if known else None,
            move="deepen" if root else None,
        )
        made.append(q)
        v = lab.reasoning(q, f"You should think {number} times.")
        w = lab.reasoning(q, f"You should nap {number} times.")
        a = lab.answer(q, v, f"Answer {number}.")
        lab.answer(q, None, f"Plain {number}.")
        lab.rate(v, over=w), lab.rate(a, 1, axis="ok", scope="answer")
        lab.rate(w, 0, axis="ok")
