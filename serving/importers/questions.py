"""Rows to the store: a preview, and the import itself, whole or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from db.search import index_texts
from db.tables import Question, QuestionTag, Tag, utc_now
from serving.importers.changes import ImportPlan, Outcome, QuestionChange, chunks, plan_import
from serving.importers.rows import ImportRow, ReadResult
from serving.importers.source import ImportRefused, Problem
from serving.importers.texts import insert_texts

_NOTHING_DONE = "Nothing was imported: correct the file, or import it without the rows named here."


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What an import would do; each row of the file counts once."""

    added: int
    updated: int
    skipped: int
    errors: int
    sample: tuple[tuple[ImportRow, Outcome], ...]
    """The first rows and what would become of them."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import did; each row of the file counts once in the first four numbers."""

    added: int
    """Rows that brought a question the store did not have."""
    updated: int
    """Rows that gave a known question a tag, category, language, reference answer or text."""
    skipped: int
    """Rows that brought nothing new."""
    errors: int
    """Rows that were left out because of a problem."""
    variants: int
    answers: int
    question_ids: tuple[int, ...]
    """The questions of the file, new and known, in its order."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def preview(session: Session, result: ReadResult, *, n_sample: int = 20) -> ImportPreview:
    """Return what importing ``result`` would do, without doing it."""
    plan = plan_import(session, result)
    return ImportPreview(
        added=plan.count("added"),
        updated=plan.count("updated"),
        skipped=plan.count("skipped"),
        errors=plan.n_errors,
        sample=tuple(plan.outcomes[:n_sample]),
        problems=tuple(plan.problems),
        notes=tuple(result.notes),
    )


def import_questions(
    session: Session,
    result: ReadResult,
    *,
    source: Literal["imported", "example"] = "imported",
    extra_tags: Iterable[str] = (),
    skip_errors: bool = False,
) -> ImportSummary:
    """Import questions, reasonings and answers in the caller's one transaction.

    The same file again adds nothing. Reasonings and answers are checked and findable at once.

    Raises:
        ImportRefused: There are problems and ``skip_errors`` is not set, or the whole file has
            one. Nothing was written.
    """
    plan = plan_import(session, result, extra_tags)
    if any(problem.line is None or not skip_errors for problem in plan.problems):
        raise ImportRefused(plan.problems, _NOTHING_DONE)
    changes = list(plan.changes.values())
    _insert_questions(session, changes, source)
    _update_questions(session, changes)
    _insert_tags(session, changes)
    n_variants, n_answers = insert_texts(session, changes)
    return _summary(plan, result, n_variants, n_answers)


def _insert_questions(session: Session, changes: Sequence[QuestionChange], source: str) -> None:
    now = utc_now()
    for chunk in chunks(change for change in changes if change.question_id is None):
        rows = [
            {
                "content_hash": change.content_hash,
                "text": change.row.text,
                "context": change.row.context,
                "reference_answer": change.reference_answer,
                "role": change.row.role,
                "category": change.category,
                "language": change.language,
                "source": source,
                "external_id": change.external_id,
                "held_out": change.held_out,
                "created_at": now,
            }
            for change in chunk
        ]
        inserted = session.execute(
            insert(Question).returning(Question.content_hash, Question.id), rows
        )
        ids = dict(inserted.all())
        for change in chunk:
            change.question_id = ids[change.content_hash]
            change.is_updated = False
        index_texts(
            session,
            "question",
            (
                (ids[change.content_hash], f"{change.row.text}\n{change.row.context}".strip())
                for change in chunk
            ),
        )


def _update_questions(session: Session, changes: Sequence[QuestionChange]) -> None:
    for chunk in chunks(change for change in changes if change.is_updated):
        rows = [
            {
                "id": change.question_id,
                "reference_answer": change.reference_answer,
                "category": change.category,
                "language": change.language,
                "external_id": change.external_id,
            }
            for change in chunk
        ]
        session.execute(update(Question), rows)


def _insert_tags(session: Session, changes: Sequence[QuestionChange]) -> None:
    ids = _tag_ids(session, dict.fromkeys(tag for change in changes for tag in change.new_tags))
    links = (
        {"question_id": change.question_id, "tag_id": ids[tag]}
        for change in changes
        for tag in change.new_tags
    )
    for chunk in chunks(links):
        session.execute(insert(QuestionTag), chunk)


def _tag_ids(session: Session, names: Iterable[str]) -> Mapping[str, int]:
    """Return the id of each tag; tags that are new are made."""
    ids: dict[str, int] = {}
    for chunk in chunks(names):
        known = select(Tag.name, Tag.id).where(Tag.name.in_(chunk))
        ids |= dict(session.execute(known).all())
        missing = [{"name": name} for name in chunk if name not in ids]
        if missing:
            made = session.execute(insert(Tag).returning(Tag.name, Tag.id), missing)
            ids |= dict(made.all())
    return ids


def _summary(
    plan: ImportPlan, result: ReadResult, n_variants: int, n_answers: int
) -> ImportSummary:
    ids = [change.question_id for change in plan.changes.values()]
    return ImportSummary(
        added=plan.count("added"),
        updated=plan.count("updated"),
        skipped=plan.count("skipped"),
        errors=plan.n_errors,
        variants=n_variants,
        answers=n_answers,
        question_ids=tuple(question_id for question_id in ids if question_id is not None),
        problems=tuple(plan.problems),
        notes=tuple(result.notes),
    )
