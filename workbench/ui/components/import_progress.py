"""How far an import is, on the page: its phase and a bar."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from serving.importers.questions import OnProgress, Phase
from workbench.ui.components.i18n import t

_SOON_S = 1.0
"""An import that is done sooner needs no bar."""
_EVERY_S = 0.3


@contextmanager
def import_progress() -> Iterator[OnProgress]:
    """Yield what an import tells its progress to; the bar goes when it is done."""
    place = st.empty()
    due = time.monotonic() + _SOON_S

    def tell(phase: Phase, done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _EVERY_S
            share = min(done / total, 1.0) if total else 0.0
            place.progress(share, t(f"import.phase.{phase}", percent=round(100 * share)))

    try:
        yield tell
    finally:
        place.empty()
