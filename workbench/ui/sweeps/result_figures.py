"""A few plots of one sweep, each with one sentence that says what it shows."""

from collections.abc import Iterable, Sequence

import altair as alt
import streamlit as st

from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import count, percent
from workbench.ui.components.live import wait_for
from workbench.ui.components.parts import card, section
from workbench.ui.components.plots import COUNTS, draw_plot, plot_of, tooltips
from workbench.ui.components.store import database
from workbench.ui.sweeps.reads import (
    CheckCount,
    EndCount,
    Findings,
    Outcome,
    ends,
    lengths,
    median_tokens,
    read_counts,
    steps,
)

HEIGHT = 260
LEGEND = alt.Legend(orient="top", labelLimit=420, offset=6)
NAMES = alt.Axis(labelLimit=160, labelFontSize=12)
KIND_WORDS = {"reasoning": "table.kind.variant", "answer": "table.kind.answer"}


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
        _ends(ends(outcomes))
    with card("checks"):
        section(t("figures.checks"))
        _findings(findings)


def _is_counted(sweep_id: int) -> bool:
    with database().read() as session:
        return read_counts(session, sweep_id) is not None


def _lengths(outcomes: Sequence[Outcome]) -> None:
    bins = lengths(outcomes)
    drawn, width = steps(bins)
    rows = [
        {
            "tokens": one.tokens,
            "texts": one.n,
            "kind": _kind(one.kind),
            "range": f"{one.tokens}–{one.tokens + width - 1}",
        }
        for one in drawn
    ]
    chart = (
        plot_of(rows)
        .mark_area(opacity=0.35, interpolate="step-after", line={"strokeWidth": 1.5})
        .encode(
            x=alt.X("tokens:Q", title=t("figures.axis.tokens"), axis=alt.Axis(grid=False)),
            y=alt.Y("texts:Q", title=t("figures.axis.texts"), stack=None, axis=COUNTS),
            color=_colour(b.kind for b in bins),
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
        for kind in sorted({b.kind for b in bins}, key=_place)
    ]
    st.caption(" ".join([*middles, t("figures.lengths_says")]))


def _ends(found: Sequence[EndCount]) -> None:
    total = sum(end.n for end in found)
    rows = [
        {
            "end": word("finish", end.reason),
            "texts": end.n,
            "kind": _kind(end.kind),
            "place": _place(end.kind),
        }
        for end in found
    ]
    chart = (
        plot_of(rows)
        .mark_bar(cornerRadiusEnd=4, height={"band": 0.6})
        .encode(
            x=alt.X("texts:Q", title=t("figures.axis.texts"), axis=COUNTS),
            y=alt.Y("end:N", title=None, sort="-x", axis=NAMES),
            color=_colour(end.kind for end in found),
            order="place:Q",
            tooltip=tooltips(
                ("end:N", t("table.finish")),
                ("kind:N", t("figures.axis.kind")),
                ("texts:Q", t("figures.axis.texts")),
            ),
        )
    )
    draw_plot(chart, HEIGHT)
    by_itself = sum(end.n for end in found if end.reason == "stop")
    st.caption(t("figures.finish_says", share=percent(by_itself, total)))


def _findings(found: Findings) -> None:
    if not found.rows:
        st.caption(t("figures.checks_none"))
        return
    for kind in KIND_WORDS:
        if rows := [row for row in found.rows if row.kind == kind]:
            _findings_of(kind, rows)
    clean = [
        t(
            "figures.clean",
            kind=_kind(one.kind),
            n=count(one.of),
            share=percent(one.n_clean, one.of),
        )
        for one in found.texts
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
    chart = (
        plot_of(bars)
        .mark_bar(cornerRadiusEnd=4, height={"band": 0.7})
        .encode(
            x=alt.X(
                "share:Q",
                title=f"{t('figures.axis.share')} · {_kind(kind)}",
                axis=alt.Axis(format=".1~%", tickCount=5),
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
    return t(KIND_WORDS[kind]) if kind in KIND_WORDS else kind


def _place(kind: str) -> int:
    return list(KIND_WORDS).index(kind) if kind in KIND_WORDS else len(KIND_WORDS)


def _colour(kinds: Iterable[str]) -> alt.Color:
    """Return the colour of each kind, the same in every plot: reasonings come before answers."""
    ordered = sorted(set(kinds), key=_place)
    scale = alt.Scale(domain=[_kind(kind) for kind in ordered])
    return alt.Color("kind:N", title=None, legend=LEGEND, scale=scale)
