"""Is a dataset enough, and even enough, to train on? What to say before it is trained."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.datasets import DatasetInfo
from db.generations import chunks
from db.tables import DatasetRow, DatasetRowRating, Rating
from training.datasets.build import Built
from training.datasets.class_weights import is_even

FEW_ROWS = 20
"""A model learns fewer rows by heart."""
MAX_SHARE = 0.5
"""Of the rows, that one question should give."""

CautionName = Literal["few_rows", "one_question", "one_rater", "only_ok", "only_not_ok", "uneven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What the rows to train on are made of."""

    kind: str
    n_rows: int
    n_ok: int
    n_not_ok: int
    n_of_one_question: int
    """Rows of the question that gives most."""
    n_raters: int
    """Raters whose judgements are behind the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One thing to know before training; each language has its sentence under ``caution``."""

    name: CautionName
    values: dict[str, Any]


def read_balance(session: Session, dataset: DatasetInfo) -> Balance:
    """Return what a frozen dataset's rows to train on are made of."""
    mine = (DatasetRow.dataset_id == dataset.id, DatasetRow.split == "train")
    rows = session.execute(select(DatasetRow.label, DatasetRow.question_id).where(*mine)).all()
    raters = (
        select(Rating.rater_id)
        .join(DatasetRowRating, DatasetRowRating.rating_id == Rating.id)
        .join(DatasetRow, DatasetRow.id == DatasetRowRating.row_id)
        .where(*mine)
        .distinct()
    )
    n_raters = len(session.scalars(raters).all())
    return _balance(dataset.kind, [(row.label, row.question_id) for row in rows], n_raters)


def balance_of(session: Session, built: Built) -> Balance:
    """Return the same of a dataset that is not stored yet."""
    rows = [row for row in built.rows if row.split == "train"]
    ratings = {one for row in rows for one in row.candidate.rating_ids}
    return _balance(
        built.rules.kind,
        [(row.candidate.label, row.candidate.question_id) for row in rows],
        len(_raters(session, ratings)),
    )


def cautions(balance: Balance) -> list[Caution]:
    """Return what to know before training on such rows, the gravest first."""
    if not balance.n_rows:
        return []
    n_rows, n_ok, n_not_ok = balance.n_rows, balance.n_ok, balance.n_not_ok
    found: list[tuple[CautionName, bool, dict[str, Any]]] = [
        ("only_ok", balance.kind == "kto" and not n_not_ok, {"n": n_ok}),
        ("only_not_ok", balance.kind == "kto" and not n_ok, {"n": n_not_ok}),
        (
            "uneven",
            bool(n_ok and n_not_ok) and not is_even(n_ok, n_not_ok),
            {"ok": n_ok, "not_ok": n_not_ok},
        ),
        ("few_rows", n_rows < FEW_ROWS, {"n": n_rows}),
        (
            "one_question",
            n_rows > 1 and balance.n_of_one_question > MAX_SHARE * n_rows,
            {"percent": round(100 * balance.n_of_one_question / n_rows)},
        ),
        ("one_rater", balance.kind != "sft" and balance.n_raters == 1, {}),
    ]
    return [Caution(name=name, values=values) for name, holds, values in found if holds]


def _balance(kind: str, rows: Collection[tuple[bool | None, int]], n_raters: int) -> Balance:
    by_question = Counter(question_id for _, question_id in rows)
    labels = Counter(label for label, _ in rows)
    return Balance(
        kind=kind,
        n_rows=len(rows),
        n_ok=labels[True],
        n_not_ok=labels[False],
        n_of_one_question=max(by_question.values(), default=0),
        n_raters=n_raters,
    )


def _raters(session: Session, rating_ids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for some in chunks(sorted(rating_ids)):
        found.update(session.scalars(select(Rating.rater_id).where(Rating.id.in_(some))))
    return found
