"""The counts behind the plots of one sweep, summed up by the store."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.tables import (
    Answer,
    CheckFlag,
    Generation,
    ModelVersion,
    ReasoningVariant,
    Sampling,
    SweepGeneration,
)

BIN_TOKENS = 10


@dataclass(frozen=True, slots=True)
class LengthBin:
    """How many texts of one kind have so many tokens, counted in steps."""

    kind: str
    tokens: int
    """The lower border."""
    n: int


@dataclass(frozen=True, slots=True)
class EndCount:
    """How many texts of one kind ended in one way; ``none`` where the engine gave nothing."""

    kind: str
    reason: str
    n: int


@dataclass(frozen=True, slots=True)
class CheckCount:
    """On how many texts of one level a check found something."""

    name: str
    level: str
    n: int
    of: int
    """Texts of the level."""


def read_lengths(session: Session, sweep_id: int) -> list[LengthBin]:
    """Return the lengths of the sweep's texts, by kind."""
    step = (Generation.completion_tokens // BIN_TOKENS) * BIN_TOKENS
    query = _of_sweep(sweep_id, Generation.kind, step, func.count()).where(
        Generation.ok, Generation.completion_tokens.is_not(None)
    )
    rows = session.execute(query.group_by(Generation.kind, step).order_by(Generation.kind, step))
    return [LengthBin(*row) for row in rows]


def median_bin(bins: Sequence[LengthBin], kind: str) -> int | None:
    """Return the upper border of the step that holds the middle text of ``kind``."""
    own = sorted((b for b in bins if b.kind == kind), key=lambda b: b.tokens)
    half = sum(b.n for b in own) / 2
    seen = 0
    for one in own:
        seen += one.n
        if seen >= half:
            return one.tokens + BIN_TOKENS
    return None


def read_ends(session: Session, sweep_id: int) -> list[EndCount]:
    """Return how the sweep's texts ended, by kind."""
    reason = func.coalesce(Generation.finish_reason, "none")
    query = _of_sweep(sweep_id, Generation.kind, reason, func.count())
    return [EndCount(*row) for row in session.execute(query.group_by(Generation.kind, reason))]


def read_findings(session: Session, sweep_id: int) -> tuple[list[CheckCount], int, int]:
    """Return findings by check and level (model and temperature), texts without any, all texts."""
    names = {
        row.id: row.name for row in session.execute(select(ModelVersion.id, ModelVersion.name))
    }
    samplings = {
        row.id: row.parameters for row in session.execute(select(Sampling.id, Sampling.parameters))
    }

    def level(model_id: int, sampling_id: int) -> str:
        return f"{names[model_id]} · {samplings[sampling_id].get('temperature', 0):g}"

    totals: Counter[str] = Counter()
    query = _of_sweep(
        sweep_id, Generation.model_version_id, Generation.sampling_id, func.count()
    ).where(Generation.ok)
    grouped = query.group_by(Generation.model_version_id, Generation.sampling_id)
    for model_id, sampling_id, n in session.execute(grouped):
        totals[level(model_id, sampling_id)] += n
    found: Counter[tuple[str, str]] = Counter()
    n_flagged = 0
    for table, target in _TARGETS:
        flags = _flags_of(table, target, sweep_id)
        columns = (CheckFlag.name, Generation.model_version_id, Generation.sampling_id)
        counted = flags.add_columns(*columns, func.count()).group_by(*columns)
        for name, model_id, sampling_id, n in session.execute(counted):
            found[name, level(model_id, sampling_id)] += n
        n_flagged += session.scalar(flags.add_columns(func.count(target.distinct()))) or 0
    total = sum(totals.values())
    rows = [CheckCount(name, at, n, max(n, totals[at])) for (name, at), n in found.most_common()]
    return rows, total - n_flagged, total


_TARGETS: tuple[
    tuple[type[ReasoningVariant] | type[Answer], InstrumentedAttribute[int | None]], ...
] = ((ReasoningVariant, CheckFlag.variant_id), (Answer, CheckFlag.answer_id))


def _flags_of(
    table: type[ReasoningVariant] | type[Answer],
    target: InstrumentedAttribute[int | None],
    sweep_id: int,
) -> Select[Any]:
    """Return the findings on the texts of ``table`` that the sweep shows; columns are to come."""
    return (
        select()
        .select_from(CheckFlag)
        .join(table, table.id == target)
        .join(Generation, Generation.id == table.generation_id)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep_id)
    )


def _of_sweep(sweep_id: int, *columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep_id)
    )
