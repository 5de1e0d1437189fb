"""The matrix in the browser: what it is told, and what it tells of keys, cells and scrolling.

Where one is (the row, the open cell, the columns compared) stands in the
address.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import streamlit as st

from db.database import Database
from db.errors import Q2QError
from db.identity import json_hash
from db.rating.ratings import OK, Scope
from db.settings import settings
from workbench.matrix.columns import Column, Design
from workbench.matrix.rating import rate_in_place
from workbench.matrix.rows import (
    MatrixQuery,
    counted_levels,
    matrix_design,
    matrix_mark,
    matrix_totals,
)
from workbench.matrix.totals import CountedLevels
from workbench.rating.axes import load_axes, store_axes
from workbench.ui.components import url
from workbench.ui.components.controls import path_of
from workbench.ui.components.events import Event, component, handled, unhandled
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.keys import Key, for_script
from workbench.ui.components.rater import current_rater
from workbench.ui.components.store import database
from workbench.ui.components.text import told
from workbench.ui.matrix.data import (
    OPENED,
    column_data,
    detail_data,
    factor_label,
    row_data,
    texts,
)
from workbench.ui.rating.edit import open_edit

HERE: Final = Path(__file__).parent
KEY: Final = "matrix"
START: Final = "matrix_start"
STAMP: Final = "matrix_stamp"
TROUBLE: Final = "matrix_trouble"
REDRAW: Final = "matrix_redraw"
OPEN: Final = "matrix_open"
WINDOW: Final = 10
"""Rows that are read and sent together: those in view and their neighbours."""
KEYS: Final = (Key.OK, Key.NOT_OK, Key.UNDO, Key.EDIT, Key.RATE, Key.SUBMIT, Key.LEAVE)
RATINGS: Final[dict[str, float | None]] = {"yes": 1.0, "no": 0.0, "undo": None}


def draw_grid(
    query: MatrixQuery,
    rows: Sequence[int],
    counted: CountedLevels | None,
    *,
    is_moving: bool,
    until_counted: bool,
) -> None:
    """Draw the matrix of ``rows``; its totals where all levels are ``counted``.

    Args:
        query: What is shown.
        rows: Its questions.
        counted: All levels, as of when the page was drawn.
        is_moving: Texts still come, or came since: levels are counted anew each time.
        until_counted: All have come; once they are counted the page need not look again.
    """
    follow()
    if st.session_state.pop(REDRAW, False):
        st.rerun()  # what stands around the matrix tells of it, too
    if trouble := st.session_state.pop(TROUBLE, None):
        sentence = told(trouble)
        if is_moving:  # the next look at the sweep would wipe it away
            st.toast(sentence, icon=":material/error:", duration="long")
        else:
            st.error(sentence, icon=":material/error:")
    rater = current_rater()
    view = json_hash({"query": repr(query), "n": len(rows), "lang": current_language()})
    if st.session_state.get(f"{START}_of") != view:
        st.session_state[f"{START}_of"] = view
        st.session_state[START] = max(0, (url.number("row") or 0) - 1)
    start = min(int(st.session_state[START]), max(0, len(rows) - 1))
    window = list(enumerate(rows))[start : start + WINDOW]
    with database().read() as session:
        if is_moving:
            counted = counted_levels(session, query.sweep_ids)
            if until_counted and counted is not None and counted.mark == matrix_mark(session):
                st.rerun()
        design = matrix_design(session, query, rows, counted, [id for _, id in window])
        columns = design.columns
        found = None
        if counted is not None:
            found = matrix_totals(session, query, design, counted, rows)
        diff = compared(design)
        rater_id = rater[0] if rater else None
        shown = row_data(session, design, window, query.sweep_ids, diff=diff, rater_id=rater_id)
        opened = _opened(session, design, query, rater_id)
        mark = matrix_mark(session)
    component(HERE, "matrix")(
        key=KEY,
        data={
            "id": view,
            "stamp": repr((mark, st.session_state.get(STAMP), columns, diff)),
            "n": len(rows),
            "row": url.number("row") or 0,
            "rows": shown,
            "columns": column_data(design, columns, found),
            "factors": [{"name": name, "label": factor_label(name)} for name in design.by],
            "diff": diff,
            "detail": opened,
            "handled": handled(KEY),
            "keys": for_script(KEYS),
            "words": texts(),
        },
        height="content",
        on_events_change=lambda: _receive(query, columns),
    )


def compared(design: Design) -> list[int]:
    """Return the places of the columns that the address asks to compare: at most two."""
    found = [design.find(key) for key in url.values("diff")]
    return [place for place in found if place is not None][:2]


def _opened(
    session: Any, design: Design, query: MatrixQuery, rater_id: int | None
) -> dict[str, Any] | None:
    question, column = url.number("cell"), design.find(url.parameter("col"))
    if question is None or column is None:
        return None
    most = st.session_state.get(OPEN, OPENED)
    return detail_data(session, design, question, column, query.sweep_ids, rater_id, most=most)


def _receive(query: MatrixQuery, columns: Sequence[Column]) -> None:
    receive(query, columns, st.session_state[KEY].get("events") or [])


def receive(query: MatrixQuery, columns: Sequence[Column], events: Sequence[Event]) -> None:
    """Do what the browser tells, in order; what the store refuses is said and not tried again."""
    for event in unhandled(KEY, events):
        try:
            act = ACTS.get(str(event.get("act")))
            if act is not None:
                act(event, columns)
        except Q2QError as error:
            st.session_state[TROUBLE] = str(error)


def _ask(event: Event, columns: Sequence[Column]) -> None:
    st.session_state[START] = max(0, _number(event.get("start")) or 0)


def _row(event: Event, columns: Sequence[Column]) -> None:
    row = _number(event.get("row"))
    url.put("row", str(row) if row else None)


def _open(event: Event, columns: Sequence[Column]) -> None:
    question, column = _number(event.get("question")), _number(event.get("column"))
    if question is not None and column is not None and column < len(columns):
        url.change({"cell": str(question), "col": columns[column].key})
        st.session_state.pop(OPEN, None)


def _close(event: Event, columns: Sequence[Column]) -> None:
    url.clear("cell", "col")


def _more(event: Event, columns: Sequence[Column]) -> None:
    st.session_state[OPEN] = st.session_state.get(OPEN, OPENED) + OPENED


def _group(event: Event, columns: Sequence[Column]) -> None:
    factors = [one for one in event.get("factors") or () if isinstance(one, str)]
    url.change({"by": factors, "diff": None, "cell": None, "col": None})
    st.session_state[REDRAW] = True


def _compare(event: Event, columns: Sequence[Column]) -> None:
    places = [_number(one) for one in event.get("columns") or ()]
    keys = [columns[one].key for one in places if one is not None and one < len(columns)]
    url.put("diff", keys[:2])
    st.session_state[REDRAW] = True


def _rate(event: Event, columns: Sequence[Column]) -> None:
    rater = current_rater()
    if rater is None:
        st.session_state[TROUBLE] = t("matrix.who")
        return
    _store_rating(database(), rater[0], event)
    st.session_state[STAMP] = st.session_state.get(STAMP, 0) + 1


def _store_rating(store: Database, rater_id: int, event: Event) -> None:
    answer, reasoning = _number(event.get("answer")), _number(event.get("reasoning"))
    act = str(event["act"])
    axis, value = OK, RATINGS.get(act)
    if act == "value":
        axis = _first_axis("reasoning" if answer is None else "answer")
        value = float(_number(event.get("value")) or 0)
    with store.write() as session:
        if axis != OK:
            store_axes(session, "reasoning" if answer is None else "answer")
        rate_in_place(
            session, rater_id, answer_id=answer, variant_id=reasoning, value=value, axis=axis
        )


def _first_axis(scope: Scope) -> str:
    return load_axes(settings().home_dir)[scope][0].name


def _edit(event: Event, columns: Sequence[Column]) -> None:
    if current_rater() is None:
        st.session_state[TROUBLE] = t("matrix.who")
        return
    question, reasoning = _number(event.get("question")), _number(event.get("reasoning"))
    if question is not None:
        open_edit(question, [] if reasoning is None else [reasoning])
        st.session_state[REDRAW] = True


def _queue(event: Event, columns: Sequence[Column]) -> None:
    sweep = url.parameter("sweep") or ""
    st.session_state["matrix_go"] = ("rating", {"new": "1", **({"sweep": sweep} if sweep else {})})


def follow() -> None:
    """Go where a key led."""
    if wanted := st.session_state.pop("matrix_go", None):
        page, parameters = wanted
        st.switch_page(path_of(page), query_params=parameters)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


ACTS: Final[dict[str, Callable[[Event, Sequence[Column]], None]]] = {
    "ask": _ask,
    "row": _row,
    "open": _open,
    "close": _close,
    "compare": _compare,
    "edit": _edit,
    "rate": _queue,
    "more": _more,
    "group": _group,
    "value": _rate,
    **dict.fromkeys(RATINGS, _rate),
}
