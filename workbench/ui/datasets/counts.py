"""What became of the candidates of a dataset, as figures and one plot; nothing else is read."""

from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt
import streamlit as st

from training.datasets.balance import Caution
from workbench.reporting.cautions import caution_sentences
from workbench.ui.components.i18n import current_language, t, word
from workbench.ui.components.labels import count
from workbench.ui.components.parts import figures
from workbench.ui.components.plots import COUNTS, draw_plot, plot_of, tooltips
from workbench.ui.components.text import escaped

FATES = ("taken", "dropped", "not_taken")
COLOURS = ("#2f7d5b", "#c77d1e", "#8a949c")
"""Kept for good, taken and dropped after all, never taken."""
ROW_PX = 30


def draw_counts(counts: Mapping[str, Any], key: str, *, is_frozen: bool) -> None:
    """Draw the figures of a dataset and the plot of what each rule took and why rows fell out."""
    rows = counts["rows"]
    figures(
        key,
        [
            (t("dataset.train"), rows["train"], t("dataset.train_help")),
            (t("dataset.held_out"), rows["held_out"], t("dataset.held_out_help")),
            (t("dataset.questions"), counts["questions"], t("dataset.questions_help")),
            (t("dataset.ratings"), counts["ratings"], t("dataset.ratings_help")),
        ],
    )
    if counts["newly_held_out"] and not is_frozen:
        st.caption(t("dataset.newly_held_out", n=counts["newly_held_out"]))
    if counts.get("off_scale"):
        st.caption(t("dataset.off_scale", n=counts["off_scale"]))
    if counts.get("answer_seen"):
        st.caption(t("dataset.answer_seen", n=counts["answer_seen"]))
    bars = fates(counts)
    if not bars:
        return
    _draw_fates(bars)
    dropped = sum(counts["dropped"].values())
    st.caption(
        t(
            "dataset.adds_up",
            candidates=count(counts["candidates"]),
            kept=count(counts["kept"]),
            dropped=count(dropped),
            not_taken=count(sum(counts["not_taken"].values())),
        )
    )
    _draw_mix(counts)


def draw_cautions(found: Iterable[Caution]) -> None:
    """Draw what to know of the rows before they are trained."""
    for sentence in caution_sentences(found, current_language()):
        st.warning(escaped(sentence), icon=":material/balance:")


def fates(counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one bar for each rule and each reason: what took rows, what dropped them, what not."""
    bars = []
    for fate in FATES:
        for name, n in counts[fate].items():
            bars.append({"fate": t(f"dataset.fate.{fate}"), "name": _name(fate, name), "rows": n})
    return bars


def _name(fate: str, name: str) -> str:
    if fate == "taken":
        return word("dataset_rule", name)
    told = word("dataset_drop", name)
    return word("check", name) if told == name else told


def _draw_fates(bars: list[dict[str, Any]]) -> None:
    titles = [t(f"dataset.fate.{fate}") for fate in FATES]
    order = list(dict.fromkeys(bar["name"] for bar in bars))
    colour = alt.Color(
        "fate:N",
        title=None,
        scale=alt.Scale(domain=titles, range=list(COLOURS)),
        legend=alt.Legend(orient="top", labelLimit=240, columns=1),
    )
    chart = (
        plot_of(bars)
        .mark_bar(cornerRadiusEnd=3)
        .encode(
            y=alt.Y(
                "name:N",
                title=None,
                sort=order,
                axis=alt.Axis(
                    labelLimit=220, labelFontSize=12, ticks=False, domain=False, labelOverlap=False
                ),
            ),
            x=alt.X("rows:Q", title=t("dataset.axis.rows"), axis=COUNTS),
            color=colour,
            tooltip=tooltips(
                ("fate:N", ""), ("name:N", ""), ("rows:Q", t("dataset.axis.rows"), ",")
            ),
        )
    )
    draw_plot(chart, 170 + ROW_PX * len(order))


def _draw_mix(counts: Mapping[str, Any]) -> None:
    parts = []
    for key, prefix in (
        ("targets", "dataset_target"),
        ("roles", "role"),
        ("languages", "language"),
    ):
        shares = ", ".join(f"{word(prefix, name)} {n:,}" for name, n in counts[key].items())
        if shares:
            parts.append(f"{t(f'dataset.mix.{key}')} {shares}")
    if parts:
        st.caption("  \n".join(parts))
