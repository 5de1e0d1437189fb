"""One item of the store, or two texts of one question side by side."""

import streamlit as st

from db.bulk import Page
from db.errors import Q2QError, UsageError
from db.identity import Ref, parse_ref
from db.lineage.read import lineage
from db.models import ModelRow, get_model
from db.questions import QuestionRow, get_question
from db.texts.grades import read_grades
from db.texts.matrix import MatrixCell, cells_of
from db.texts.provenance import ItemText, Provenance, comparable, item_text, provenance, question_of
from workbench.ui.components import url
from workbench.ui.components.controls import ITEM_PAGES, back_link, page_link, trail
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import model_note, parameters, size
from workbench.ui.components.parts import (
    card,
    check_badges,
    empty_state,
    item_head,
    section,
)
from workbench.ui.components.store import database
from workbench.ui.components.text import (
    MOST_CHARACTERS,
    escaped,
    marked_sides,
    one_line,
    show_text,
    told,
)
from workbench.ui.components.text_cards import (
    draw_grade,
    draw_lines,
    draw_reference,
    facts,
    forget_panel,
    how_button,
)
from workbench.ui.explore.lineage import draw_judgements, draw_lineage
from workbench.ui.explore.matrix import draw_cell, open_item
from workbench.ui.questions.list import draw_facts

PER_ROW = 4
PAGE_SIZE = 20
"""Cells of a question on one page."""
MAX_COMPARED = 2_000
"""Of a text that is compared word by word; longer ones would take too long."""
VIEWS = ("marked", "plain")


def draw_item(name: str) -> None:
    """Draw the item called ``name``, e.g. ``v12``, or say that there is none."""
    forget_panel()
    row = back_link(t("explore.back"), leave)
    try:
        ref = parse_ref(name)
        with database().read() as session:
            found = lineage(session, ref)
    except Q2QError:
        missing(name)
        return
    trail(row, str(ref))
    {
        "question": _draw_question,
        "variant": _draw_text,
        "answer": _draw_text,
        "generation": _draw_text,
        "model": _draw_model,
        "dataset": _draw_elsewhere,
        "training_run": _draw_elsewhere,
        "round": _draw_elsewhere,
    }[ref.kind](ref)
    draw_judgements(ref)
    draw_lineage(found)


def leave() -> None:
    """Go back to the matrix as it was."""
    url.clear("id", "with", "all", "part")


def missing(name: str) -> None:
    """Say that nothing is called ``name``."""
    st.error(t("explore.missing", id=escaped(one_line(name, 40))))


def title(ref: Ref) -> str:
    """Return what an item is called."""
    return t(f"explore.item.{ref.kind}", id=ref.id)


def link_to(ref: Ref) -> None:
    """Draw the link that leads here from anywhere."""
    address = (st.context.url or "explore").split("?")[0]
    with st.popover(t("explore.link"), icon=":material/link:", type="tertiary"):
        st.caption(t("explore.link_help"))
        st.code(f"{address}?id={ref}", language=None, wrap_lines=True)


def _head(ref: Ref) -> None:
    with item_head("item", title(ref)):
        st.space("stretch")
        link_to(ref)


def _draw_elsewhere(ref: Ref) -> None:
    """Draw the head of an item that has a page of its own, and the way there."""
    page, name, _ = ITEM_PAGES[ref.kind]
    _head(ref)
    page_link(page, t("explore.own_page"), "open_in_new", **{name: ref.id})


def _draw_question(ref: Ref) -> None:
    with database().read() as session:
        row: QuestionRow = get_question(session, ref.id)
        cells: Page[MatrixCell] = cells_of(session, ref.id, url.number("part") or 1, PAGE_SIZE)
    _head(ref)
    with card("item"):
        _show(ItemText(text=row.text[: _most() or None], n_characters=len(row.text)))
        if row.context:
            st.caption(t("question.context"))
            show_text(row.context)
        draw_reference(row)
        draw_facts(row)
        page_link("questions", t("explore.question_page"), "open_in_new", question=ref.id)
    section(t("question.texts"))
    if not cells.rows:
        empty_state("texts", "forum", "question.no_texts")
    for start in range(0, len(cells.rows), PER_ROW):
        for column, cell in zip(
            st.columns(PER_ROW), cells.rows[start : start + PER_ROW], strict=False
        ):
            with column:
                draw_cell(cell, "rating")
    url.pages("part", cells.total, PAGE_SIZE)


def _draw_text(ref: Ref) -> None:
    with database().read() as session:
        text = item_text(session, ref, _most())
        origin: Provenance = provenance(session, ref, limit=1)
    _head(ref)
    with card("item"):
        if origin.generation is not None and origin.generation.error is not None:
            st.error(told(origin.generation.error))
        else:
            _show(text)
        if ref.kind != "generation":
            check_badges(origin.checks)
        if ref.kind == "answer":
            _draw_grade(ref.id, origin.question)
        _draw_question_line(origin.question)
    if ref.kind != "generation":
        _choose_other(ref)
    with st.expander(t("how.title"), icon=":material/info:", expanded=False):
        draw_lines(facts(origin))
        how_button(str(ref), t("explore.exact"))


def _draw_grade(answer_id: int, question: QuestionRow) -> None:
    with database().read() as session:
        grade = read_grades(session, [answer_id]).get(answer_id)
    if grade is not None:
        draw_grade(grade)
    draw_reference(question)


def _draw_question_line(row: QuestionRow) -> None:
    st.button(
        f"{row.ref} · {escaped(one_line(row.text, 160))}",
        key="to_question",
        icon=":material/help_center:",
        type="tertiary",
        wrap=True,
        on_click=open_item,
        args=(row.ref,),
    )


def _choose_other(ref: Ref) -> None:
    """Draw the choice of a second text of the same question, to read both side by side."""
    with database().read() as session:
        others = comparable(session, ref)
    if others:
        url.choose(
            "with",
            t("explore.compare"),
            tuple(others),
            lambda name: f"{name} · {one_line(others[name], 70) or t('text.empty')}",
            any_label=t("explore.compare_any"),
            help=t("explore.compare_help"),
        )


def _draw_model(ref: Ref) -> None:
    with database().read() as session:
        model: ModelRow = get_model(session, ref.id)
    _head(ref)
    with card("item"):
        st.text(model.name, width="stretch")
        lines = [
            (t("explore.model.kind"), word("explore.model_kind", model.kind)),
            (t("how.weights"), model.digest or t("model.undigested")),
            (
                t("explore.model.precision"),
                word("precision", model.precision) if model.precision else t("model.untold"),
            ),
            (
                t("explore.model.size"),
                f"{parameters(model.n_parameters)} · {size(model.size_bytes)}",
            ),
            (t("explore.model.architecture"), model.architecture or "–"),
            (t("explore.model.from"), model.hub_id or model.path or "–"),
            (t("how.when"), f"{model.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ]
        draw_lines(lines)
        if note := model_note(model):
            st.caption(note)


def _most() -> int | None:
    """Return how many characters of a text are read; all of them where the visitor asked."""
    return None if url.parameter("all") else MOST_CHARACTERS


def _show(text: ItemText) -> None:
    """Draw a text, and what shows the rest of it."""
    show_text(text.text, most=max(1, len(text.text)))
    if text.n_characters > len(text.text):
        st.caption(t("explore.cut", shown=len(text.text), total=text.n_characters))
        st.button(
            t("explore.show_all"),
            icon=":material/unfold_more:",
            type="tertiary",
            on_click=url.put,
            args=("all", "1"),
        )


def draw_comparison(name: str, other: str) -> None:
    """Draw the texts called ``name`` and ``other``, or say what is wrong with them."""
    row = back_link(t("explore.back"), leave)
    try:
        refs = parse_ref(name), parse_ref(other)
        with database().read() as session:
            questions = {question_of(session, ref) for ref in refs}
            texts = [item_text(session, ref, MOST_CHARACTERS) for ref in refs]
            question = get_question(session, min(questions))
    except UsageError:
        missing(f"{name}, {other}")
        return
    if len(questions) > 1:
        st.error(t("explore.other_question", a=str(refs[0]), b=str(refs[1])))
        return
    title = t("explore.compare_title", a=str(refs[0]), b=str(refs[1]))
    trail(row, title)
    with item_head("compare", title):
        st.space("stretch")
        view = url.segments(
            "view", t("explore.compare"), VIEWS, lambda value: t(f"explore.view.{value}")
        )
    st.text(one_line(question.text, 300), width="stretch")
    _draw_sides(refs, texts, is_marked=view == "marked")


def _draw_sides(refs: tuple[Ref, Ref], texts: list[ItemText], *, is_marked: bool) -> None:
    before, after = (text.text for text in texts)
    marked = marked_sides(before, after, MAX_COMPARED) if is_marked else None
    if marked:
        st.caption(t("explore.marked", a=str(refs[0]), b=str(refs[1])))
    elif is_marked:
        st.caption(t("explore.too_long", most=MAX_COMPARED))
    for side, (column, ref, text) in enumerate(zip(st.columns(2), refs, texts, strict=True)):
        with column, card(f"side_{side}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{title(ref)}**", width="content")
                st.space("stretch")
                st.button(
                    t("questions.open"),
                    key=f"open_{side}",
                    icon=":material/arrow_forward:",
                    type="tertiary",
                    on_click=open_item,
                    args=(str(ref),),
                )
            if marked and marked[side].strip():
                st.markdown(marked[side])
            else:
                show_text(text.text)
            if text.n_characters > len(text.text):
                st.caption(t("explore.cut", shown=len(text.text), total=text.n_characters))
