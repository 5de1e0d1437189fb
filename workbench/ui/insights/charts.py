"""The plots of Insights: estimates with their intervals, one thing over another, cards by day."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt

from workbench.stats.intervals import Estimate
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import percent
from workbench.ui.components.plots import (
    COUNTS,
    RULE,
    draw_plot,
    legend,
    plot_of,
    tick_format,
    tooltips,
)
from workbench.ui.components.text import one_line

ROW_PX = 34
LEGEND_PX, SQUARE_PX = 64, 44
MOST_LABELLED = 8
"""Levels whose squares are wide enough for words; of more, the tooltip tells the numbers."""
AXIS_PX = 80
"""Of a plot: what its horizontal axis takes with numbers and title."""
LINE_WIDTH: Final = 22
"""Of a line, in half-width letters: as much as a narrow screen can spare beside the plot."""
LINES: Final = 2
LABEL_PX: Final = 160


@dataclass(frozen=True, slots=True)
class Dot:
    """One estimate in a plot."""

    name: str
    found: Estimate
    n: int
    """How much it rests on."""
    by_rater: tuple[tuple[str, Estimate], ...] = ()
    """The same of each rater alone, by name."""


def draw_dots(
    dots: Sequence[Dot], title: str, *, reference: float | None, form: str = ".0%"
) -> None:
    """Draw estimates as dots with their intervals; what has no interval is a dot alone.

    Args:
        dots: In their order from above.
        title: What the axis shows.
        reference: Where the line of "no difference" stands; None: no line.
        form: How numbers are written, in the format of d3.
    """
    rows = [
        {
            "place": place,
            "name": one_line(dot.name, 120),
            "value": dot.found.value,
            "n": dot.n,
            **_ends(dot.found),
        }
        for place, dot in enumerate(dots)
    ]
    y = alt.Y("place:O", title=None, axis=label_axis([dot.name for dot in dots]))
    x = alt.X(
        "value:Q",
        title=title,
        scale=alt.Scale(zero=False, nice=True),
        axis=alt.Axis(format=tick_format(form, _values(dots)), tickCount=6),
    )
    tooltip = tooltips(
        ("name:N", ""),
        ("value:Q", title, form),
        ("low:Q", t("insights.low"), form),
        ("high:Q", t("insights.high"), form),
        ("n:Q", t("insights.n"), ","),
    )
    dotted = plot_of(rows).encode(y=y, tooltip=tooltip)
    ranged = plot_of(row for row in rows if "low" in row)
    layers = [
        ranged.mark_rule(color=RULE, strokeWidth=3, opacity=0.45).encode(
            y=y, x=alt.X("low:Q", title=title), x2="high:Q"
        ),
        dotted.mark_circle(size=110, opacity=1).encode(x=x),
    ]
    alone = [
        {
            "place": place,
            "name": one_line(dot.name, 120),
            "value": found.value,
            "rater": one_line(rater, 40),
            **_ends(found),
        }
        for place, dot in enumerate(dots)
        for rater, found in dot.by_rater
    ]
    if alone:
        layers.append(_by_rater(alone, y, title, form))
    if reference is not None:
        line = plot_of([{"at": reference}])
        layers.insert(
            0, line.mark_rule(color=RULE, strokeDash=[4, 4], opacity=0.6).encode(x="at:Q")
        )
    height = AXIS_PX + (LEGEND_PX if alone else 0) + ROW_PX * len(rows)
    draw_plot(alt.layer(*layers), height)


def _by_rater(rows: list[dict[str, object]], y: alt.Y, title: str, form: str) -> alt.Chart:
    """Return a small open mark for each rater, under the pooled dots of their names."""
    marks = plot_of(rows)
    marks = marks.mark_point(size=55, filled=False, strokeWidth=2, opacity=0.9, yOffset=9)
    drawn: alt.Chart = marks.encode(
        y=y,
        x=alt.X("value:Q", title=title),
        color=alt.Color("rater:N", title=t("insights.alone"), legend=legend(200)),
        shape=alt.Shape("rater:N", title=t("insights.alone")),
        tooltip=tooltips(
            ("rater:N", t("insights.rater")),
            ("name:N", ""),
            ("value:Q", title, form),
            ("low:Q", t("insights.low"), form),
            ("high:Q", t("insights.high"), form),
        ),
    )
    return drawn


def draw_win_chances(
    names: Sequence[str], chances: Sequence[tuple[str, str, Estimate, int]]
) -> None:
    """Draw how many points each takes from each lower one: a square each, with its interval.

    Args:
        names: From the strongest on.
        chances: The stronger one, the other, the share of points, and how often the two met.
    """
    place = {name: i for i, name in enumerate(names)}
    rows = [
        {
            "row": place[better],
            "column": place[other],
            "name": one_line(better, 120),
            "other": one_line(other, 120),
            "value": share.value,
            "share": percent(share.value, 1),
            "ends": " – ".join(percent(end, 1) for end in _ends(share).values()),
            "n": n,
        }
        for better, other, share, n in chances
    ]
    base = plot_of(rows).encode(
        x=alt.X(
            "column:O",
            title=t("insights.against"),
            axis=label_axis(names, orient="top", labelAngle=0),
        ),
        y=alt.Y("row:O", title=None, axis=label_axis(names)),
        tooltip=tooltips(
            ("name:N", ""),
            ("other:N", t("insights.against")),
            ("share:N", t("insights.axis.win_chance")),
            ("ends:N", t("insights.interval")),
            ("n:Q", t("insights.n"), ","),
        ),
    )
    colour = alt.Color(
        "value:Q",
        title=t("insights.axis.win_chance"),
        scale=alt.Scale(domain=[0.5, 1.0], range=["#d9e2ea", "#2f6f9f"], clamp=True),
        legend=None,
    )
    ink = alt.condition("datum.value > 0.9", alt.value("#ffffff"), alt.value("#17242e"))
    layers = [base.mark_rect(cornerRadius=3).encode(color=colour)]
    if len(names) <= MOST_LABELLED:
        for column, size, dy in (("share", 13, -7), ("ends", 10, 9)):
            text = base.mark_text(fontSize=size, dy=dy)
            layers.append(text.encode(text=f"{column}:N", color=ink))
    height = AXIS_PX + SQUARE_PX * (len(names) - 1)
    draw_plot(alt.layer(*layers), height)


def draw_scatter(
    points: Sequence[tuple[str, Estimate, Estimate]], x_title: str, y_title: str
) -> None:
    """Draw named points with the intervals of both of their values."""
    rows = []
    for name, x, y in points:
        row: dict[str, object] = {"name": one_line(name, 60), "x": x.value, "y": y.value}
        row |= {f"x_{end}": at for end, at in _ends(x).items()}
        row |= {f"y_{end}": at for end, at in _ends(y).items()}
        rows.append(row)
    data = plot_of(rows)
    values = (at for row in rows for at in row.values() if isinstance(at, float))
    axis = alt.Axis(format=tick_format(".0%", values), tickCount=5)
    scale = alt.Scale(zero=False, nice=True)
    x_axis = alt.X("x:Q", title=x_title, axis=axis, scale=scale)
    y_axis = alt.Y("y:Q", title=y_title, axis=axis, scale=scale)
    colour = alt.Color("name:N", title=None, legend=legend())
    tooltip = tooltips(("name:N", ""), ("x:Q", x_title, ".0%"), ("y:Q", y_title, ".0%"))
    draw_plot(
        alt.layer(
            data.mark_rule(color=RULE, strokeWidth=2, opacity=0.4).encode(
                x=alt.X("x_low:Q", title=x_title), x2="x_high:Q", y=y_axis, color=colour
            ),
            data.mark_rule(color=RULE, strokeWidth=2, opacity=0.4).encode(
                y=alt.Y("y_low:Q", title=y_title), y2="y_high:Q", x=x_axis, color=colour
            ),
            data.mark_circle(size=140, opacity=1).encode(
                x=x_axis, y=y_axis, color=colour, tooltip=tooltip
            ),
        ),
        320,
    )


def draw_days(days: Sequence[tuple[str, str, int]], title: str) -> None:
    """Draw cards by day, stacked by rater; given are day, rater's name, cards."""
    rows = [{"day": day, "rater": one_line(rater, 40), "cards": n} for day, rater, n in days]
    draw_plot(
        plot_of(rows)
        .mark_bar(cornerRadiusEnd=3)
        .encode(
            x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=-40, labelOverlap=True)),
            y=alt.Y("cards:Q", title=title, axis=COUNTS),
            color=alt.Color("rater:N", title=None, legend=legend(200)),
            tooltip=tooltips(
                ("day:O", ""), ("rater:N", t("insights.rater")), ("cards:Q", title, ",")
            ),
        ),
        260,
    )


def _values(dots: Sequence[Dot]) -> Iterable[float]:
    for dot in dots:
        for found in (dot.found, *(alone for _, alone in dot.by_rater)):
            yield from (found.value, *_ends(found).values())


def _ends(found: Estimate) -> dict[str, float]:
    if found.low is None or found.high is None:
        return {}
    return {"low": found.low, "high": found.high}


def label_axis(names: Sequence[str], **given: Any) -> alt.Axis:
    """Return the axis of rows or columns that are numbered from 0, labelled with their names.

    Numbers and not names, so that two names that are cut to the same words stay two rows.
    """
    lines = json.dumps([label_lines(name) for name in names], ensure_ascii=False)
    return alt.Axis(
        labelExpr=f"{lines}[datum.value]",
        labelLimit=LABEL_PX,
        labelFontSize=12,
        ticks=False,
        domain=False,
        **given,
    )


def label_lines(name: str) -> list[str]:
    """Return a name on at most ``LINES`` lines, broken at a space where there is one."""
    lines: list[str] = []
    left = one_line(name, 200)
    while left and len(lines) < LINES:
        n = _fitting(left)
        if n < len(left):
            space = left.rfind(" ", 1, n + 1)
            n = space if space > n // 2 else n
        lines.append(left[:n].rstrip())
        left = left[n:].lstrip()
    if left:
        lines[-1] = f"{lines[-1][:-1].rstrip()}…"
    return lines or [""]


def _fitting(text: str) -> int:
    """Return how many letters fit into a line, at least one."""
    width = 0
    for n, letter in enumerate(text):
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > LINE_WIDTH:
            return max(1, n)
    return len(text)
