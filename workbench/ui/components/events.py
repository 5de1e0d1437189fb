"""Components whose keys are taken in the browser, and what they tell the page, each thing once.

The browser keeps what it told until it is noted here as handled, and tells it again: neither a
reload nor a lost connection loses a key.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import streamlit as st

N_HANDLED: Final = 100
Event = Mapping[str, Any]


@st.cache_resource(show_spinner=False)
def component(folder: Path, name: str) -> Any:
    """Return the component of ``name.js``, ``name_view.js`` and ``name.css`` in a folder."""
    scripts = (Path(__file__).with_suffix(".js"), folder / f"{name}_view.js", folder / f"{name}.js")
    return st.components.v2.component(
        f"q2q_{name}",
        html=f'<div class="{name}"></div>',
        css=(folder / f"{name}.css").read_text("utf-8"),
        js="\n".join(script.read_text("utf-8") for script in scripts),
    )


def handled(key: str) -> list[str]:
    """Return the ids of events of the component ``key`` that need not be told again."""
    known: list[str] = st.session_state.get(f"{key}_handled", [])
    return known


def unhandled(key: str, events: Sequence[Event]) -> Iterator[Event]:
    """Yield the events that are not handled yet; each is, once the next one is asked for."""
    for event in events:
        if event.get("id") in handled(key):
            continue
        yield event
        newest = [*handled(key), str(event.get("id"))][-N_HANDLED:]
        st.session_state[f"{key}_handled"] = newest
