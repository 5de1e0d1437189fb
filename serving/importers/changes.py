"""Questions of an import and what its rows add to them, compared with each other and the store."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import select_among
from db.hidden import is_hidden
from db.identity import text_hash
from db.tables import Answer, QuestionTag, ReasoningVariant, Tag
from serving.importers.rows import ImportRow

_CHUNK = 5_000
_T = TypeVar("_T")

AnswerKey = tuple[str | None, str]
"""Hash of the reasoning that an answer stands under, or None, and hash of the answer."""
DETAILS = ("reference_answer", "category", "language", "external_id")
"""What a known question can gain; a value that it has stays."""


@dataclass(slots=True)
class QuestionChange:
    """One question of the files and what they add to it."""

    content_hash: str
    n: int
    """Its number in the spool; the id with a minus of one that the store has already."""
    text: str
    context: str
    role: str
    reference_answer: str | None = None
    category: str | None = None
    language: str | None = None
    external_id: str | None = None
    held_out: bool | None = None
    is_new: bool = True
    """The spool does not hold it yet."""
    position: int = 0
    """Its place among the questions of the files."""
    gains: bool = False
    """It gains one of its details after it was stored or spooled."""
    tags: set[str] = field(default_factory=set)
    """Tags it has already."""
    new_tags: dict[str, None] = field(default_factory=dict)
    variants: dict[str, int | None] = field(default_factory=dict)
    """Hash of each imported reasoning → its number, None where it is new."""
    answers: set[AnswerKey] = field(default_factory=set)
    new_variants: dict[str, str] = field(default_factory=dict)
    """Hash → text of the reasonings that are new."""
    new_answers: dict[AnswerKey, str] = field(default_factory=dict)


def conflict_of(change: QuestionChange, row: ImportRow) -> tuple[str, str] | None:
    """Say which value of ``row`` contradicts what is known; such values are never overwritten."""
    known, given = change.reference_answer, row.reference_answer
    if known and given and known != given and text_hash(known) != text_hash(given):
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


def merge(change: QuestionChange, row: ImportRow, tags: Sequence[str]) -> bool:
    """Add what ``row`` has beyond ``change``; tell whether that was anything."""
    n_before = _size(change)
    gains = False
    for name in DETAILS:
        value = getattr(row, name)
        if value and not getattr(change, name):
            setattr(change, name, value)
            gains = change.gains = True
    for tag in tags:
        if tag not in change.tags:
            change.new_tags[tag] = None
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


def stored_questions(session: Session, hashes: Iterable[str]) -> Iterator[QuestionChange]:
    """Yield the questions of these hashes that the store has."""
    for content_hash, question_id, *rest in select_among(session, _STORED, list(hashes)):
        if not is_hidden(session, "question", question_id):
            yield QuestionChange(content_hash, -question_id, *rest)


_STORED = """
SELECT content_hash, id, text, context, role, reference_answer, category, language, external_id,
    held_out
FROM question WHERE content_hash IN"""


def add_stored_facts(session: Session, changes: Sequence[QuestionChange]) -> None:
    """Give questions of the store their tags, imported reasonings and imported answers."""
    by_id = {-change.n: change for change in changes}
    if not by_id:
        return
    tags = _tags_of(session, by_id)
    variants, answers = _imported_texts(session, by_id)
    for question_id, change in by_id.items():
        change.tags |= tags[question_id]
        change.variants |= variants[question_id]
        change.answers |= answers[question_id]


def _tags_of(session: Session, ids: Iterable[int]) -> Mapping[int, set[str]]:
    tags: defaultdict[int, set[str]] = defaultdict(set)
    rows = session.execute(
        select(QuestionTag.question_id, Tag.name).join(Tag).where(QuestionTag.question_id.in_(ids))
    )
    for question_id, name in rows:
        tags[question_id].add(name)
    return tags


def _imported_texts(
    session: Session, ids: Iterable[int]
) -> tuple[Mapping[int, dict[str, int | None]], Mapping[int, set[AnswerKey]]]:
    """Return question id → imported reasonings, and question id → imported answers."""
    variants: defaultdict[int, dict[str, int | None]] = defaultdict(dict)
    answers: defaultdict[int, set[AnswerKey]] = defaultdict(set)
    hash_of: dict[int | None, str] = {}
    for variant_id, question_id, content_hash in session.execute(
        select(
            ReasoningVariant.id, ReasoningVariant.question_id, ReasoningVariant.content_hash
        ).where(ReasoningVariant.question_id.in_(ids), ReasoningVariant.source == "imported")
    ):
        variants[question_id][content_hash] = -variant_id
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
