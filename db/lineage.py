"""Lineage both ways: what a thing came from, and what came of it; one core for the app and the CLI.

Everything with a short name has one: a question (q12), a reasoning (v12), an answer (a7), a
generation (g9), a model (m3), a dataset (d1), a training run (t1), a round (r1).
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.identity import Ref, parse_ref
from db.kin import Kin, KinGroup, KinKind
from db.lineage_down import descendants
from db.lineage_up import ancestors
from db.tables import (
    Answer,
    Base,
    Dataset,
    Generation,
    ModelVersion,
    Question,
    ReasoningVariant,
    Round,
    TrainingRun,
)

__all__ = ["Kin", "KinGroup", "KinKind", "Lineage", "lineage"]

TABLES: dict[str, type[Base]] = {
    "question": Question,
    "variant": ReasoningVariant,
    "answer": Answer,
    "generation": Generation,
    "model": ModelVersion,
    "dataset": Dataset,
    "training_run": TrainingRun,
    "round": Round,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What one thing came from, and what came of it; the nearest first."""

    ref: Ref
    up: tuple[KinGroup, ...]
    down: tuple[KinGroup, ...]


def lineage(session: Session, ref: Ref | str) -> Lineage:
    """Return the lineage of ``ref``.

    Raises:
        UsageError: It is no short name, or there is nothing of this name.
    """
    ref = parse_ref(ref) if isinstance(ref, str) else ref
    key = getattr(TABLES[ref.kind], "id")  # noqa: B009 - no class says what all of these have
    if session.scalar(select(key).where(key == ref.id)) is None:
        raise UsageError(f"There is no {ref.kind.replace('_', ' ')} {ref}.")
    return Lineage(ref=ref, up=ancestors(session, ref), down=descendants(session, ref))
