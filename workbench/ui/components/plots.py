"""Plots as all pages draw them: rows, tooltips, one ground."""

import re
from collections.abc import Iterable, Mapping
from math import ceil, log10
from typing import Any, Final

import altair as alt
import streamlit as st

NAMES: Final = alt.Axis(labelLimit=240, labelFontSize=12, ticks=False, domain=False)
"""Names beside the rows of a plot."""
COUNTS: Final = alt.Axis(tickMinStep=1, format="d")
"""Counts have no fractions."""
STEPS: Final = 6
"""Of an axis of numbers, about."""
MOST_DIGITS: Final = 5
_FORM: Final = re.compile(r"(\+?)\.(\d)(~?)([f%])")
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
    """Draw a chart or layers, not checked against Vega-Lite's schema: half of a page's time.

    Ticks stand at least as far apart as their format tells numbers apart.
    """
    drawn = chart.properties(height=height, background="transparent").to_dict(validate=False)
    for part in (drawn, *drawn.get("layer", ())):
        for channel in part.get("encoding", {}).values():
            axis = channel.get("axis") if isinstance(channel, dict) else None
            if axis and (found := _FORM.fullmatch(axis.get("format", ""))):
                _, digits, _, kind = found.groups()
                axis["tickMinStep"] = 10.0 ** -(int(digits) + (2 if kind == "%" else 0))
    st.vega_lite_chart(None, drawn)


def tick_format(form: str, values: Iterable[float]) -> str:
    """Return ``form`` with more digits where ticks as near as these values would read alike.

    Args:
        form: In the format of d3: a sign or none, digits, ``~`` or none, ``f`` or ``%``.
        values: All that is drawn along the axis.
    """
    found = _FORM.fullmatch(form)
    listed = list(values)
    reach = max(listed) - min(listed) if listed else 0.0
    if found is None or reach <= 0:
        return form
    sign, digits, trims, kind = found.groups()
    step = reach / STEPS * (100 if kind == "%" else 1)
    return f"{sign}.{min(MOST_DIGITS, max(int(digits), ceil(-log10(step))))}{trims}{kind}"
