"""Explore: questions against their reasonings, filtered and paged by the store."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import streamlit as st

from db.questions import QuestionFacets, question_facets
from db.rating.summaries import Liking, RatingSummary, likings_counted
from db.texts.facets import TextFacets, facets_at_once
from db.texts.matrix import MatrixCell, MatrixFilter, MatrixRow, matrix
from db.texts.rows import TABLES
from serving.checks import BAD_FINDINGS, CHECKS
from workbench.ui.components import url
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.live import wait_for
from workbench.ui.components.parts import CHECK_LOOKS, empty_state, heading
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line
from workbench.ui.matrix.view import draw_matrix as draw_results
from workbench.ui.matrix.view import filter_remarks

Colouring = Literal["rating", "finding"]
COLOURINGS: tuple[Colouring, ...] = ("rating", "finding")
CELL_CHARACTERS = 110
"""Characters of a text in its cell."""
PAGE_SIZE = 20
MOST_CELLS = 4
QUESTION_CHARACTERS = 150
"""Characters of a question in its row."""
FILTERS = (
    "find", "sweep", "model", "precision", "role", "format", "language", "tag", "rating", "check",
    "finish", "said", "noted", "of",
)  # fmt: skip
NO_FINDING = "none"


VIEWS = ("cards", "matrix")


def draw_overview() -> None:
    """Draw the questions as cards, or against the design of what wrote them."""
    heading(t("explore.title"), t("explore.lead"))
    facets = read_facets()
    if not facets.texts.models and not facets.questions.total:
        _draw_empty()
        return
    view = url.segments("view", t("matrix.view"), VIEWS, lambda one: t(f"matrix.view.{one}"))
    if view == "matrix":
        draw_results(())
    else:
        draw_matrix(facets)


def draw_matrix(facets: "Facets") -> None:
    """Draw the questions and cells that the filters in the URL let through."""
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
                escaped(one_line(row.excerpt, QUESTION_CHARACTERS)),
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
    draw = partial(url.filter_by, texts="explore.filter")
    with st.container(horizontal=True, key="filters"):
        sweep = draw("sweep", values=_numbers(texts.sweeps), show=_named(texts.sweeps))
        model = draw("model", values=_numbers(texts.models), show=_named(texts.models))
        precision: tuple[str, ...] = ()
        if len(texts.precisions) > 1:
            precision = draw("precision", values=texts.precisions, show="precision")
        roles = draw("role", values=texts.roles, show="role")
        formats = draw("format", values=texts.formats)
        languages = draw("language", values=facets.questions.languages, show="language")
        tags = draw("tag", values=facets.questions.tags)
        rating = draw("rating", values=get_args(Liking), show="explore.liking")
        checks = draw("check", values={NO_FINDING: None, **_checks(texts)}, show="check")
        finish = draw("finish", values=texts.finish_reasons, show="finish")
        said, is_noted = filter_remarks()
        kind = draw("of", values=tuple(TABLES), show="table.kind")
    is_clean = checks == (NO_FINDING,)
    return MatrixFilter(
        search=search,
        tags=tags,
        languages=languages,
        kind=next((one for one in TABLES if one in kind), None),
        sweep_id=int(sweep[0]) if sweep else None,
        model_version_ids=tuple(map(int, model)),
        precisions=precision,
        formats=formats,
        roles=roles,
        finish_reasons=finish,
        with_flags=() if is_clean else checks,
        has_flags=False if is_clean else None,
        rater_tags=said,
        is_noted=is_noted,
        liking=next((one for one in get_args(Liking) if one in rating), None),
    )


def _checks(texts: TextFacets) -> dict[str, int | None]:
    """Return every check with its number of findings; none where nothing is counted yet."""
    none: int | None = 0 if texts.checks else None
    return {name: texts.checks.get(name, none) for name in CHECKS} | texts.checks


def _numbers(found: Mapping[int, tuple[str, int | None]]) -> dict[str, int | None]:
    return {str(number): n for number, (_, n) in found.items()}


def _named(found: Mapping[int, tuple[str, Any]]) -> Callable[[str], str]:
    return lambda value: found[int(value)][0]


def open_item(ref: str) -> None:
    """Go to the item; the filters stay in the URL, for the way back."""
    url.put("id", ref)
    url.clear("with", "all", "part")


def draw_cell(cell: MatrixCell, colouring: Colouring) -> None:
    """Draw the cell; all of its words are the button that opens it."""
    with st.container(key=f"cell_{_tone(cell, colouring)}_{cell.ref}", gap=None):
        st.button(
            escaped(one_line(cell.excerpt, CELL_CHARACTERS)) or t("text.empty"),
            key=f"open_{cell.ref}",
            type="tertiary",
            wrap=True,
            width="stretch",
            on_click=open_item,
            args=(cell.ref,),
        )
        st.caption(" · ".join(_facts(cell)))


def rating_summary(summary: RatingSummary) -> str:
    """Return a summary of ratings in a few signs, e.g. the mean and comparisons won and lost."""
    parts = []
    if summary.mean is not None:
        parts.append(f":material/star: {summary.mean:.1f} ({summary.n_values})")
    if compared := summary.won + summary.tied + summary.lost:
        parts.append(t("explore.won", won=summary.won, n=compared))
    if summary.n_ok + summary.n_not_ok:
        parts.append(t("explore.ok_share", ok=summary.n_ok, n=summary.n_ok + summary.n_not_ok))
    return " · ".join(parts)


def _facts(cell: MatrixCell) -> Iterable[str]:
    yield f"**{cell.ref}**"
    if cell.kind == "answer":
        yield t("results.plain")
    elif cell.source != "model":
        yield word("source", cell.source)
    if cell.rating is not None:
        yield rating_summary(cell.rating)
    if cell.remarks is not None:
        yield from (f":material/sell: {escaped(tag)}" for tag in cell.remarks.tags)
        if cell.remarks.notes:
            yield f":material/sticky_note_2: {counted('notes', len(cell.remarks.notes))}"
    if cell.n_answers:
        yield counted("answers", cell.n_answers)
    if cell.answers_rating is not None:
        yield t("explore.answers_rated", rating=rating_summary(cell.answers_rating))
    for name in cell.flags:
        yield _badge(name, word("check", name))
    for name, n in cell.answer_flags:
        yield _badge(name, t("explore.answers_found", n=n, check=word("check", name)))


def _badge(name: str, text: str) -> str:
    colour = CHECK_LOOKS.get(name, ("orange", ""))[0]
    return f":{colour}[{escaped(text)}]"


def _tone(cell: MatrixCell, colouring: Colouring) -> str:
    """Return the colour of a cell; what nobody rated, or no check found, has none."""
    if colouring == "rating":
        rating = cell.rating or cell.answers_rating
        return rating.liking if rating else "plain"
    return _tone_of_findings([*cell.flags, *(name for name, _ in cell.answer_flags)])


def _tone_of_findings(names: Sequence[str]) -> str:
    if not names:
        return "plain"
    return "disliked" if any(name in BAD_FINDINGS for name in names) else "mixed"
