"""The panel that rates a card: keys are taken and shown in the browser, judgements stored here.

The browser binds every key to its axis and its card at once, in the order pressed, and sends a
judgement when it is whole; each is stored once, since it names its card.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import streamlit as st
from pydantic import ValidationError

from db.errors import Q2QError
from db.rating.assignment import Card
from db.rating.queues import QueueRow
from db.rating.ratings import HIGHEST, LOWEST
from workbench.rating.axes import Axis
from workbench.rating.card_events import (
    MAX_NOTE,
    MAX_TAG,
    MAX_TAGS,
    CardEvent,
    apply_event,
    entered_on,
)
from workbench.ui.components.events import Event, component, handled, unhandled
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.keys import Key, for_script
from workbench.ui.components.store import database, mark
from workbench.ui.components.text import one_line, told

HERE: Final = Path(__file__).parent
KEY: Final = "rate_panel"
KEYS: Final = (
    *(Key.LEFT, Key.RIGHT, Key.TIE, Key.BOTH_BAD, Key.OK, Key.NOT_OK, Key.SUBMIT, Key.BACK),
    *(Key.SKIP, Key.UNDO, Key.ASIDE, Key.TAGS, Key.NOTE),
)
KNOWN_TAGS: Final = "rate_tags_known"
TROUBLE: Final = "rate_trouble"
"""A sentence on what could not be stored, shown once."""
TEXTS: Final = (
    *("submit", "skip", "undo", "flag", "flag_help", "tags", "tags_placeholder"),
    *("ok", "ok_help", "ok_yes", "ok_no", "left_better", "right_better", "tie", "both_bad"),
    *("panel.label", "panel.missing", "panel.nothing", "panel.full", "panel.unsent"),
    *("panel.remove", "panel.note", "panel.note_placeholder"),
)
FILLED_THERE: Final = {"axes": "{axes}", "n": "{n}"}
"""What the browser fills in."""

Go = Callable[[str, str | None], None]
"""Leads where a key asks for, e.g. ``edit``; takes the id of the card that it was pressed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelButton:
    """Something that a key does beside rating."""

    name: str
    key: Key
    label: str = ""
    """Empty: the page shows a button of its own for it."""
    icon: str = ""
    help: str = ""
    is_always: bool = False
    """Also where all cards are rated."""
    opens_field: bool = False
    """What is typed next waits for the field that it leads into."""


def draw_panel(
    queue: QueueRow,
    rater_id: int,
    card: Card | None,
    axes: Sequence[Axis],
    buttons: Sequence[PanelButton],
    go: Go,
) -> None:
    """Draw what rates a card, or, where all are rated, what takes the last one back.

    Args:
        queue: The queue of the card.
        rater_id: Who rates.
        card: The card that lies there.
        axes: Scales of a card of one.
        buttons: What leads elsewhere.
        go: Called with the name of such a button.
    """
    if trouble := st.session_state.pop(TROUBLE, None):
        st.error(told(trouble), icon=":material/error:")
    component(HERE, "panel")(
        key=KEY,
        data={
            "drawn": time.monotonic_ns() // 1000,
            "store": f"{mark()}/{queue.id}/{rater_id}",
            "way": queue.way,
            "card": card.id if card else None,
            "entered": entered_on(card) if card else None,
            "axes": [_axis(axis) for axis in axes] if queue.way == "single" else [],
            "buttons": [asdict(button) for button in buttons],
            "known": st.session_state.get(KNOWN_TAGS, []),
            "handled": handled(KEY),
            "keys": for_script(KEYS),
            "most": {"tags": MAX_TAGS, "tag": MAX_TAG, "note": MAX_NOTE},
            "words": {name: t(f"rate.{name}", **FILLED_THERE) for name in TEXTS},
        },
        height="content",
        on_events_change=lambda: _receive(queue, rater_id, go),
    )


def _axis(axis: Axis) -> dict[str, Any]:
    language = current_language()
    ends = ((LOWEST, axis.low), (HIGHEST, axis.high))
    labelled = {value: one_line(axis.label_in(worded, language)) for value, worded in ends}
    return {
        "name": axis.name,
        "label": one_line(axis.label_in(axis.label, language)),
        "ends": " · ".join(f"{value} {text}" for value, text in labelled.items() if text),
        "values": list(range(LOWEST, HIGHEST + 1)),
    }


def _receive(queue: QueueRow, rater_id: int, go: Go) -> None:
    receive_events(queue, rater_id, st.session_state[KEY].get("events") or [], go)


def receive_events(queue: QueueRow, rater_id: int, events: Sequence[Event], go: Go) -> None:
    """Store what the browser tells, in order, and note what it need not tell again.

    What the store refuses stays with the browser, which sends it again; the page says why.
    """
    for given in unhandled(KEY, events):
        try:
            _handle(queue, rater_id, given, go)
        except Q2QError as error:
            st.session_state[TROUBLE] = str(error)
            return


def _handle(queue: QueueRow, rater_id: int, given: Event, go: Go) -> None:
    wanted = given.get("go")
    if wanted is not None:
        go(str(wanted), given.get("card"))
        return
    try:
        event = CardEvent.model_validate(given)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(str(step) for step in wrong["loc"])
        st.session_state[TROUBLE] = t("rate.panel.invalid", place=place, why=wrong["msg"])
        return
    if not apply_event(database(), queue, rater_id, event):
        st.session_state[TROUBLE] = t("rate.panel.gone")
    known = st.session_state.get(KNOWN_TAGS, [])
    if event.act == "rate":
        st.session_state[KNOWN_TAGS] = list(dict.fromkeys([*known, *event.clean_tags]))
