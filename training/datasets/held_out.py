"""Which questions never train: fixed once per root, inherited by descendants and near-duplicates.

Questions that descend from one root or ask the same of the same context are one family, over the
whole store. One held-out member keeps the whole family from training.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from scipy.cluster.hierarchy import DisjointSet
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.identity import short_hash
from db.tables import Question
from db.texts.inputs import QuestionText
from serving.similarity.families import question_groups
from training.datasets.near import near_pairs

CONTEXT_LIKENESS = 0.8
"""Contexts at least so alike count as one. Like the similarity of questions, this is not a matter
of rules: it must never change between rounds."""

Split = Literal["train", "held_out", "near_held_out"]
"""``near_held_out``: once fixed as one to train on, but a held-out question of its family came
later; it is used for nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionInfo(QuestionText):
    """What the rules need to know of a question, beside what its prompts need."""

    parent_id: int | None
    root_id: int | None
    move: str | None
    held_out: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """Where each question of the store stands."""

    family: Mapping[int, int]
    """Question → number of its family."""
    split: Mapping[int, Split]
    to_fix: Mapping[int, bool]
    """Questions not fixed yet → what they become when the dataset is frozen."""


def read_questions(session: Session) -> list[QuestionInfo]:
    """Return all questions of the store, oldest first."""
    columns = [getattr(Question, field.name) for field in fields(QuestionInfo)]
    rows = session.execute(select(*columns).order_by(Question.id))
    return [QuestionInfo(**row._asdict()) for row in rows]


def settle(questions: Sequence[QuestionInfo], selected: Collection[int], share: float) -> Families:
    """Return where questions stand if the families of ``selected`` are fixed now.

    Of those families, ``share`` are held out in all (at least one of two or more); those fixed
    before stay as they are, and what is added is drawn by a hash of the oldest question.

    Args:
        questions: All of the store.
        selected: Ids of those that the dataset is made from.
        share: 0 to 0.5.
    """
    members = _families(questions)
    wanted = set(selected)
    family = {one.id: number for number, some in enumerate(members) for one in some}
    in_scope = sorted({family[one] for one in wanted})
    held = {n for n, some in enumerate(members) if any(one.held_out for one in some)}
    free = [n for n in in_scope if all(one.held_out is None for one in members[n])]
    n_wanted = round(share * len(in_scope))
    if share > 0 and len(in_scope) > 1:
        n_wanted = max(1, n_wanted)
    n_more = max(0, n_wanted - len(held.intersection(in_scope)))
    held.update(
        sorted(free, key=lambda n: short_hash("held_out", members[n][0].content_hash))[:n_more]
    )
    split: dict[int, Split] = {}
    to_fix: dict[int, bool] = {}
    scope = set(in_scope)
    for number, some in enumerate(members):
        for one in some:
            is_held = number in held
            if is_held and one.held_out is False:
                split[one.id] = "near_held_out"
            else:
                split[one.id] = "held_out" if is_held else "train"
            if one.held_out is None and number in scope:
                to_fix[one.id] = is_held
    return Families(family=family, split=split, to_fix=to_fix)


def fix(session: Session, families: Families) -> None:
    """Write what was settled; a question that is fixed already stays as it is."""
    for value in (True, False):
        ids = [one for one, held in families.to_fix.items() if held is value]
        for some in chunks(ids):
            session.execute(
                update(Question)
                .where(Question.id.in_(some), Question.held_out.is_(None))
                .values(held_out=value)
            )


def _families(questions: Sequence[QuestionInfo]) -> list[list[QuestionInfo]]:
    """Return the families, the oldest first, each with its oldest question first."""
    joined = DisjointSet(one.id for one in questions)
    for one in questions:
        if one.root_id is not None:
            joined.merge(one.root_id, one.id)
    for places in question_groups([one.text for one in questions]):
        if len(places) > 1:
            alike = [questions[place] for place in places]
            for a, b in near_pairs([one.context for one in alike], CONTEXT_LIKENESS):
                joined.merge(alike[a].id, alike[b].id)
    members: defaultdict[int, list[QuestionInfo]] = defaultdict(list)
    for one in questions:
        members[joined[one.id]].append(one)
    return list(members.values())
