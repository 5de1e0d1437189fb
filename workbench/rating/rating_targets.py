"""The texts that rows of a rating file speak of, found in the store by their words or their ids."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.identity import question_hash, text_hash
from db.rating.ratings import Scope, Target
from db.tables import Answer, Question, ReasoningVariant
from workbench.rating.rating_fields import RowRefusedError, given, row_id, words

_NOT_THERE = "is not in the store under this question."


class Targets:
    """Looks texts up; questions that many rows name are looked up once."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._questions: dict[str | int, int | None] = {}

    def of(self, row: Mapping[str, Any], scope: Scope, *, compares: bool) -> list[Target]:
        """Return what ``row`` rates: one target, or the two that it compares.

        Raises:
            RowRefusedError: A text is not named, not in the store, or compared with itself.
        """
        question_id = self._question(row)
        first = self._target(row, question_id, scope, "")
        if not compares:
            self._refuse_other(row)
            return [first]
        other = self._target(row, question_id, scope, "other_")
        if self._wording(first) == self._wording(other):
            raise RowRefusedError(None, "compares a text with itself; name two different ones.")
        return [first, other]

    def _question(self, row: Mapping[str, Any]) -> int:
        text, number = words(row, "question"), row_id(row, "question_id")
        if text:
            role = given(row, "role") or "assistant"
            wanted = question_hash(text, words(row, "context") or "", role)
            found = self._remembered(wanted)
            if found is None:
                raise RowRefusedError(
                    "question", "is not in the store; import it first, with its texts."
                )
            return found
        if number is None:
            raise RowRefusedError(None, "names no question; fill in question or question_id.")
        if self._remembered(number) is None:
            raise RowRefusedError("question_id", f"there is no question q{number}.")
        return number

    def _remembered(self, key: str | int) -> int | None:
        if key not in self._questions:
            column = Question.content_hash if isinstance(key, str) else Question.id
            self._questions[key] = self.session.scalar(select(Question.id).where(column == key))
        return self._questions[key]

    def _target(self, row: Mapping[str, Any], question_id: int, scope: Scope, side: str) -> Target:
        if scope == "question":
            return Target(question_id=question_id)
        variant_id = self._variant(row, question_id, side, needed=scope == "reasoning")
        if scope == "reasoning":
            return Target(question_id=question_id, variant_id=variant_id)
        answer = self._answer(row, question_id, side, variant_id)
        return Target(question_id=question_id, variant_id=answer.variant_id, answer_id=answer.id)

    def _variant(
        self, row: Mapping[str, Any], question_id: int, side: str, *, needed: bool
    ) -> int | None:
        text, number = words(row, f"{side}reasoning"), row_id(row, f"{side}variant_id")
        query = select(ReasoningVariant.id).where(ReasoningVariant.question_id == question_id)
        if text:
            query = query.where(ReasoningVariant.content_hash == text_hash(text))
        elif number is not None:
            query = query.where(ReasoningVariant.id == number)
        elif needed:
            raise _empty(f"{side}reasoning", f"{side}variant_id")
        else:
            return None
        ids = list(self.session.scalars(query.order_by(ReasoningVariant.id)))
        if not ids:
            raise RowRefusedError(f"{side}reasoning" if text else f"{side}variant_id", _NOT_THERE)
        return number if number in ids else ids[0]

    def _answer(
        self, row: Mapping[str, Any], question_id: int, side: str, variant_id: int | None
    ) -> Answer:
        text, number = words(row, f"{side}answer"), row_id(row, f"{side}answer_id")
        query = select(Answer).where(Answer.question_id == question_id)
        if text:
            query = query.where(Answer.content_hash == text_hash(text))
        elif number is not None:
            query = query.where(Answer.id == number)
        else:
            raise _empty(f"{side}answer", f"{side}answer_id")
        if variant_id is not None:
            query = query.where(Answer.variant_id == variant_id)
        found = list(self.session.scalars(query.order_by(Answer.id)))
        if not found:
            raise RowRefusedError(f"{side}answer" if text else f"{side}answer_id", _NOT_THERE)
        return _meant(found, number, variant_id, side)

    def _wording(self, target: Target) -> tuple[object, ...]:
        """Return what tells a text from others of its question: its words."""
        hashes = [
            self.session.scalar(select(table.content_hash).where(table.id == text_id))
            for table, text_id in (
                (ReasoningVariant, target.variant_id),
                (Answer, target.answer_id),
            )
        ]
        return tuple(hashes)

    def _refuse_other(self, row: Mapping[str, Any]) -> None:
        for name in ("reasoning", "answer", "variant_id", "answer_id"):
            if given(row, f"other_{name}"):
                raise RowRefusedError(
                    f"other_{name}",
                    "names a second text, and the row is no comparison; fill in outcome, or leave"
                    " it empty.",
                )


def _meant(found: list[Answer], number: int | None, variant_id: int | None, side: str) -> Answer:
    """Return the answer that is meant: by its id, else the one that stands where the row says."""
    by_id = next((one for one in found if one.id == number), None)
    if by_id is not None or variant_id is not None:
        return by_id or found[0]
    alone = [one for one in found if one.variant_id is None]
    if not alone and len({one.variant_id for one in found}) > 1:
        raise RowRefusedError(
            f"{side}reasoning",
            f"is empty, and several reasonings have this answer; fill in {side}reasoning.",
        )
    return (alone or found)[0]


def _empty(column: str, id_column: str) -> RowRefusedError:
    return RowRefusedError(column, f"is empty; fill in {column} or {id_column}.")
