"""Curves of training runs: those of one, and of several on one plot."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import altair as alt
import streamlit as st

from db.training import Curve, RunRow
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card, section
from workbench.ui.components.plots import draw_plot, legend, plot_of, tooltips
from workbench.ui.components.text import escaped

PLOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "loss": ("loss", "held_out_loss"),
    "learning_rate": ("learning_rate",),
    "grad_norm": ("grad_norm",),
    "tokens_per_second": ("tokens_per_second",),
    "memory_gib": ("memory_gib",),
    "preference": ("rewards/margins", "rewards/accuracies"),
}
"""Plot → the curves that share its axis."""
COMPARED: Final = ("loss", "held_out_loss", "tokens_per_second", "rewards/margins")
"""Curves that are drawn of several runs, a plot each."""
HEIGHT: Final = 200
LEGEND: Final = 60
"""What a legend takes of the height."""
FEW_POINTS: Final = 60
"""Up to so many points of a curve are marked; more would hide it."""


def draw_curves(curves: Mapping[str, Curve]) -> None:
    """Draw the curves of one run, those of the loss first and large."""
    drawn = [
        (plot, [curves[name] for name in names if name in curves]) for plot, names in PLOTS.items()
    ]
    drawn = [(plot, found) for plot, found in drawn if found]
    with card("curve_main"):
        section(t(f"training.plot.{drawn[0][0]}"))
        _draw_plot(_rows(drawn[0][1]), HEIGHT + 140)
    columns = st.columns(2)
    for place, (plot, found) in enumerate(drawn[1:]):
        with columns[place % 2], card(f"curve_{plot}"):
            section(t(f"training.plot.{plot}"))
            _draw_plot(_rows(found), HEIGHT)


def draw_loss(curves: Mapping[str, Curve]) -> None:
    """Draw the curves of the loss alone, small."""
    found = [curves[name] for name in PLOTS["loss"] if name in curves]
    if found:
        _draw_plot(_rows(found), HEIGHT + 80)


def draw_compared(
    runs: Sequence[RunRow], curves: Mapping[int, Mapping[str, Curve]], differ: Mapping[str, Any]
) -> None:
    """Draw the same curves of several runs on one plot, and the settings in which they differ.

    Args:
        runs: Which.
        curves: Of each, by its number.
        differ: Setting → its value in each run.
    """
    names = [name for name in COMPARED if any(name in curves[run.id] for run in runs)]
    for name in names:
        rows = [
            row
            for run in runs
            if name in curves[run.id]
            for row in _rows([curves[run.id][name]], [f"t{run.id}"])
        ]
        with card(f"compared_{name.partition('/')[0]}"):
            section(curve_name(name))
            _draw_plot(rows, HEIGHT + 80)
    if differ:
        section(t("training.differ"))
        rows = [
            {t("training.setting"): name}
            | {f"t{run.id}": _value(one) for run, one in zip(runs, values, strict=True)}
            for name, values in differ.items()
        ]
        st.table(
            [{key: escaped(value) for key, value in row.items()} for row in rows], hide_index=True
        )


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _rows(found: Iterable[Curve], names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    return [
        {"step": step, "value": value, "curve": names[place] if names else curve_name(curve.name)}
        for place, curve in enumerate(found)
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]


def _draw_plot(rows: list[dict[str, Any]], height: int) -> None:
    names = list(dict.fromkeys(row["curve"] for row in rows))
    few = len(rows) <= FEW_POINTS * len(names)
    point = alt.OverlayMarkDef(size=40 if few else 14, filled=True)
    first, last = min(row["step"] for row in rows), max(row["step"] for row in rows)
    chart = (
        plot_of(rows)
        .mark_line(point=point, strokeWidth=2)
        .encode(
            x=alt.X(
                "step:Q",
                title=t("training.step"),
                # ends a little outside: the first point, at 0 or 1, is seen whole
                scale=alt.Scale(domain=[first, max(last, first + 1)], nice=False, padding=10),
                axis=alt.Axis(grid=False, tickMinStep=1, format="d"),
            ),
            y=alt.Y(
                "value:Q",
                title=None,
                scale=alt.Scale(zero=False, padding=8),
                axis=alt.Axis(tickCount=6, format=",.4~r"),
            ),
            color=alt.Color(
                "curve:N", title=None, sort=names, legend=legend(260) if len(names) > 1 else None
            ),
            tooltip=tooltips(
                ("curve:N", ""), ("step:Q", t("training.step")), ("value:Q", "", ".4g")
            ),
        )
    )
    draw_plot(chart, height + (LEGEND if len(names) > 1 else 0))


def curve_name(name: str) -> str:
    """Return what a curve is called on a page."""
    short = name.removeprefix("rewards/")
    own = word("training", short)
    return own if own != short else word("training.plot", short)
