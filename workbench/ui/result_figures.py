"""A few plots of one sweep, each with one sentence that says what it shows."""

from collections.abc import Mapping, Sequence

import altair as alt
import streamlit as st

from workbench.ui.figures import count, percent
from workbench.ui.i18n import t, word
from workbench.ui.parts import card, section
from workbench.ui.store import database
from workbench.ui.sweep_reads import (
    CheckCount,
    EndCount,
    LengthBin,
    median_bin,
    read_ends,
    read_findings,
    read_lengths,
)

LEGEND = alt.Legend(orient="top", labelLimit=420)
KIND_WORDS = {"reasoning": "table.kind.variant", "answer": "table.kind.answer"}


def draw_figures(sweep_id: int) -> None:
    """Draw lengths, findings and endings of what the sweep wrote."""
    with database().read() as session:
        lengths = read_lengths(session, sweep_id)
        findings = read_findings(session, sweep_id)
        ends = read_ends(session, sweep_id)
    left, right = st.columns(2)
    with left, card("lengths"):
        section(t("figures.lengths"))
        _lengths(lengths)
    with right, card("ends"):
        section(t("figures.finish"))
        _ends(ends)
    with card("checks"):
        section(t("figures.checks"))
        _findings(findings)


def _lengths(bins: Sequence[LengthBin]) -> None:
    frame = _rows(
        {
            "tokens": [b.tokens for b in bins],
            "texts": [b.n for b in bins],
            "kind": [_kind(b.kind) for b in bins],
        }
    )
    chart = (
        alt.Chart(frame)
        .mark_area(opacity=0.55, interpolate="monotone", line=True)
        .encode(
            x=alt.X("tokens:Q", title=t("figures.axis.tokens")),
            y=alt.Y("texts:Q", title=t("figures.axis.texts"), stack=None),
            color=alt.Color("kind:N", title=None, legend=LEGEND),
            tooltip=["kind:N", "tokens:Q", "texts:Q"],
        )
        .properties(height=240, background="transparent")
    )
    st.altair_chart(chart)
    st.caption(
        t(
            "figures.lengths_says",
            variant=count(median_bin(bins, "reasoning")),
            answer=count(median_bin(bins, "answer")),
        )
    )


def _ends(ends: Sequence[EndCount]) -> None:
    total = sum(end.n for end in ends)
    frame = _rows(
        {
            "end": [word("finish", end.reason) for end in ends],
            "texts": [end.n for end in ends],
            "kind": [_kind(end.kind) for end in ends],
        }
    )
    chart = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=4, height={"band": 0.6})
        .encode(
            x=alt.X("texts:Q", title=t("figures.axis.texts")),
            y=alt.Y("end:N", title=None, sort="-x"),
            color=alt.Color("kind:N", title=None, legend=LEGEND),
            tooltip=["end:N", "kind:N", "texts:Q"],
        )
        .properties(height=240, background="transparent")
    )
    st.altair_chart(chart)
    by_itself = sum(end.n for end in ends if end.reason == "stop")
    st.caption(t("figures.finish_says", share=percent(by_itself, total)))


def _findings(found: tuple[Sequence[CheckCount], int, int]) -> None:
    rows, clean, total = found
    if not rows:
        st.caption(t("figures.checks_none"))
        return
    frame = _rows(
        {
            "finding": [word("check", row.name) for row in rows],
            "share": [row.n / row.of for row in rows],
            "level": [row.level for row in rows],
            "texts": [row.n for row in rows],
        }
    )
    chart = (
        alt.Chart(frame)
        .mark_bar(cornerRadiusEnd=4, height={"band": 0.7})
        .encode(
            x=alt.X(
                "share:Q", title=t("figures.axis.share"), axis=alt.Axis(format=".1~%", tickCount=5)
            ),
            y=alt.Y("finding:N", title=None, sort="-x"),
            yOffset=alt.YOffset("level:N"),
            color=alt.Color("level:N", title=None, legend=LEGEND),
            tooltip=["finding:N", "level:N", "texts:Q", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=80 + 34 * len(rows), background="transparent")
    )
    st.altair_chart(chart)
    st.caption(t("figures.checks_says", share=percent(clean, total)))


def _kind(kind: str) -> str:
    return t(KIND_WORDS[kind]) if kind in KIND_WORDS else kind


def _rows(columns: Mapping[str, Sequence[object]]) -> alt.InlineData:
    """Return columns as the rows that a chart reads."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return alt.InlineData(values=rows)
