"""The text of one item, cut by the store, and the texts that it can be compared with."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.errors import UsageError
from db.refs import Ref
from db.tables import Answer, Generation, Question, ReasoningVariant
from db.text_rows import TABLES, ListedKind

WORDS = 80
"""Characters that name a text in a list."""
_TEXTS: dict[str, InstrumentedAttribute[Any]] = {
    "question": Question.text,
    "variant": ReasoningVariant.text,
    "answer": Answer.text,
    "generation": Generation.text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemText:
    """The begin of a text."""

    text: str
    """Empty for a generation that failed."""
    n_characters: int
    """Of the whole text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedText:
    """A text by its short name and its first words."""

    ref: Ref
    words: str


def item_text(session: Session, ref: Ref, most: int | None) -> ItemText:
    """Return the text of a question, reasoning, answer or generation; all of it without ``most``.

    Raises:
        UsageError: There is none with this id, or its kind has no text.
    """
    if ref.kind not in _TEXTS:
        raise UsageError(f"{ref} is a {ref.kind}; a {ref.kind} has no text.")
    column = _TEXTS[ref.kind]
    shown = column if most is None else func.substr(column, 1, most)
    query = select(shown, func.length(column)).where(column.class_.id == ref.id)
    found = session.execute(query).one_or_none()
    if found is None:
        raise UsageError(f"There is no {ref.kind} {ref}.")
    return ItemText(text=found[0] or "", n_characters=found[1] or 0)


def question_of(session: Session, ref: Ref) -> int:
    """Return the id of the question that a reasoning or an answer belongs to.

    Raises:
        UsageError: There is none with this id, or it is neither.
    """
    found = None
    if ref.kind == "variant" or ref.kind == "answer":
        table = TABLES[ref.kind]
        found = session.scalar(select(table.question_id).where(table.id == ref.id))
    if found is None:
        raise UsageError(f"There is no reasoning or answer {ref}.")
    return found


def comparable(session: Session, ref: Ref, most: int = 50) -> list[NamedText]:
    """Return the reasonings and answers of the same question, each kind at most ``most``.

    Texts of the same kind come first; of the answers, those under the same reasoning.
    """
    question_id = question_of(session, ref)
    variant_id = ref.id if ref.kind == "variant" else _reasoning_of(session, ref)
    nearest = {
        "variant": (ReasoningVariant.id,),
        "answer": (func.coalesce(Answer.variant_id, 0) != (variant_id or 0), Answer.id),
    }
    kinds: tuple[ListedKind, ...] = ("variant", "answer")
    found = []
    for kind in kinds if ref.kind == "variant" else reversed(kinds):
        table = TABLES[kind]
        rows = session.execute(
            select(table.id, func.substr(table.text, 1, WORDS))
            .where(table.question_id == question_id)
            .order_by(*nearest[kind])
            .limit(most)
        )
        found += [NamedText(ref=Ref(kind, text_id), words=words) for text_id, words in rows]
    return [one for one in found if one.ref != ref]


def _reasoning_of(session: Session, ref: Ref) -> int | None:
    return session.scalar(select(Answer.variant_id).where(Answer.id == ref.id))
