"""Figures on a page: a few are computed at once, many beside the app with the last ones shown."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from db.tables import utc_now
from workbench.analysis.kept import FigureKind, Kept, kept_figures
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import ago
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line

AT_ONCE = 500
"""Ratings (or answers) up to which the page computes its figures itself."""
POLL_S = 1.5


def read_figures(
    kind: FigureKind, asked: str, mark: str, compute: Callable[[], Any], *, n: int
) -> Kept | None:
    """Return the figures to show, saying how old they are; None while the first are computed.

    Args:
        kind: Which figures.
        asked: What they are of, as JSON.
        mark: Changes with all that they depend on.
        compute: Computes them here and now.
        n: How many rows they are computed from, about.
    """
    if n <= AT_ONCE:
        with st.spinner(t("insights.computing"), show_time=True):
            return Kept(figures=compute(), mark=mark, made_at=utc_now())
    found = kept_figures(kind, database().label, asked, mark)
    _draw_age(found, mark)
    if found.is_computing:
        st.fragment(run_every=POLL_S)(_wait)(kind, asked, mark)
    return found if found.figures is not None else None


def _draw_age(found: Kept, mark: str) -> None:
    if found.error is not None:
        st.warning(t("insights.beside.failed", why=escaped(one_line(found.error, 300))))
    if found.figures is None:
        if found.is_computing:
            st.info(t("insights.beside.first"), icon=":material/hourglass_top:")
    elif found.mark != mark:
        which = "computing" if found.is_computing else "older"
        st.caption(f":material/history: {t(f'insights.beside.{which}', ago=ago(found.made_at))}")


def _wait(kind: FigureKind, asked: str, mark: str) -> None:
    """Draw the page anew once newer figures are there."""
    if not kept_figures(kind, database().label, asked, mark).is_computing:
        st.rerun()
