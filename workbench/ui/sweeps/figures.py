"""A few plots of one sweep, each with one sentence that says what it shows; the store counts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count as count_from
from typing import Any, Literal

import altair as alt
import streamlit as st
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
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import count, percent
from workbench.ui.components.live import wait_for
from workbench.ui.components.parts import card, section
from workbench.ui.components.plots import COUNTS, draw_plot, plot_of, tick_format, tooltips
from workbench.ui.components.store import database

HEIGHT = 260
LEGEND = alt.Legend(orient="top", labelLimit=420, offset=6)
NAMES = alt.Axis(labelLimit=160, labelFontSize=12)
LENGTHS = alt.Axis(grid=False, tickMinStep=1)
KIND_TEXTS = {"reasoning": "table.kind.variant", "answer": "table.kind.answer"}
MOST_STEPS = 40
"""Bars of a histogram; wider steps are taken where there would be more."""
TextKind = Literal["reasoning", "answer"]
_TARGETS: tuple[
    tuple[TextKind, type[ReasoningVariant] | type[Answer], InstrumentedAttribute[int | None]], ...
] = (
    ("reasoning", ReasoningVariant, CheckFlag.variant_id),
    ("answer", Answer, CheckFlag.answer_id),
)


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
class CheckCount:
    """On how many texts of one kind and level (model and temperature) a check found something."""

    name: str
    kind: TextKind
    level: str
    n: int
    of: int
    """Texts of the kind and level."""


Findings = tuple[list[CheckCount], dict[TextKind, tuple[int, int]]]
"""Counts of findings, and by kind how many texts are without any, and how many there are."""


def draw_figures(sweep_id: int) -> None:
    """Draw lengths, findings and endings of what the sweep wrote."""
    with database().read() as session:
        counts = read_counts(session, sweep_id)
    if counts is None:
        wait_for(t("figures.counting"), lambda: _is_counted(sweep_id))
        return
    outcomes, findings = counts
    left, right = st.columns(2)
    with left, card("lengths"):
        section(t("figures.lengths"))
        _lengths(outcomes)
    with right, card("ends"):
        section(t("figures.finish"))
        _ends(outcomes)
    with card("checks"):
        section(t("figures.checks"))
        _findings(findings)


def _is_counted(sweep_id: int) -> bool:
    with database().read() as session:
        return read_counts(session, sweep_id) is not None


def _lengths(outcomes: Sequence[Outcome]) -> None:
    steps, width = length_steps(outcomes)
    kinds = {kind for kind, _, _ in steps}
    rows = [
        {
            "tokens": tokens,
            "texts": n,
            "kind": _kind(kind),
            "range": f"{tokens}–{tokens + width - 1}",
        }
        for kind, tokens, n in steps
    ]
    chart = (
        plot_of(rows)
        .mark_area(opacity=0.35, interpolate="step-after", line={"strokeWidth": 1.5})
        .encode(
            x=alt.X("tokens:Q", title=t("figures.axis.tokens"), axis=LENGTHS),
            y=alt.Y("texts:Q", title=t("figures.axis.texts"), stack=None, axis=COUNTS),
            color=_colour(kinds),
            tooltip=tooltips(
                ("kind:N", t("figures.axis.kind")),
                ("range:N", t("figures.axis.tokens")),
                ("texts:Q", t("figures.axis.texts")),
            ),
        )
    )
    draw_plot(chart, HEIGHT)
    middles = [
        t("figures.half_have", kind=_kind(kind), tokens=count(median_tokens(outcomes, kind)))
        for kind in sorted(kinds, key=_place)
    ]
    st.caption(" ".join([*middles, t("figures.lengths_says")]))


def _ends(outcomes: Sequence[Outcome]) -> None:
    found: Counter[tuple[str, str]] = Counter()
    for one in outcomes:
        found[one.kind, one.finish_reason] += one.n
    rows = [
        {"end": word("finish", reason), "texts": n, "kind": _kind(kind), "place": _place(kind)}
        for (kind, reason), n in sorted(found.items())
    ]
    chart = (
        plot_of(rows)
        .mark_bar(cornerRadiusEnd=4, height={"band": 0.6})
        .encode(
            x=alt.X("texts:Q", title=t("figures.axis.texts"), axis=COUNTS),
            y=alt.Y("end:N", title=None, sort="-x", axis=NAMES),
            color=_colour(kind for kind, _ in found),
            order="place:Q",
            tooltip=tooltips(
                ("end:N", t("table.finish")),
                ("kind:N", t("figures.axis.kind")),
                ("texts:Q", t("figures.axis.texts")),
            ),
        )
    )
    draw_plot(chart, HEIGHT)
    by_itself = sum(n for (_, reason), n in found.items() if reason == "stop")
    st.caption(t("figures.finish_says", share=percent(by_itself, found.total())))


def _findings(found: Findings) -> None:
    counts, texts = found
    if not counts:
        st.caption(t("figures.checks_none"))
        return
    for kind in KIND_TEXTS:
        if rows := [row for row in counts if row.kind == kind]:
            _findings_of(kind, rows)
    clean = [
        t("figures.clean", kind=_kind(kind), n=count(of), share=percent(n, of))
        for kind, (n, of) in texts.items()
    ]
    st.caption(" ".join([*clean, t("figures.checks_says")]))


def _findings_of(kind: str, rows: Sequence[CheckCount]) -> None:
    """Draw the shares of the texts of one kind; each bar tells how many there are."""
    bars = [
        {
            "finding": word("check", row.name),
            "share": row.n / row.of,
            "level": row.level,
            "texts": row.n,
            "of": row.of,
        }
        for row in rows
    ]
    shares = [0.0, *(row.n / row.of for row in rows)]
    chart = (
        plot_of(bars)
        .mark_bar(cornerRadiusEnd=4, height={"band": 0.7})
        .encode(
            x=alt.X(
                "share:Q",
                title=f"{t('figures.axis.share')} · {_kind(kind)}",
                axis=alt.Axis(format=tick_format(".1~%", shares), tickCount=5),
            ),
            y=alt.Y("finding:N", title=None, sort="-x", axis=NAMES),
            yOffset=alt.YOffset("level:N"),
            color=alt.Color("level:N", title=t("figures.axis.level"), legend=LEGEND),
            tooltip=tooltips(
                ("finding:N", t("table.check")),
                ("level:N", t("figures.axis.level")),
                ("texts:Q", t("figures.axis.texts")),
                ("of:Q", t("figures.axis.of")),
                ("share:Q", t("figures.axis.share"), ".1%"),
            ),
        )
    )
    draw_plot(chart, 110 + 30 * len(rows))


def _kind(kind: str) -> str:
    return t(KIND_TEXTS[kind]) if kind in KIND_TEXTS else kind


def _place(kind: str) -> int:
    return list(KIND_TEXTS).index(kind) if kind in KIND_TEXTS else len(KIND_TEXTS)


def _colour(kinds: Iterable[str]) -> alt.Color:
    """Return the colour of each kind, the same in every plot: reasonings come before answers."""
    ordered = sorted(set(kinds), key=_place)
    scale = alt.Scale(domain=[_kind(kind) for kind in ordered])
    return alt.Color("kind:N", title=None, legend=LEGEND, scale=scale)


def read_counts(session: Session, sweep_id: int) -> tuple[list[Outcome], Findings] | None:
    """Return how the sweep's generations came out, and the findings on them.

    None while very many are being counted for the first time.
    """
    mark = sweep_mark(session, sweep_id)
    found = session.scalar(select(func.max(CheckFlag.id)))

    def read(own: Session) -> tuple[list[Outcome], Findings]:
        return read_outcomes(own, sweep_id), read_findings(own, sweep_id)

    return background_count(session, ("figures", sweep_id), (mark, found), read)


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


def length_steps(outcomes: Iterable[Outcome]) -> tuple[list[tuple[str, int, int]], int]:
    """Return a histogram of the lengths of the good texts, and how many tokens wide its steps are.

    Returns:
        Kind, lower border and number of texts of each step, at most ``MOST_STEPS`` of each kind,
        empty ones and the end of the last one included.
    """
    good = [(one.kind, one.tokens, one.n) for one in outcomes if one.ok and one.tokens is not None]
    if not good:
        return [], 10
    longest = max(tokens for _, tokens, _ in good) + 1
    widths = (unit * 10**power for power in count_from(1) for unit in (1, 2, 5))
    width = next(width for width in widths if longest <= width * MOST_STEPS)
    found: Counter[tuple[str, int]] = Counter()
    for kind, tokens, n in good:
        found[kind, tokens // width * width] += n
    borders = range(0, -(-longest // width) * width + width, width)
    kinds = sorted({kind for kind, _, _ in good})
    return [(kind, at, found[kind, at]) for kind in kinds for at in borders], width


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


def read_findings(session: Session, sweep_id: int) -> Findings:
    """Return findings by check, kind and level, and by kind how many texts have none, and all."""
    names = {
        row.id: row.name for row in session.execute(select(ModelVersion.id, ModelVersion.name))
    }
    samplings = {
        row.id: row.parameters for row in session.execute(select(Sampling.id, Sampling.parameters))
    }

    def level(model_id: int, sampling_id: int) -> str:
        return f"{names[model_id]} · {samplings[sampling_id].get('temperature', 0):g}"

    rows: list[CheckCount] = []
    texts: dict[TextKind, tuple[int, int]] = {}
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
            texts[kind] = totals.total() - n_flagged, totals.total()
    rows.sort(key=lambda row: -row.n)
    return rows, texts


def count_outcomes(session: Session, sweep_id: int, question_id: int) -> int:
    """Return how many generations of one question the sweep shows, good or failed."""
    shown = exists().where(
        SweepGeneration.sweep_id == sweep_id, SweepGeneration.generation_id == Generation.id
    )
    query = select(func.count()).where(Generation.question_id == question_id, shown)
    return session.scalar(query) or 0


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
