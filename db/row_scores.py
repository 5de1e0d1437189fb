"""Scores of the rows of a dataset by model: what is to be scored, and what has been."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.generations import insert_missing
from db.scores import Score
from db.tables import DatasetRow, RowScore, utc_now


class RowScoreKey(NamedTuple):
    """What has one score."""

    row_id: int
    prompt_format_id: int
    model_version_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRow:
    """One held-out row as frozen."""

    row_id: int
    question_id: int
    target: str
    payload: dict[str, Any]


def held_out_rows(session: Session, dataset_id: int, most: int) -> list[HeldOutRow]:
    """Return the first held-out rows of a dataset that are to be learned.

    What was rated "not OK" is not to be learned, and is left out.
    """
    query = (
        select(
            DatasetRow.id.label("row_id"),
            DatasetRow.question_id,
            DatasetRow.target,
            DatasetRow.payload,
        )
        .where(
            DatasetRow.dataset_id == dataset_id,
            DatasetRow.split == "held_out",
            DatasetRow.label.is_not(False),
        )
        .order_by(DatasetRow.position)
        .limit(most)
    )
    return [HeldOutRow(**row._asdict()) for row in session.execute(query)]


def find_row_scores(session: Session, dataset_id: int) -> dict[RowScoreKey, Score]:
    """Return all scores of the rows of a dataset, failed ones included."""
    keys = [getattr(RowScore, name) for name in RowScoreKey._fields]
    query = (
        select(*keys, RowScore.log_prob, RowScore.n_tokens, RowScore.error)
        .join(DatasetRow, DatasetRow.id == RowScore.row_id)
        .where(DatasetRow.dataset_id == dataset_id)
    )
    return {
        RowScoreKey(*key): Score(log_prob, n_tokens, error)
        for *key, log_prob, n_tokens, error in session.execute(query)
    }


def record_row_scores(session: Session, scores: Sequence[tuple[RowScoreKey, Score]]) -> None:
    """Write scores; a row that has one keeps it, a failure gives way."""
    for key, _ in scores:
        own = [getattr(RowScore, name) == value for name, value in key._asdict().items()]
        session.execute(delete(RowScore).where(*own, RowScore.error.is_not(None)))
    insert_missing(
        session,
        RowScore.__table__,  # type: ignore[arg-type]  # a mapped class has a Table
        [
            {
                **key._asdict(),
                "log_prob": score.log_prob,
                "n_tokens": score.n_tokens,
                "error": score.error,
                "created_at": utc_now(),
            }
            for key, score in scores
        ],
    )
