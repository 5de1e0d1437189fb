"""The counts behind the plots of one sweep, summed up by the store."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, case, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.counts import background_count
from db.sweeps import sweep_mark
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
TextKind = Literal["reasoning", "answer"]
MOST_STEPS = 40
"""Bars of a histogram; wider steps are taken where there would be more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many generations of one kind, model and sampling came out alike."""

    kind: str
    ok: bool
    finish_reason: str
    """``none`` where the engine gave nothing, ``unknown`` where it did not say."""
    model_version_id: int
    sampling_id: int
    tokens: int | None
    """Their length."""
    n: int


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
    """On how many texts of one kind and level a check found something."""

    name: str
    kind: TextKind
    level: str
    n: int
    of: int
    """Texts of the kind and level."""


@dataclass(frozen=True, slots=True)
class KindCount:
    """How many texts of one kind there are, and how many of them without a finding."""

    kind: TextKind
    n_clean: int
    of: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What the checks found on the texts of a sweep; reasonings and answers are never pooled."""

    rows: tuple[CheckCount, ...]
    texts: tuple[KindCount, ...]


def read_counts(session: Session, sweep_id: int) -> tuple[list[Outcome], Findings] | None:
    """Return how the sweep's generations came out, and the findings on them.

    None while very many are being counted for the first time.
    """
    mark = sweep_mark(session, sweep_id)
    found = session.scalar(select(func.max(CheckFlag.id)))

    def count(own: Session) -> tuple[list[Outcome], Findings]:
        return read_outcomes(own, sweep_id), read_findings(own, sweep_id)

    return background_count(session, ("figures", sweep_id), (mark, found), count)


def read_outcomes(session: Session, sweep_id: int) -> list[Outcome]:
    """Return how the sweep's generations came out, counted in one pass over them."""
    columns = (
        Generation.kind,
        Generation.ok,
        func.coalesce(Generation.finish_reason, case((Generation.ok, "unknown"), else_="none")),
        Generation.model_version_id,
        Generation.sampling_id,
        Generation.completion_tokens,
    )
    query = _of_sweep(sweep_id, *columns, func.count()).group_by(*columns)
    return [Outcome(*row) for row in session.execute(query)]


def lengths(outcomes: Iterable[Outcome]) -> list[LengthBin]:
    """Return the lengths of the good texts by kind, in order."""
    found: Counter[tuple[str, int]] = Counter()
    for one in outcomes:
        if one.ok and one.tokens is not None:
            found[one.kind, one.tokens // BIN_TOKENS * BIN_TOKENS] += one.n
    return [LengthBin(kind, tokens, n) for (kind, tokens), n in sorted(found.items())]


def steps(bins: Sequence[LengthBin]) -> tuple[list[LengthBin], int]:
    """Return the bins of a histogram, empty ones and the end of the last one included.

    Returns:
        The bins, at most ``MOST_STEPS`` of each kind, and how many tokens wide they are.
    """
    if not bins:
        return [], BIN_TOKENS
    longest = max(b.tokens for b in bins) + BIN_TOKENS
    width = next(w for w in _widths() if longest <= w * MOST_STEPS)
    found: Counter[tuple[str, int]] = Counter()
    for one in bins:
        found[one.kind, one.tokens // width * width] += one.n
    borders = range(0, -(-longest // width) * width + width, width)
    kinds = sorted({b.kind for b in bins})
    return [LengthBin(kind, at, found[kind, at]) for kind in kinds for at in borders], width


def _widths() -> Iterator[int]:
    width = BIN_TOKENS
    while True:
        yield from (width, width * 2, width * 5)
        width *= 10


def median_tokens(outcomes: Iterable[Outcome], kind: str) -> int | None:
    """Return how many tokens half of the good texts of ``kind`` have at most."""
    found: Counter[int] = Counter()
    for one in outcomes:
        if one.ok and one.kind == kind and one.tokens is not None:
            found[one.tokens] += one.n
    half, seen = found.total() / 2, 0
    for tokens, n in sorted(found.items()):
        seen += n
        if seen >= half:
            return tokens
    return None


def ends(outcomes: Iterable[Outcome]) -> list[EndCount]:
    """Return how the sweep's texts ended, by kind."""
    found: Counter[tuple[str, str]] = Counter()
    for one in outcomes:
        found[one.kind, one.finish_reason] += one.n
    return [EndCount(kind, reason, n) for (kind, reason), n in sorted(found.items())]


def read_findings(session: Session, sweep_id: int) -> Findings:
    """Return the findings by check, kind of text and level (model and temperature)."""
    names = {
        row.id: row.name for row in session.execute(select(ModelVersion.id, ModelVersion.name))
    }
    samplings = {
        row.id: row.parameters for row in session.execute(select(Sampling.id, Sampling.parameters))
    }

    def level(model_id: int, sampling_id: int) -> str:
        return f"{names[model_id]} · {samplings[sampling_id].get('temperature', 0):g}"

    rows: list[CheckCount] = []
    texts: list[KindCount] = []
    by_level = (Generation.model_version_id, Generation.sampling_id)
    for kind, table, target in _TARGETS:
        totals: Counter[str] = Counter()
        own = _texts_of(table, sweep_id).add_columns(*by_level, func.count()).group_by(*by_level)
        for model_id, sampling_id, n in session.execute(own):
            totals[level(model_id, sampling_id)] += n
        found: Counter[tuple[str, str]] = Counter()
        flags = _texts_of(table, sweep_id).join(CheckFlag, target == table.id)
        columns = (CheckFlag.name, *by_level)
        counted = flags.add_columns(*columns, func.count()).group_by(*columns)
        for name, model_id, sampling_id, n in session.execute(counted):
            found[name, level(model_id, sampling_id)] += n
        rows += [CheckCount(name, kind, at, n, totals[at]) for (name, at), n in found.items()]
        n_flagged = session.scalar(flags.add_columns(func.count(target.distinct()))) or 0
        if totals:
            texts.append(KindCount(kind, totals.total() - n_flagged, totals.total()))
    rows.sort(key=lambda row: -row.n)
    return Findings(tuple(rows), tuple(texts))


def count_outcomes(session: Session, sweep_id: int, question_id: int) -> int:
    """Return how many generations of one question the sweep shows, good or failed."""
    shown = exists().where(
        SweepGeneration.sweep_id == sweep_id, SweepGeneration.generation_id == Generation.id
    )
    query = select(func.count()).where(Generation.question_id == question_id, shown)
    return session.scalar(query) or 0


_TARGETS: tuple[
    tuple[TextKind, type[ReasoningVariant] | type[Answer], InstrumentedAttribute[int | None]], ...
] = (
    ("reasoning", ReasoningVariant, CheckFlag.variant_id),
    ("answer", Answer, CheckFlag.answer_id),
)


def _texts_of(table: type[ReasoningVariant] | type[Answer], sweep_id: int) -> Select[Any]:
    """Return the texts of ``table`` that the sweep shows; columns are to come."""
    return (
        select()
        .select_from(table)
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
