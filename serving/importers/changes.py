"""What an import would change: rows compared with each other and with the store; writes nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.identity import question_hash, text_hash
from db.tables import Answer, Question, QuestionTag, ReasoningVariant, Tag
from serving.importers.rows import ImportRow, ReadResult
from serving.importers.source import Problem, problem_at

Outcome = Literal["added", "updated", "skipped"]
_CHUNK = 5_000
_T = TypeVar("_T")

AnswerKey = tuple[str | None, str]
"""Hash of the reasoning that an answer stands under, or None, and hash of the answer."""


@dataclass(slots=True)
class QuestionChange:
    """One question of the file and what the file adds to it."""

    content_hash: str
    row: ImportRow
    """The first row that brings it."""
    question_id: int | None = None
    """None for a question that the store does not have yet."""
    reference_answer: str | None = None
    category: str | None = None
    language: str | None = None
    external_id: str | None = None
    held_out: bool | None = None
    is_updated: bool = False
    """A known question gains a reference answer, a category or a language."""
    tags: set[str] = field(default_factory=set)
    """Tags it has already."""
    new_tags: dict[str, None] = field(default_factory=dict)
    variants: dict[str, int | None] = field(default_factory=dict)
    """Hash of each imported reasoning → its id, None where it is new."""
    answers: set[AnswerKey] = field(default_factory=set)
    new_variants: dict[str, str] = field(default_factory=dict)
    """Hash → text of the reasonings that are new."""
    new_answers: dict[AnswerKey, str] = field(default_factory=dict)


@dataclass(slots=True)
class ImportPlan:
    """All changes of a file, in the order of its rows."""

    changes: dict[str, QuestionChange]
    """By the question's ``content_hash``."""
    outcomes: list[tuple[ImportRow, Outcome]]
    problems: list[Problem]

    def count(self, outcome: Outcome) -> int:
        """Return the number of rows with this outcome."""
        return Counter(one for _, one in self.outcomes)[outcome]

    @property
    def n_errors(self) -> int:
        """Rows that have problems; a problem of the whole file counts as one."""
        lines = [problem.line for problem in self.problems]
        return len({line for line in lines if line is not None}) + lines.count(None)


def plan_import(session: Session, result: ReadResult, extra_tags: Iterable[str] = ()) -> ImportPlan:
    """Return what importing ``result`` would change; every row counts once."""
    hashes = [question_hash(row.text, row.context, row.role) for row in result.rows]
    changes = {
        known.content_hash: known for known in _known_questions(session, result.rows, hashes)
    }
    plan = ImportPlan({}, [], list(result.problems))
    extra = tuple(dict.fromkeys(extra_tags))
    for row, content_hash in zip(result.rows, hashes, strict=True):
        change = changes.get(content_hash)
        is_new = change is None
        if change is None:
            change = changes[content_hash] = QuestionChange(
                content_hash,
                row,
                reference_answer=row.reference_answer,
                category=row.category,
                language=row.language,
                external_id=row.external_id,
                held_out=row.held_out,
            )
        conflict = _conflict(change, row)
        if conflict:
            column, what = conflict
            plan.problems.append(problem_at(result.name, result.unit, row.line, column, what))
            continue
        is_changed = _merge(change, row, (*row.tags, *extra))
        plan.changes[content_hash] = change
        plan.outcomes.append((row, "added" if is_new else "updated" if is_changed else "skipped"))
    return plan


def _conflict(change: QuestionChange, row: ImportRow) -> tuple[str, str] | None:
    """Say which value of ``row`` contradicts what is known; such values are never overwritten."""
    known, given = change.reference_answer, row.reference_answer
    if known and given and text_hash(known) != text_hash(given):
        return "reference_answer", (
            f"the question is known with the reference answer {known[:60]!r}; make the two equal "
            "or leave this one empty."
        )
    if row.held_out is not None and row.held_out != bool(change.held_out):
        return "held_out", (
            "the question is known, and whether it is held out was fixed when it came in; leave "
            "this value empty."
        )
    return None


def _merge(change: QuestionChange, row: ImportRow, tags: Sequence[str]) -> bool:
    """Add what ``row`` has beyond ``change``; tell whether that was anything."""
    n_before = _size(change)
    gains = False
    for name in ("reference_answer", "category", "language", "external_id"):
        value = getattr(row, name)
        if value and not getattr(change, name):
            setattr(change, name, value)
            gains = change.is_updated = True
    change.new_tags.update((tag, None) for tag in tags if tag not in change.tags)
    variant_hash = text_hash(row.reasoning) if row.reasoning else None
    if variant_hash and row.reasoning and variant_hash not in change.variants:
        change.variants[variant_hash] = None
        change.new_variants[variant_hash] = row.reasoning
    if row.output:
        key = (variant_hash, text_hash(row.output))
        if key not in change.answers:
            change.answers.add(key)
            change.new_answers[key] = row.output
    return gains or _size(change) != n_before


def _size(change: QuestionChange) -> int:
    return len(change.new_tags) + len(change.new_variants) + len(change.new_answers)


def _known_questions(
    session: Session, rows: Sequence[ImportRow], hashes: Sequence[str]
) -> Iterator[QuestionChange]:
    """Yield the questions of the file that the store has, with their tags and imported texts."""
    first = {
        content_hash: row
        for row, content_hash in zip(reversed(rows), reversed(hashes), strict=True)
    }
    for chunk in chunks(first):
        found = session.execute(
            select(
                Question.id,
                Question.content_hash,
                Question.reference_answer,
                Question.category,
                Question.language,
                Question.external_id,
                Question.held_out,
            ).where(Question.content_hash.in_(chunk))
        ).all()
        ids = [row.id for row in found]
        tags = _tags_of(session, ids)
        variants, answers = _imported_texts(session, ids)
        for row in found:
            yield QuestionChange(
                row.content_hash,
                first[row.content_hash],
                question_id=row.id,
                reference_answer=row.reference_answer,
                category=row.category,
                language=row.language,
                external_id=row.external_id,
                held_out=row.held_out,
                tags=tags[row.id],
                variants=variants[row.id],
                answers=answers[row.id],
            )


def _tags_of(session: Session, ids: Sequence[int]) -> defaultdict[int, set[str]]:
    tags: defaultdict[int, set[str]] = defaultdict(set)
    rows = session.execute(
        select(QuestionTag.question_id, Tag.name).join(Tag).where(QuestionTag.question_id.in_(ids))
    )
    for question_id, name in rows:
        tags[question_id].add(name)
    return tags


def _imported_texts(
    session: Session, ids: Sequence[int]
) -> tuple[defaultdict[int, dict[str, int | None]], defaultdict[int, set[AnswerKey]]]:
    """Return question id → imported reasonings, and question id → imported answers."""
    variants: defaultdict[int, dict[str, int | None]] = defaultdict(dict)
    answers: defaultdict[int, set[AnswerKey]] = defaultdict(set)
    hash_of: dict[int | None, str] = {}
    for variant_id, question_id, content_hash in session.execute(
        select(
            ReasoningVariant.id, ReasoningVariant.question_id, ReasoningVariant.content_hash
        ).where(ReasoningVariant.question_id.in_(ids), ReasoningVariant.source == "imported")
    ):
        variants[question_id][content_hash] = variant_id
        hash_of[variant_id] = content_hash
    for question_id, parent_id, content_hash in session.execute(
        select(Answer.question_id, Answer.variant_id, Answer.content_hash).where(
            Answer.question_id.in_(ids), Answer.source == "imported"
        )
    ):
        answers[question_id].add((hash_of.get(parent_id), content_hash))
    return variants, answers


def chunks(items: Iterable[_T], size: int = _CHUNK) -> Iterator[list[_T]]:
    """Yield ``items`` in lists of at most ``size``, so that a statement stays within its limits."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
