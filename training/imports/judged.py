"""What pairs and labels of a training file say, as ratings of the texts in the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.generations import chunks
from db.identity import question_hash, short_hash, text_hash
from db.ratings import OK, PREFERENCE, NewRating, Target, ensure_rater, stored_name
from db.tables import Answer, Question, ReasoningVariant
from serving.importers.example_files import FileExamples
from serving.importers.examples import Example
from serving.importers.rows import ImportRow
from training.imports.raters import ensure_model_rater

JudgedBy = Literal["person", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Who is to have said what pairs and labels say."""

    name: str = "imported"
    kind: JudgedBy = "person"


def is_judged(example: Example) -> bool:
    """Tell whether something is said of the example's texts: better, worse, OK, or not."""
    return example.rejected is not None or example.label is not None


def card_of(example: Example, judge: Judge) -> str:
    """Return what stands for a judgement: who said what of which words."""
    rows = [row for row in (example.row, example.rejected) if row is not None]
    row = example.row
    words = [text_hash(text or "") for one in rows for text in (one.reasoning, one.output)]
    asked = question_hash(row.text, row.context, row.role)
    name = stored_name(judge.name)
    return f"import-{short_hash(name, example.scope, str(example.label), asked, *words)}"


def rater_of(session: Session, judge: Judge) -> int:
    """Return the id of the judge as a rater, known or new.

    Raises:
        UsageError: The name cannot be one, or is taken by another kind of rater.
    """
    if judge.kind == "model":
        return ensure_model_rater(session, judge.name)
    return ensure_rater(session, judge.name)


def ratings_of(
    session: Session, file: FileExamples, judged: Sequence[Example], rater_id: int, judge: Judge
) -> list[NewRating]:
    """Return what ``judged`` says of its texts, which are stored; not blind, as nobody knows.

    Examples whose texts are not in the store, because of a problem of their row, say nothing.
    """
    targets = _Targets(session, judged)
    ratings: list[NewRating] = []
    for one in judged:
        target = targets.of(one, one.row)
        other = targets.of(one, one.rejected) if one.rejected is not None else None
        if target is None or (one.rejected is not None and other is None):
            continue  # the row had a problem and was left out
        ratings.append(
            NewRating(
                rater_id=rater_id,
                scope=one.scope,
                target=target,
                other=other,
                axis=OK if other is None else PREFERENCE,
                value=float(bool(one.label)) if other is None else None,
                outcome=None if other is None else "a",
                blind=False,
                sampler=f"import {Path(file.name).name}",
                card_id=card_of(one, judge),
            )
        )
    return ratings


class _Targets:
    """The ids of the texts that examples were stored as."""

    def __init__(self, session: Session, examples: Sequence[Example]) -> None:
        hashes = {_asked(one.row) for one in examples}
        self._questions: dict[str, int] = {}
        self._variants: dict[tuple[int, str], int] = {}
        self._answers: dict[tuple[int, int | None, str], int] = {}
        for some in chunks(sorted(hashes)):
            found = select(Question.content_hash, Question.id).where(
                Question.content_hash.in_(some)
            )
            self._questions |= dict(session.execute(found).all())
        for ids in chunks(sorted(self._questions.values())):
            self._read_texts(session, ids)

    def _read_texts(self, session: Session, ids: Sequence[int]) -> None:
        variants = select(
            ReasoningVariant.id, ReasoningVariant.question_id, ReasoningVariant.content_hash
        ).where(ReasoningVariant.question_id.in_(ids), ReasoningVariant.source == "imported")
        for variant_id, question_id, content_hash in session.execute(variants):
            self._variants[question_id, content_hash] = variant_id
        answers = select(
            Answer.id, Answer.question_id, Answer.variant_id, Answer.content_hash
        ).where(Answer.question_id.in_(ids), Answer.source == "imported")
        for answer_id, question_id, parent_id, content_hash in session.execute(answers):
            self._answers[question_id, parent_id, content_hash] = answer_id

    def of(self, example: Example, row: ImportRow) -> Target | None:
        """Return what is judged of a row; None where it is not in the store."""
        question_id = self._questions.get(_asked(row))
        if question_id is None:
            return None
        variant_id: int | None = None
        if row.reasoning is not None:
            variant_id = self._variants.get((question_id, text_hash(row.reasoning)))
            if variant_id is None:
                return None
        if example.scope == "reasoning":
            return Target(question_id=question_id, variant_id=variant_id)
        if row.output is None:
            return None
        answer_id = self._answers.get((question_id, variant_id, text_hash(row.output)))
        if answer_id is None:
            return None
        return Target(question_id=question_id, variant_id=variant_id, answer_id=answer_id)


def _asked(row: ImportRow) -> str:
    return question_hash(row.text, row.context, row.role)
