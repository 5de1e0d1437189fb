"""What changes by itself: parts drawn again while work goes on, and figures computed meanwhile."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import streamlit as st

from db.tables import utc_now
from workbench.insights.background import CachedFigures, FigureKind, background_figures
from workbench.ui.components.controls import is_redrawn
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import ago
from workbench.ui.components.store import database
from workbench.ui.components.text import told

JOBS_POLL_S: Final = 2.0
"""Between looks at jobs, servers and what they have written."""
FIGURES_POLL_S: Final = 1.0
"""Between looks at what is being counted or computed."""
AT_ONCE: Final = 500
"""Ratings (or answers) up to which the page computes its figures itself."""

_T = TypeVar("_T")


def live(
    found: _T,
    read: Callable[[], _T],
    is_moving: Callable[[_T], object],
    draw: Callable[[_T], None],
    every: float = JOBS_POLL_S,
) -> None:
    """Draw what was found, again and again while it moves; the whole page once it is still.

    Args:
        found: What was read for the page, and is drawn first.
        read: Reads it anew.
        is_moving: Tells of what was read whether it changes by itself.
        draw: Draws it.
        every: Seconds between looks.
    """
    was_moving = bool(is_moving(found))
    just_read = [found]

    def look() -> None:
        now = just_read.pop() if just_read else read()
        if was_moving and not is_moving(now):
            st.rerun()
        token = is_redrawn.set(was_moving)
        try:
            draw(now)
        finally:
            is_redrawn.reset(token)

    st.fragment(run_every=every if was_moving else None)(look)()


def wait_for(text: str, is_there: Callable[[], bool]) -> None:
    """Say what is being counted beside the page; draw the page anew once it is there."""
    st.info(text, icon=":material/hourglass_top:")
    _rerun_once(is_there)


def read_figures(
    kind: FigureKind, asked: str, mark: str, compute: Callable[[], Any], *, n: int
) -> CachedFigures | None:
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
            return CachedFigures(figures=compute(), mark=mark, made_at=utc_now())

    def look() -> CachedFigures:
        return background_figures(kind, database().label, asked, mark)

    found = look()
    _draw_age(found, mark)
    if found.is_computing:
        _rerun_once(lambda: not look().is_computing)
    return found if found.figures is not None else None


def _draw_age(found: CachedFigures, mark: str) -> None:
    if found.error is not None:
        st.warning(t("insights.beside.failed", why=told(found.error, 300)))
    if found.figures is None:
        if found.is_computing:
            st.info(t("insights.beside.first"), icon=":material/hourglass_top:")
    elif found.mark != mark:
        which = "computing" if found.is_computing else "older"
        st.caption(f":material/history: {t(f'insights.beside.{which}', ago=ago(found.made_at))}")


def _rerun_once(is_there: Callable[[], bool]) -> None:
    """Draw the page anew once it is there; the run that draws it now does not look, nor wait."""
    just_looked = [True]

    def look() -> None:
        if just_looked:
            just_looked.clear()
        elif is_there():
            st.rerun()

    st.fragment(run_every=FIGURES_POLL_S)(look)()
