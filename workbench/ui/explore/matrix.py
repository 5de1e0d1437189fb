"""Explore: questions against their reasonings, filtered and paged by the store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import streamlit as st

from db.questions import QuestionFacets, question_facets
from db.rating.summaries import Liking, likings_counted
from db.texts.facets import TextFacets, facets_at_once
from db.texts.matrix import MatrixFilter, MatrixRow, matrix
from db.texts.rows import TABLES
from serving.checks import CHECKS
from workbench.ui.components import url
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.labels import count
from workbench.ui.components.live import wait_for
from workbench.ui.components.parts import empty_state, heading
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line
from workbench.ui.explore.cells import COLOURINGS, Colouring, draw_cell, open_item

PAGE_SIZE = 20
MOST_CELLS = 4
WORDS = 150
"""Characters of a question in its row."""


def draw_matrix() -> None:
    """Draw the questions and cells that the filters in the URL let through."""
    heading(t("explore.title"), t("explore.lead"))
    facets = read_facets()
    if not facets.texts.models and not facets.questions.total:
        _draw_empty()
        return
    wanted = draw_filters(facets)
    if wanted.liking and not _is_counted(wanted):
        wait_for(t("explore.counting"), partial(_is_counted, wanted))
        return
    with database().read() as session:
        page = matrix(
            session,
            wanted,
            url.number("page") or 1,
            page_size=PAGE_SIZE,
            max_cells=MOST_CELLS,
        )
    if not page.rows:
        _draw_nothing(has_texts=bool(facets.texts.models))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(counted("questions", page.total, is_capped=page.is_capped), width="content")
        st.space("stretch")
        colouring = _choose_colouring()
    width = max(len(row.cells) for row in page.rows)
    for row in page.rows:
        _draw_row(row, width, colouring)
    url.pages("page", page.total, PAGE_SIZE)


def _is_counted(wanted: MatrixFilter) -> bool:
    with database().read() as session:
        return likings_counted(session, wanted.kinds)


def _choose_colouring() -> Colouring:
    chosen = url.segments(
        "colour", t("explore.colour"), COLOURINGS, lambda value: t(f"explore.colour.{value}")
    )
    return "finding" if chosen == "finding" else "rating"


def _draw_row(row: MatrixRow, width: int, colouring: Colouring) -> None:
    with st.container(key=f"row_q{row.question_id}"):
        question, *columns = st.columns([1.1, *([1] * width)], gap="small")
        with question, st.container(key=f"asked_q{row.question_id}", gap=None):
            st.button(
                escaped(one_line(row.excerpt, WORDS)),
                key=f"open_q{row.question_id}",
                type="tertiary",
                wrap=True,
                width="stretch",
                on_click=open_item,
                args=(f"q{row.question_id}",),
            )
            facts = [f"**q{row.question_id}**", word("role", row.role)]
            facts += [word("language", row.language)] if row.language else []
            st.caption(" · ".join([facts[0], *map(escaped, facts[1:])]))
            if row.n_cells > len(row.cells):
                st.button(
                    t("explore.more", n=row.n_cells - len(row.cells)),
                    key=f"more_q{row.question_id}",
                    icon=":material/more_horiz:",
                    type="tertiary",
                    on_click=open_item,
                    args=(f"q{row.question_id}",),
                )
        for column, cell in zip(columns, row.cells, strict=False):
            with column:
                draw_cell(cell, colouring)


def _draw_empty() -> None:
    with empty_state("explore", "help_center", "questions.none"):
        page_link("questions", t("explore.to_questions"), "add")


def _draw_nothing(*, has_texts: bool) -> None:
    """Say that the filters let nothing through, or that there is nothing yet."""
    if has_texts or any(url.parameter(name) for name in FILTERS):
        with empty_state("nothing", "filter_alt_off", "questions.nothing"):
            st.button(t("questions.reset"), on_click=url.clear, args=(*FILTERS, "page"))
        return
    with empty_state("texts", "forum", "explore.no_texts"):
        page_link("sweeps", t("question.new_sweep"), "add", new="1")


FILTERS = (
    "find", "sweep", "model", "role", "format", "language", "tag", "rating", "check", "finish",
    "of",
)  # fmt: skip
NO_FINDING = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """What there is to filter by."""

    questions: QuestionFacets
    texts: TextFacets


def read_facets() -> Facets:
    """Return what there is to filter by; numbers that take long to count come with a later look."""
    with database().read() as session:
        return Facets(questions=question_facets(session), texts=facets_at_once(session))


def draw_filters(facets: Facets) -> MatrixFilter:
    """Draw the filters; return what is chosen."""
    texts = facets.texts
    search = url.search_box(
        "find", t("questions.search"), t("explore.search_hint"), resets=("page",)
    )
    with st.container(horizontal=True, key="filters"):
        sweep = _choose(
            "sweep", {str(i): n for i, (_, n) in texts.sweeps.items()}, _named(texts.sweeps)
        )
        model = _choose(
            "model", {str(i): n for i, (_, n) in texts.models.items()}, _named(texts.models)
        )
        role = _choose("role", texts.roles, _word("role"))
        form = _choose("format", texts.formats)
        language = _choose("language", facets.questions.languages, _word("language"))
        tag = _choose("tag", facets.questions.tags)
        rating = _choose("rating", dict.fromkeys(get_args(Liking)), _word("explore.liking"))
        checks = _checks(texts)
        check = _choose("check", {NO_FINDING: None, **checks}, _word("check"))
        finish = _choose("finish", texts.finish_reasons, _word("finish"))
        kind = _choose("of", dict.fromkeys(TABLES), _word("table.kind"))
    return MatrixFilter(
        search=search,
        tags=_one(tag),
        languages=_one(language),
        kind="variant" if kind == "variant" else "answer" if kind == "answer" else None,
        sweep_id=int(sweep) if sweep else None,
        model_version_ids=(int(model),) if model else (),
        formats=_one(form),
        roles=_one(role),
        finish_reasons=_one(finish),
        with_flags=_one(check) if check != NO_FINDING else (),
        has_flags=False if check == NO_FINDING else None,
        liking=next((one for one in get_args(Liking) if one == rating), None),
    )


def _checks(texts: TextFacets) -> dict[str, int | None]:
    """Return every check with its number of findings; none where nothing is counted yet."""
    none: int | None = 0 if texts.checks else None
    return {name: texts.checks.get(name, none) for name in CHECKS} | texts.checks


def _choose(
    name: str, values: Mapping[str, int | None], show: Callable[[str], str] | None = None
) -> str | None:
    """Draw one filter.

    Args:
        name: Of the filter in the URL and in the catalogue.
        values: Each value with its count; None where it is not counted.
        show: How a value is said; None: as it is.
    """

    def shown(value: str) -> str:
        said = one_line(show(value) if show else value, 40)
        n = values[value]
        return said if n is None else f"{said} ({count(n)})"

    return url.choose(
        name,
        t(f"explore.filter.{name}"),
        tuple(values),
        shown,
        any_label=t("any"),
        resets=("page",),
        help=t(f"explore.filter.{name}_help"),
    )


def _named(found: Mapping[int, tuple[str, Any]]) -> Callable[[str], str]:
    return lambda value: found[int(value)][0]


def _word(prefix: str) -> Callable[[str], str]:
    return lambda value: word(prefix, value)


def _one(value: str | None) -> tuple[str, ...]:
    return (value,) if value else ()
