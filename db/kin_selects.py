"""How things are named in lineage: the selects of id, label and detail of each kind."""

from typing import Any

from sqlalchemy import Select, func, select

from db.kin import first_words
from db.tables import (
    Answer,
    Dataset,
    DialogueSession,
    Generation,
    ModelVersion,
    ReasoningVariant,
    Round,
    Sweep,
    TrainingRun,
)

Named = Select[*tuple[Any, ...]]


def variants() -> Named:
    """Select reasonings; the detail is their source."""
    return select(
        ReasoningVariant.id,
        first_words(ReasoningVariant.text),
        ReasoningVariant.source.label("detail"),
    )


def answers() -> Named:
    """Select answers; the detail is their source."""
    return select(Answer.id, first_words(Answer.text), Answer.source.label("detail"))


def generations() -> Named:
    """Select generations; the detail is their kind."""
    return select(Generation.id, first_words(Generation.text), Generation.kind.label("detail"))


def models() -> Named:
    """Select model versions; the detail is their kind."""
    return select(
        ModelVersion.id, ModelVersion.name.label("label"), ModelVersion.kind.label("detail")
    )


def sweeps() -> Named:
    """Select sweeps; the detail is their purpose."""
    return select(Sweep.id, Sweep.name.label("label"), Sweep.purpose.label("detail"))


def datasets() -> Named:
    """Select datasets; the detail is their kind."""
    return select(Dataset.id, Dataset.name.label("label"), Dataset.kind.label("detail"))


def training_runs() -> Named:
    """Select training runs, which are named by their method; the detail is their state."""
    return select(
        TrainingRun.id, TrainingRun.method.label("label"), TrainingRun.state.label("detail")
    )


def rounds() -> Named:
    """Select rounds; the detail is their verdict, or their state before there is one."""
    return select(
        Round.id,
        Round.name.label("label"),
        func.coalesce(Round.verdict, Round.state).label("detail"),
    )


def dialogues() -> Named:
    """Select dialogue sessions; the detail is their state."""
    return select(
        DialogueSession.id,
        DialogueSession.name.label("label"),
        DialogueSession.state.label("detail"),
    )
