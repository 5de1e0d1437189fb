"""Frozen datasets by meaning: listed, found by number or name, their rows and the rows' scores."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.bulk import Page
from db.errors import existing
from db.identity import number_in
from db.store.archive import in_use
from db.tables import Dataset, DatasetRow, DatasetRowRating, RowScore
from db.tables.base import as_row
from db.texts.scores import Score, insert_scores

Split = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """One dataset without its rows."""

    id: int
    name: str
    kind: str
    """Of its rows: ``sft`` to imitate, ``dpo`` pairs, ``kto`` labelled."""
    rules: dict[str, Any]
    counts: dict[str, Any]
    content_hash: str | None
    frozen_at: datetime | None
    archived_at: datetime | None
    n_train: int
    n_held_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRowInfo:
    """One row as frozen, and where it came from."""

    id: int
    position: int
    split: Split
    target: str
    label: bool | None
    payload: dict[str, Any]
    question_id: int
    variant_id: int | None
    answer_id: int | None
    rejected_variant_id: int | None
    rejected_answer_id: int | None
    n_ratings: int


def list_datasets(session: Session, *, archived: bool = False) -> list[DatasetInfo]:
    """Return the datasets in use, or those archived, the newest first."""
    listed = _datasets().where(in_use(Dataset, archived)).order_by(Dataset.id.desc())
    return [_info(*row) for row in session.execute(listed)]


def find_dataset(session: Session, name: str | int) -> DatasetInfo:
    """Return the dataset with this name or number; a number that is a name is the name.

    Raises:
        UsageError: There is none.
    """
    text = str(name)
    row = session.execute(_datasets().where(Dataset.name == text)).first()
    if row is None and (number := number_in(text, "d?")) is not None:
        row = session.execute(_datasets().where(Dataset.id == number)).first()
    return _info(
        *existing(
            row, "There is no dataset {text!r}; `q2q dataset show` lists them all.", text=text
        )
    )


def get_dataset(session: Session, dataset_id: int) -> DatasetInfo:
    """Return the dataset with this number, whatever others are called.

    Raises:
        UsageError: There is none.
    """
    row = session.execute(_datasets().where(Dataset.id == dataset_id)).first()
    missing = f"There is no dataset d{dataset_id}; `q2q dataset show` lists them all."
    return _info(*existing(row, missing))


def dataset_rows(
    session: Session,
    dataset_id: int,
    page: int = 1,
    page_size: int = 25,
    *,
    split: Split | None = None,
) -> Page[DatasetRowInfo]:
    """Return one page of the rows of a dataset, in its order."""
    wanted = [DatasetRow.dataset_id == dataset_id]
    if split is not None:
        wanted.append(DatasetRow.split == split)
    total = session.scalar(select(func.count()).select_from(DatasetRow).where(*wanted)) or 0
    page = min(max(1, page), max(1, -(-total // page_size)))
    query = _rows().where(*wanted).order_by(DatasetRow.position)
    found = session.execute(query.limit(page_size).offset((page - 1) * page_size))
    return Page(
        rows=tuple(DatasetRowInfo(**row._asdict()) for row in found),
        total=total,
        page=page,
        page_size=page_size,
    )


def every_row(
    session: Session, dataset_id: int, splits: Sequence[Split]
) -> Iterator[DatasetRowInfo]:
    """Yield the rows of these splits in the dataset's order; never all in memory."""
    query = _rows().where(DatasetRow.dataset_id == dataset_id, DatasetRow.split.in_(splits))
    found = session.execute(
        query.order_by(DatasetRow.position), execution_options={"yield_per": 1000}
    )
    return (DatasetRowInfo(**row._asdict()) for row in found)


def _datasets() -> Select[*tuple[Any, ...]]:
    def rows_of(split: Split) -> Any:
        return (
            select(func.count())
            .where(DatasetRow.dataset_id == Dataset.id, DatasetRow.split == split)
            .scalar_subquery()
        )

    return select(Dataset, rows_of("train"), rows_of("held_out"))


def _info(row: Dataset, n_train: int, n_held_out: int) -> DatasetInfo:
    return as_row(DatasetInfo, row, n_train=n_train, n_held_out=n_held_out)


def _rows() -> Select[*tuple[Any, ...]]:
    n_ratings = (
        select(func.count()).where(DatasetRowRating.row_id == DatasetRow.id).scalar_subquery()
    )
    own = [getattr(DatasetRow, name) for name in DatasetRowInfo.__slots__ if name != "n_ratings"]
    return select(*own, n_ratings.label("n_ratings"))


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


def held_out_rows(session: Session, dataset_id: int, limit: int) -> list[HeldOutRow]:
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
        .limit(limit)
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
    insert_scores(session, RowScore, [(key._asdict(), asdict(score)) for key, score in scores])
