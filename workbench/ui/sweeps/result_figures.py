"""A few plots of one sweep, each with one sentence that says what it shows."""

from collections.abc import Iterable, Mapping, Sequence

import altair as alt
import streamlit as st

from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import count, percent
from workbench.ui.components.parts import card, section, wait_for
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
WHOLE = alt.Axis(tickMinStep=1, format="d")
"""Counts of texts have no fractions."""
NAMES = alt.Axis(labelLimit=160, labelFontSize=12)
TOLD = {
    "kind": "figures.axis.kind",
    "range": "figures.axis.tokens",
    "texts": "figures.axis.texts",
    "end": "table.finish",
    "finding": "table.check",
    "level": "figures.axis.level",
}
"""What a tooltip calls a column."""
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
    frame = _rows(
        {
            "tokens": [b.tokens for b in drawn],
            "texts": [b.n for b in drawn],
            "kind": [_kind(b.kind) for b in drawn],
            "range": [f"{b.tokens}–{b.tokens + width - 1}" for b in drawn],
        }
    )
    chart = (
        alt.Chart(frame)
        .mark_area(opacity=0.35, interpolate="step-after", line={"strokeWidth": 1.5})
        .encode(
            x=alt.X("tokens:Q", title=t("figures.axis.tokens"), axis=alt.Axis(grid=False)),
            y=alt.Y("texts:Q", title=t("figures.axis.texts"), stack=None, axis=WHOLE),
            color=_colour(b.kind for b in bins),
            tooltip=_told(("kind", "range", "texts")),
        )
        .properties(height=HEIGHT, background="transparent")
    )
    st.altair_chart(chart)
    middles = [
        t("figures.half_have", kind=_kind(kind), tokens=count(median_tokens(outcomes, kind)))
        for kind in sorted({b.kind for b in bins}, key=_place)
    ]
    st.caption(" ".join([*middles, t("figures.lengths_says")]))


def _ends(found: Sequence[EndCount]) -> None:
    total = sum(end.n for end in found)
    frame = _rows(
        {
            "end": [word("finish", end.reason) for end in found],
            "texts": [end.n for end in found],
            "kind": [_kind(end.kind) for end in found],
            "place": [_place(end.kind) for end in found],
        }
    )
    chart = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=4, height={"band": 0.6})
        .encode(
            x=alt.X("texts:Q", title=t("figures.axis.texts"), axis=WHOLE),
            y=alt.Y("end:N", title=None, sort="-x", axis=NAMES),
            color=_colour(end.kind for end in found),
            order="place:Q",
            tooltip=_told(("end", "kind", "texts")),
        )
        .properties(height=HEIGHT, background="transparent")
    )
    st.altair_chart(chart)
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
    frame = _rows(
        {
            "finding": [word("check", row.name) for row in rows],
            "share": [row.n / row.of for row in rows],
            "level": [row.level for row in rows],
            "texts": [row.n for row in rows],
            "of": [row.of for row in rows],
        }
    )
    chart = (
        alt.Chart(frame)
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
            tooltip=[
                *_told(("finding", "level", "texts")),
                alt.Tooltip("of:Q", title=t("figures.axis.of")),
                alt.Tooltip("share:Q", format=".1%", title=t("figures.axis.share")),
            ],
        )
        .properties(height=110 + 30 * len(rows), background="transparent")
    )
    st.altair_chart(chart)


def _kind(kind: str) -> str:
    return t(KIND_WORDS[kind]) if kind in KIND_WORDS else kind


def _place(kind: str) -> int:
    return list(KIND_WORDS).index(kind) if kind in KIND_WORDS else len(KIND_WORDS)


def _colour(kinds: Iterable[str]) -> alt.Color:
    """Return the colour of each kind, the same in every plot: reasonings come before answers."""
    ordered = sorted(set(kinds), key=_place)
    scale = alt.Scale(domain=[_kind(kind) for kind in ordered])
    return alt.Color("kind:N", title=None, legend=LEGEND, scale=scale)


def _told(names: Sequence[str]) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{name}:{'Q' if name == 'texts' else 'N'}", title=t(TOLD[name]))
        for name in names
    ]


def _rows(columns: Mapping[str, Sequence[object]]) -> alt.InlineData:
    """Return columns as the rows that a chart reads."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return alt.InlineData(values=rows)
