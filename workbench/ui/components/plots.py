"""Plots as all pages draw them: rows, tooltips, one ground."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import altair as alt
import streamlit as st

NAMES: Final = alt.Axis(labelLimit=240, labelFontSize=12, ticks=False, domain=False)
"""Names beside the rows of a plot."""
COUNTS: Final = alt.Axis(tickMinStep=1, format="d")
"""Counts have no fractions."""
RULE: Final = "#8593a0"
"""Of lines: seen on light ground and on dark."""


def plot_of(rows: Iterable[Mapping[str, Any]]) -> alt.Chart:
    """Return a chart over ``rows``, which it holds itself."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def tooltips(*columns: tuple[str, str] | tuple[str, str, str]) -> list[alt.Tooltip]:
    """Return what a tooltip tells: column with its type, title, and the format of a number."""
    return [
        alt.Tooltip(name, title=title or " ", format=form[0] if form else alt.Undefined)
        for name, title, *form in columns
    ]


def legend(limit: int = 300) -> alt.Legend:
    """Return a legend over the plot, its words cut at so many pixels."""
    return alt.Legend(orient="top", labelLimit=limit)


def draw_plot(chart: Any, height: int) -> None:
    """Draw a chart or layers, not checked against Vega-Lite's schema: half of a page's time."""
    drawn = chart.properties(height=height, background="transparent")
    st.vega_lite_chart(None, drawn.to_dict(validate=False))
