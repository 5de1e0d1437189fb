"""What pairs and labels of a training file say, as ratings of the texts in the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.database import Database
from db.errors import UsageError
from db.identity import question_hash, short_hash, text_hash
from db.models import model_by_name
from db.rating.ratings import (
    OK,
    PREFERENCE,
    NewRating,
    Target,
    ensure_rater,
    rater_name,
    stored_name,
)
from db.tables import Answer, ModelVersion, Rater, ReasoningVariant
from serving.importers.examples import Example, ImportRow
from serving.importers.spool import Spool
from serving.importers.writing import StoredIds

JudgedBy = Literal["person", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Who is to have said what pairs and labels say."""

    name: str = "imported"
    kind: JudgedBy = "person"


@dataclass(frozen=True, slots=True)
class JudgedExample:
    """An example with a judgement, and the file that it came in."""

    example: Example
    file: str


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
    database: Database,
    spool: Spool,
    judged: Sequence[JudgedExample],
    ids: StoredIds,
    rater_id: int,
    judge: Judge,
) -> Iterator[NewRating]:
    """Yield what ``judged`` says of its texts; not blind, as nobody knows.

    Examples whose texts are not in ``spool``, because of a problem of their row, say nothing.
    """
    for some in chunks(judged):
        with database.read() as session:
            targets = _Targets(session, spool, ids, [one.example for one in some])
        for one in some:
            if rating := _rating(targets, one, rater_id, judge):
                yield rating


def _rating(
    targets: "_Targets", judged: JudgedExample, rater_id: int, judge: Judge
) -> NewRating | None:
    one = judged.example
    target = targets.of(one, one.row)
    other = targets.of(one, one.rejected) if one.rejected is not None else None
    if target is None or (one.rejected is not None and other is None):
        return None  # the row had a problem and was left out
    return NewRating(
        rater_id=rater_id,
        scope=one.scope,
        target=target,
        other=other,
        axis=OK if other is None else PREFERENCE,
        value=float(bool(one.label)) if other is None else None,
        outcome=None if other is None else "a",
        blind=False,
        sampler=f"import {Path(judged.file).name}",
        card_id=card_of(one, judge),
    )


class _Targets:
    """The ids of the texts that examples are stored as."""

    def __init__(
        self, session: Session, spool: Spool, ids: StoredIds, examples: Sequence[Example]
    ) -> None:
        self._ids = ids
        hashes = {_asked(one.row) for one in examples}
        found = spool.among("SELECT content_hash, n FROM question WHERE content_hash IN", hashes)
        self._questions: dict[str, int] = dict(found)
        numbers = list(self._questions.values())
        self._variants: dict[tuple[int, str], int] = {
            (question_n, content_hash): n
            for question_n, content_hash, n in spool.among(
                "SELECT question_n, content_hash, n FROM variant WHERE question_n IN", numbers
            )
        }
        self._answers: dict[tuple[int, int | None, str], int] = {
            (question_n, variant_n, content_hash): n
            for question_n, variant_n, content_hash, n in spool.among(
                "SELECT question_n, variant_n, content_hash, n FROM answer WHERE question_n IN",
                numbers,
            )
        }
        self._read_stored(session, [-n for n in numbers if n < 0])

    def _read_stored(self, session: Session, ids: Sequence[int]) -> None:
        variants = select(
            ReasoningVariant.id, ReasoningVariant.question_id, ReasoningVariant.content_hash
        ).where(ReasoningVariant.question_id.in_(ids), ReasoningVariant.source == "imported")
        for variant_id, question_id, content_hash in session.execute(variants):
            self._variants[-question_id, content_hash] = -variant_id
        answers = select(
            Answer.id, Answer.question_id, Answer.variant_id, Answer.content_hash
        ).where(Answer.question_id.in_(ids), Answer.source == "imported")
        for answer_id, question_id, parent_id, content_hash in session.execute(answers):
            self._answers[-question_id, parent_id and -parent_id, content_hash] = -answer_id

    def of(self, example: Example, row: ImportRow) -> Target | None:
        """Return what is judged of a row; None where it is not stored."""
        question_n = self._questions.get(_asked(row))
        if question_n is None:
            return None
        question_id = self._ids.of("question", question_n)
        variant_n: int | None = None
        if row.reasoning is not None:
            variant_n = self._variants.get((question_n, text_hash(row.reasoning)))
            if variant_n is None:
                return None
        variant_id = self._ids.maybe("reasoning_variant", variant_n)
        if example.scope == "reasoning":
            return Target(question_id=question_id, variant_id=variant_id)
        if row.output is None:
            return None
        answer_n = self._answers.get((question_n, variant_n, text_hash(row.output)))
        if answer_n is None:
            return None
        answer_id = self._ids.of("answer", answer_n)
        return Target(question_id=question_id, variant_id=variant_id, answer_id=answer_id)


def _asked(row: ImportRow) -> str:
    return question_hash(row.text, row.context, row.role)


_NOTE = "Judged imported training data; its weights are not known here."


def ensure_model_rater(session: Session, name: str, model: str | None = None) -> int:
    """Return the id of the rater that is the model called ``name``, known or new.

    A model that the store does not know is declared, out of the lists of those that can be served.

    Args:
        session: Of the store.
        name: Of the rater.
        model: Of the model, where it is called differently.

    Raises:
        UsageError: The name is a person's, empty or too long.
    """
    name = rater_name(name)
    known = session.scalar(select(Rater).where(Rater.name == name))
    if known is not None and known.kind != "model":
        raise UsageError(
            f"{name!r} is the name of a person who rates; give the model another one with --rater."
        )
    if known is not None:
        return known.id
    known_model = model_by_name(session, model or name)
    model_id = known_model.id if known_model is not None else None
    if model_id is None:
        declared = ModelVersion(name=model or name, kind="declared", state="removed", note=_NOTE)
        session.add(declared)
        session.flush()
        model_id = declared.id
    rater = Rater(name=name, kind="model", model_version_id=model_id)
    session.add(rater)
    session.flush()
    return rater.id
