"""Accuracy: the share of correct answers of each level, and whether people and judges agree.

Grades come from the checks of the questions (``serving.correctness``). Intervals resample questions
and are at least Wilson's (``workbench.stats.intervals.share``). A factor's levels are compared over
the questions that they have; where the design is not balanced, that is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from sqlalchemy.orm import Session

from db.rating.columns import origins_of, read_samplings
from db.texts.grades import GradeFilter, graded_texts, ok_ratings
from workbench.insights.agreement import Agreement, agreement
from workbench.stats.comparisons import FACTORS, origins_table
from workbench.stats.intervals import Estimate, share

CHECK = "check"
"""The observer that grades by rule, beside people and models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelAccuracy:
    """The share of correct answers at one level of a factor."""

    factor: str
    level: str
    accuracy: Estimate
    n_answers: int
    n_questions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAgreement:
    """How far two kinds of observers say the same of an answer: correct (OK) or not."""

    first: str
    """``check``, ``person`` or ``model``."""
    second: str
    found: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyReport:
    """What grades say of a sweep, or of all answers."""

    overall: Estimate | None
    """None where nothing is graded."""
    n_answers: int
    n_questions: int
    n_ungradable: int
    """Answers whose reference does not fit the check."""
    levels: tuple[LevelAccuracy, ...]
    """Of factors with two or more levels."""
    agreements: tuple[JudgeAgreement, ...]


def read_accuracy(session: Session, sweep_id: int | None = None) -> AccuracyReport:
    """Return the accuracy of the answers of a sweep (of all: None), as graded now."""
    graded = pd.DataFrame(graded_texts(session, GradeFilter(sweep_id=sweep_id)))
    known = graded[graded["correct"].notna()].astype({"correct": float}) if len(graded) else graded
    if known.empty:
        return AccuracyReport(
            overall=None,
            n_answers=0,
            n_questions=0,
            n_ungradable=len(graded),
            levels=(),
            agreements=(),
        )
    answer_ids = [int(one) for one in known["answer_id"]]
    origins = origins_table(origins_of(session, "answer", answer_ids), read_samplings(session))
    table = known.join(origins[list(FACTORS)], on="answer_id")
    return AccuracyReport(
        overall=accuracy(table),
        n_answers=len(table),
        n_questions=int(table["question_id"].nunique()),
        n_ungradable=len(graded) - len(known),
        levels=tuple(one for factor in FACTORS for one in _levels(table, factor)),
        agreements=tuple(_agreements(session, known, answer_ids)),
    )


def accuracy(table: pd.DataFrame) -> Estimate:
    """Return the share of ``correct``, with its interval over ``question_id``."""
    by_question = table.groupby("question_id")["correct"].agg(["sum", "size"]).astype(float)
    return share(by_question["sum"].to_numpy(), by_question["size"].to_numpy())


def _levels(table: pd.DataFrame, factor: str) -> Sequence[LevelAccuracy]:
    known = table[table[factor].notna()]
    if known[factor].nunique() < 2:
        return ()
    return [
        LevelAccuracy(
            factor=factor,
            level=str(level),
            accuracy=accuracy(own),
            n_answers=len(own),
            n_questions=int(own["question_id"].nunique()),
        )
        for level, own in known.groupby(factor, sort=True)
    ]


def _agreements(
    session: Session, known: pd.DataFrame, answer_ids: Sequence[int]
) -> Sequence[JudgeAgreement]:
    """Return how far the check, people and judges agree, each pair where both said something."""
    said = pd.DataFrame(ok_ratings(session, answer_ids))
    checked = known.assign(observer=CHECK, rater_id=0, value=known["correct"])
    columns = ["answer_id", "question_id", "observer", "rater_id", "value"]
    parts = [checked[columns], *([said[columns]] if len(said) else [])]
    every = pd.concat(parts)
    # Of one kind of observers the majority counts; a draw says nothing.
    by_kind = every.groupby(["answer_id", "question_id", "observer"])["value"].mean().reset_index()
    by_kind = by_kind[by_kind["value"] != 0.5]
    by_kind["value"] = by_kind["value"].round()
    found = []
    kinds = [one for one in (CHECK, "person", "model") if one in set(by_kind["observer"])]
    for place, first in enumerate(kinds):
        for second in kinds[place + 1 :]:
            both = by_kind[by_kind["observer"].isin((first, second))]
            units = both.assign(
                unit=both["answer_id"], rater_id=both["observer"].map({first: 0, second: 1})
            )
            one = agreement(units, "ok", "nominal")
            if one is not None:
                found.append(JudgeAgreement(first=first, second=second, found=one))
    return found
