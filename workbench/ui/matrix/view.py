"""The results matrix on a page: its filters, its columns, and the files that come out."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from db.jobs import active_jobs
from db.questions import question_facets
from db.rating.remarks import has_notes, known_tags
from db.sweeps import get_sweep, sweep_names
from workbench.i18n import Language, translate
from workbench.matrix.columns import Design, parse_conditions
from workbench.matrix.export import (
    MatrixSource,
    matrix_csv,
    matrix_html,
    matrix_parquet,
)
from workbench.matrix.rows import (
    SHOWN,
    MatrixQuery,
    counted_levels,
    matrix_design,
    matrix_mark,
    matrix_rows,
)
from workbench.matrix.totals import CountedLevels, accuracy_change, totals
from workbench.ui.components import url
from workbench.ui.components.controls import download
from workbench.ui.components.i18n import counted, current_language, t
from workbench.ui.components.live import wait_for
from workbench.ui.components.parts import empty_state
from workbench.ui.components.rater import current_rater, draw_rater
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line
from workbench.ui.matrix.component import compared, draw_grid, follow
from workbench.ui.matrix.data import factor_label, level_label
from workbench.ui.rating.edit import draw_edit_dialog

MOST_SWEEPS = 200
POLL_S = 2.0
"""How often the matrix of a sweep that runs looks for new texts."""
_OPEN = ("diff", "cell", "col")
PARAMETERS = (
    "also",
    "by",
    "only",
    "show",
    "find",
    "tag",
    "diff",
    "row",
    "cell",
    "col",
    "language",
    "said",
    "noted",
    "edit",
    "edited",
    "asked",
)
"""What the address says of a matrix."""


def draw_sweep_matrix(sweep_id: int) -> None:
    """Draw the matrix of a sweep, and of others beside it if they are chosen."""
    draw_matrix((sweep_id,))


def _choose_sweeps(given: tuple[int, ...]) -> list[int]:
    """Draw the choice of sweeps beside those ``given``; return their ids."""
    with database().read() as session:
        found = sweep_names(session, MOST_SWEEPS)
    names = {str(id): name for id, name in found.items() if id not in given}
    chosen = url.choose_several(
        "also",
        t("matrix.also" if given else "matrix.sweeps"),
        tuple(names),
        lambda id: f"{one_line(names[id], 60)} ({id})",
        any_label=t("matrix.also_any" if given else "matrix.sweeps_any"),
        resets=(*_OPEN, "row"),
    )
    return [int(one) for one in chosen]


def draw_matrix(sweep_ids: Sequence[int]) -> None:
    """Draw the matrix of these sweeps, and of those chosen; of all texts where there are none.

    It is a fragment: a filter draws it anew, and nothing of the page around it.
    """
    if rater := current_rater():
        draw_edit_dialog(rater[0])
    st.fragment(_draw)(tuple(sweep_ids))


def _draw(sweep_ids: tuple[int, ...]) -> None:
    follow()
    places = st.columns([3, 3, 3, 1.4], vertical_alignment="bottom")
    query = _query(sweep_ids, places)
    with database().read() as session:
        rows = matrix_rows(session, query)
        levels = counted_levels(session, query.sweep_ids)
        design = matrix_design(session, query, rows, levels)
    _draw_columns(design, places)
    is_running, is_old = _moves(query, levels)
    if rows and not design.known and (is_running or is_old):
        wait_for(t("matrix.coming"), partial(_is_there, query, rows))
        return
    if not rows or not design.known:
        with empty_state("matrix", "filter_alt_off", "matrix.none"):
            st.button(t("questions.reset"), on_click=url.clear, args=PARAMETERS)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        facts = [counted("questions", len(rows)), t("matrix.columns", n=len(design.columns))]
        st.caption(" · ".join(facts), width="content")
        st.space("stretch")
        if current_rater() is not None:
            draw_rater()
        draw_exports(query, rows)
    if current_rater() is None:
        with st.expander(t("matrix.who"), icon=":material/person:"):
            draw_rater()
    if levels is not None:
        _draw_change(design, query, levels, rows)
    poll = POLL_S if is_running or is_old else None
    st.fragment(run_every=poll)(draw_grid)(
        query, rows, levels, is_moving=is_running or is_old, until_counted=not is_running
    )
    st.caption(t("matrix.keys"))
    if levels is None:
        wait_for(t("matrix.counting_all"), partial(_is_counted, query))


def _moves(query: MatrixQuery, levels: CountedLevels | None) -> tuple[bool, bool]:
    """Tell whether texts still come, and whether some came since the levels were counted."""
    with database().read() as session:
        is_running = any(active_jobs(session, sweep_id=one) for one in query.sweep_ids)
        return is_running, levels is not None and levels.mark != matrix_mark(session)


def _is_there(query: MatrixQuery, rows: Sequence[int]) -> bool:
    """Tell whether there is something to show by now, or will be nothing."""
    with database().read() as session:
        levels = counted_levels(session, query.sweep_ids)
        if matrix_design(session, query, rows, levels).known:
            return True
    return not any(_moves(query, levels))


def _is_counted(query: MatrixQuery) -> bool:
    with database().read() as session:
        return counted_levels(session, query.sweep_ids) is not None


def _query(sweep_ids: tuple[int, ...], places: Sequence[DeltaGenerator]) -> MatrixQuery:
    with places[0]:
        search = url.search_box(
            "find", t("questions.search"), t("matrix.search_hint"), resets=("row",)
        )
    with places[3], st.popover(t("matrix.filters"), icon=":material/tune:", width="stretch"):
        also = _choose_sweeps(sweep_ids)
        with database().read() as session:
            facets = question_facets(session)
        draw = partial(url.filter_by, texts="questions")
        tags = draw("tag", values=facets.tags)
        languages = draw("language", values=facets.languages, show="language")
        said, is_noted = filter_remarks()
        shown = url.filter_by("show", "matrix", SHOWN[1:], "matrix.show")
    return MatrixQuery(
        sweep_ids=(*sweep_ids, *also),
        by=tuple(url.values("by")),
        only=parse_conditions(url.values("only")),
        search=search,
        tags=tags,
        languages=languages,
        rater_tags=said,
        is_noted=is_noted,
        show=next((one for one in SHOWN if one in shown), "all"),
    )


def filter_remarks() -> tuple[tuple[str, ...], bool]:
    """Draw the filters by tags and notes of raters, where there are any; return what is chosen."""
    with database().read() as session:
        tags, is_any_noted = known_tags(session), has_notes(session)
    draw = partial(url.filter_by, texts="explore.filter")
    said = draw("said", values=tags) if tags else ()
    noted = draw("noted", values=("yes",), show="explore.noted") if is_any_noted else ()
    return said, bool(noted)


def _draw_columns(design: Design, places: Sequence[DeltaGenerator]) -> None:
    """Draw the choice of factors that make the columns, in order, and of their levels."""
    with places[1]:
        url.choose_several(
            "by",
            t("matrix.by"),
            tuple(design.factors),
            factor_label,
            any_label=t("matrix.by_any"),
            resets=_OPEN,
            help=t("matrix.by_help"),
        )
    with places[2]:
        levels = [f"{name}={one}" for name, found in design.factors.items() for one in found]
        url.choose_several(
            "only",
            t("matrix.only"),
            levels,
            _condition_label,
            any_label=t("matrix.only_any"),
            resets=_OPEN,
        )


def _condition_label(condition: str) -> str:
    name, _, level = condition.partition("=")
    return f"{factor_label(name)}: {level_label(name, level)}"


def _levels(factor: str, levels: str) -> str:
    return escaped(", ".join(level_label(factor, one) for one in levels.split(", ")))


def _draw_change(
    design: Design, query: MatrixQuery, levels: CountedLevels, rows: Sequence[int]
) -> None:
    """Say how two compared columns differ: in their levels, and how often they are correct."""
    places = compared(design)
    if len(places) != 2:
        return
    before, after = (design.columns[place] for place in places)
    changes = [
        f"{factor_label(name)}: :red[{_levels(name, old)}] → :green[{_levels(name, new)}]"
        for name, old, new in design.differences(before, after)
    ]
    shown = rows if query.narrows else None
    change = accuracy_change(levels, design, before, after, shown)
    text = " · ".join(changes)
    if change is not None and change.low is not None and change.high is not None:
        span = f"{change.low:+.0%} – {change.high:+.0%}"
        text += f" · {t('matrix.change', change=f'{change.value:+.0%}', span=span)}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(text, width="content")
        is_over = st.button(t("matrix.stop_comparing"), icon=":material/close:", type="tertiary")
    if is_over:
        url.clear("diff")
        st.rerun()


MOST_ROWS = 2_000
"""Questions of one file; the page says where there are more."""


def draw_exports(query: MatrixQuery, rows: Sequence[int]) -> None:
    """Draw the button under which the files are; each is made when it is asked for."""
    with st.popover(t("matrix.export"), icon=":material/download:", type="tertiary"):
        st.caption(t("matrix.export_help", most=MOST_ROWS))
        files = (
            ("csv", "matrix.csv", "text/csv", "table_view"),
            ("parquet", "matrix.parquet", "application/vnd.apache.parquet", "dataset"),
            ("html", "matrix.html", "text/html", "public"),
        )
        language = current_language()
        for kind, name, mime, icon in files:
            download(
                t(f"matrix.export.{kind}"),
                _maker(kind, query, rows[:MOST_ROWS], language),
                name,
                mime=mime,
                icon=icon,
                type="tertiary",
            )


def _maker(
    kind: str, query: MatrixQuery, rows: Sequence[int], language: Language
) -> Callable[[], bytes]:
    def make() -> bytes:
        with database().read() as session:
            levels = counted_levels(session, query.sweep_ids)
            design = matrix_design(session, query, rows, levels, rows[:200])
            names = [get_sweep(session, one).name for one in query.sweep_ids]
        source = MatrixSource(
            database=database(), design=design, rows=rows, sweep_ids=query.sweep_ids
        )
        if kind == "csv":
            return matrix_csv(source)
        if kind == "parquet":
            return matrix_parquet(source)
        counted = None
        if levels is not None:
            counted = totals(levels, design, rows)
        title = ", ".join(names) or translate("matrix.title", language)
        return matrix_html(source, counted, title, language)

    return make
