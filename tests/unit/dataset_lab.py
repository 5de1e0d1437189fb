"""What the tests of datasets share: a store with questions, texts and ratings; building."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from db.database import Database
from db.identity import question_hash
from db.rating.ratings import NewRating, Outcome, Scope, Target, add_ratings, ensure_rater
from db.tables import (
    Answer,
    DatasetRow,
    DatasetRowRating,
    Question,
    Rating,
    ReasoningVariant,
    VariantParent,
)
from serving.formats.library import Registry, load_definitions, sync_definitions
from serving.importers.folders import read_examples
from serving.importers.source import ImportFile
from tests.store_rows import make_answer, make_question, make_variant
from training.datasets.build import Built, build
from training.datasets.freeze import freeze
from training.datasets.rules import parse_rules

_cards = count()


def registry_of(session: Session) -> Registry:
    return sync_definitions(session, load_definitions())


@contextmanager
def lab_session(database: Database) -> Iterator[Session]:
    """Yield a session that writes and may commit in between, so that imports can run beside it."""
    writer = database.engine.execution_options(q2q_write=True)
    with Session(writer, expire_on_commit=False) as session:
        yield session
        session.commit()


class Lab:
    """A store that is filled line by line; texts are imported, so that no engine is needed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.registry = registry_of(session)

    @property
    def database(self) -> Database:
        """The store, after a commit: its lock is free. Only within ``lab_session``."""
        self.session.commit()
        engine = self.session.get_bind()
        assert isinstance(engine, Engine)
        return Database(engine.execution_options(q2q_write=False))

    def question(self, text: str, **values: Any) -> int:
        role = values.get("role", "assistant")
        hashed = question_hash(text, values.get("context", ""), role)
        known = self.session.scalar(select(Question.id).where(Question.content_hash == hashed))
        if known is not None:
            return known
        made = make_question(self.session, text, **values)
        self.session.get_one(Question, made).content_hash = hashed
        self.session.flush()
        return made

    def reasoning(
        self, question_id: int, text: str, *, source: str = "imported", **more: Any
    ) -> int:
        parent = more.pop("parent", None)
        made = make_variant(self.session, question_id, text, source=source, **more)
        if parent is not None:
            self.session.add(VariantParent(variant_id=made, parent_id=parent))
            self.session.flush()
        return made

    def answer(
        self,
        question_id: int,
        variant_id: int | None,
        text: str,
        *,
        source: str = "imported",
        **more: Any,
    ) -> int:
        parent = more.pop("parent", None)
        made = make_answer(self.session, question_id, variant_id, text, source=source, **more)
        self.session.get_one(Answer, made).parent_id = parent
        self.session.flush()
        return made

    def whole(
        self, text: str, reasoning: str = "You should think.", answer: str = "Yes."
    ) -> tuple[int, int, int]:
        q = self.question(text)
        v = self.reasoning(q, reasoning)
        return q, v, self.answer(q, v, answer)

    def rate(
        self,
        text_id: int,
        value: float | None = None,
        *,
        scope: Scope = "reasoning",
        over: int | None = None,
        outcome: Outcome | None = None,
        axis: str = "helpful_hint",
        by: str = "Aki",
        **more: Any,
    ) -> int:
        """Store one rating; ``over`` compares with another text of the scope."""
        other = self._target(scope, over) if over is not None else None
        (made,) = add_ratings(
            self.session,
            [
                NewRating(
                    rater_id=ensure_rater(self.session, by),
                    scope=scope,
                    target=self._target(scope, text_id),
                    other=other,
                    axis="preference" if other else axis,
                    value=value,
                    outcome=(outcome or "a") if other else None,
                    blind=more.pop("blind", True),
                    card_id=f"lab{next(_cards)}",
                    **more,
                )
            ],
        )
        return made

    def _target(self, scope: Scope, text_id: int) -> Target:
        if scope == "reasoning":
            variant = self.session.get_one(ReasoningVariant, text_id)
            return Target(question_id=variant.question_id, variant_id=text_id)
        answer = self.session.get_one(Answer, text_id)
        return Target(
            question_id=answer.question_id, variant_id=answer.variant_id, answer_id=text_id
        )

    def build(self, **rules: Any) -> Built:
        given = {"name": "lab", "held_out": 0, **rules}
        return build(self.session, parse_rules(given), self.registry)

    def freeze(self, **rules: Any) -> int:
        return freeze(self.session, self.build(**rules))


def add_up(built: Built) -> None:
    """Assert that every candidate is accounted for exactly once."""
    counts = built.counts
    taken = sum(counts.taken.values())
    assert counts.candidates == taken + sum(counts.not_taken.values())
    assert taken == counts.kept + sum(counts.dropped.values())
    assert sum(counts.rows.values()) == len(built.rows)


def stored(database: Database, dataset_id: int) -> list[DatasetRow]:
    with database.read() as session:
        query = select(DatasetRow).where(DatasetRow.dataset_id == dataset_id)
        return list(session.scalars(query.order_by(DatasetRow.position)))


def linked_ratings(session: Session, dataset_id: int) -> set[int]:
    query = select(DatasetRowRating.rating_id).join(
        DatasetRow, DatasetRow.id == DatasetRowRating.row_id
    )
    return set(session.scalars(query.where(DatasetRow.dataset_id == dataset_id)))


def all_ratings(session: Session) -> set[int]:
    return set(session.scalars(select(Rating.id)))


def read_whole(path: Path, registry: Registry, **options: Any) -> list[ImportFile]:
    """Return the files of training data with all their rows."""
    files = read_examples(path, registry, **options)
    for file in files:
        file.rows = list(file.rows)
    return files
