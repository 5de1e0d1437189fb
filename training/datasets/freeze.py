"""Storing a built dataset for good: its rows, the ratings behind them, what is held out."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.errors import UsageError
from db.messages import Message
from db.tables import Dataset, DatasetRow, DatasetRowRating, Question, utc_now
from db.texts.rows import require_questions
from training.datasets.build import Built, BuiltRow
from training.datasets.held_out import fix


def consequences(counts: Mapping[str, Any]) -> list[Message]:
    """Return what freezing a dataset with these counts does for good, a sentence each."""
    rows = counts["rows"]
    fixed = Message(
        "{train:,} rows to train on and {held_out:,} held-out rows are stored for good, as they"
        " are now.",
        train=rows["train"],
        held_out=rows["held_out"],
    )
    others = {
        "newly_held_out": "{n:,} more questions are taken out of training for good: neither they"
        " nor questions of their families train in any dataset or round.",
        "newly_trained": "{n:,} more questions are fixed as ones to train on: they can never be"
        " held out for comparisons.",
        "struck_out": "Rows struck out by hand: {n:,}. They stay out of this dataset; another"
        " one may take them.",
    }
    found = {template: counts.get(name) for name, template in others.items()}
    return [fixed, *(Message(template, n=n) for template, n in found.items() if n)]


def freeze(session: Session, built: Built) -> int:
    """Store a built dataset, fix which questions are held out, and return its id.

    The same dataset under the same name is stored once.

    Raises:
        UsageError: There is nothing to train on, the name is taken, or questions were held out
            since it was built.
    """
    name = built.rules.name
    known = session.execute(
        select(Dataset.id, Dataset.content_hash).where(Dataset.name == name)
    ).one_or_none()
    if known is not None and known.content_hash == built.content_hash:
        return int(known.id)
    if known is not None:
        raise UsageError(
            "There is a dataset {name!r} with other rows already, and a frozen one never changes;"
            " give this one another name.",
            name=name,
        )
    if built.counts.rows["train"] == 0:
        require_questions(session)
        raise UsageError(
            "These rules take no row to train on; a preview says what became of the candidates."
        )
    fix(session, built.families)
    _check_held_out(session, built)
    dataset = Dataset(
        name=name,
        kind=built.rules.kind,
        rules=built.rules.model_dump(mode="json"),
        counts=_account(built),
        content_hash=built.content_hash,
        frozen_at=utc_now(),
    )
    session.add(dataset)
    session.flush()
    _store_rows(session, dataset.id, built.rows)
    return dataset.id


def _account(built: Built) -> dict[str, Any]:
    """Return the counts, with the words of rows that were left out by hand."""
    struck_out = [
        {
            "key": row.key,
            "target": row.target,
            "label": row.candidate.label,
            "question_id": row.candidate.question_id,
            "payload": row.texts.payload(),
        }
        for row in built.struck_out
    ]
    return built.counts.as_json() | ({"struck_out_rows": struck_out} if struck_out else {})


def _check_held_out(session: Session, built: Built) -> None:
    """Refuse rows whose question was held out by somebody else in the meantime."""
    ids = {row.candidate.question_id for row in built.rows if row.split == "train"}
    for some in chunks(sorted(ids)):
        late = session.scalar(
            select(Question.id).where(Question.id.in_(some), Question.held_out.is_not(False))
        )
        if late is not None:
            raise UsageError(
                "Question q{late} was held out while this dataset was built; build it again.",
                late=late,
            )


def _store_rows(session: Session, dataset_id: int, rows: Sequence[BuiltRow]) -> None:
    values = [
        {
            "dataset_id": dataset_id,
            "position": position,
            "split": row.split,
            "question_id": row.candidate.question_id,
            "variant_id": row.candidate.variant_id,
            "answer_id": row.candidate.answer_id,
            "rejected_variant_id": row.candidate.rejected_variant_id,
            "rejected_answer_id": row.candidate.rejected_answer_id,
            "target": row.target,
            "label": row.candidate.label,
            "payload": row.texts.payload(),
        }
        for position, row in enumerate(rows)
    ]
    session.execute(insert(DatasetRow), values)
    stored = select(DatasetRow.position, DatasetRow.id).where(DatasetRow.dataset_id == dataset_id)
    ids = dict(session.execute(stored).all())
    links = [
        {"row_id": ids[position], "rating_id": rating_id}
        for position, row in enumerate(rows)
        for rating_id in sorted(row.candidate.rating_ids)
    ]
    if links:
        session.execute(insert(DatasetRowRating), links)
