"""The desk: one card of a queue at a time, rated by key; nothing on it tells who wrote what."""

import streamlit as st
from sqlalchemy.orm import Session

from db.dealing import Card
from db.errors import Q2QError
from db.questions import QuestionRow, get_question
from db.queues import QueueRow, get_queue, queue_progress
from db.ratings import Scope, Target
from db.settings import settings
from db.text_rows import TextRow, read_texts
from workbench.rating.axes import load_axes
from workbench.rating.desk import flag, look, pass_over, undo
from workbench.ui import url
from workbench.ui.i18n import t, word
from workbench.ui.parts import back_link, card, empty_state
from workbench.ui.rate_edit import draw_edit, start_edit
from workbench.ui.rate_pair import draw_marked_button, draw_pair, press
from workbench.ui.rate_single import draw_single, draw_tags_button
from workbench.ui.rate_table import draw_table
from workbench.ui.rater import current_rater, draw_rater
from workbench.ui.store import database
from workbench.ui.text import escaped, show_text

Texts = dict[int, TextRow]


def draw_desk(queue_id: int) -> None:
    """Draw the card that lies before the rater of this visit, or the reasoning being edited."""
    try:
        with database().read() as session:
            queue = get_queue(session, queue_id)
    except Q2QError:
        back_link(t("rate.back"), _leave)
        st.error(t("rate.missing", id=queue_id))
        return
    rater = current_rater()
    if rater is not None and url.parameter("edit"):
        draw_edit(queue, rater[0])
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        back_link(t("rate.back"), _leave)
        st.space("stretch")
        if rater is not None and queue.way != "table":
            _view_button()
        draw_rater()
    if rater is None:
        return
    if queue.way == "table" or url.parameter("view") == "table":
        _draw_progress(queue, rater[0])
        draw_table(queue, rater[0])
    else:
        st.fragment(_draw)(queue, rater[0])


def _leave() -> None:
    url.clear("queue", "edit", "edited", "view", "page")


def _view_button() -> None:
    """Draw the way from the cards to what was said of them, and back."""
    reviews = url.parameter("view") == "table"
    st.button(
        t("rate.cards_view" if reviews else "rate.review"),
        icon=":material/style:" if reviews else ":material/table_rows:",
        type="tertiary",
        shortcut="V",
        on_click=_turn,
        args=(None if reviews else "table",),
    )


def _turn(view: str | None) -> None:
    url.put("view", view)
    url.clear("page")


def _draw(queue: QueueRow, rater_id: int) -> None:
    dealt = look(database(), queue, rater_id)
    _draw_progress(queue, rater_id)
    if dealt is None:
        with empty_state("done", ":material/done_all:", t("rate.done"), t("rate.done_text")):
            _undo_button(queue, rater_id, "done")
        return
    with database().read() as session:
        question = get_question(session, dealt.item.target.question_id)
        reasonings, answers = _texts(session, dealt)
    _draw_question(question)
    if queue.way == "pair":
        draw_pair(queue, rater_id, dealt, reasonings, answers)
    else:
        axes = load_axes(settings().home_dir).get(queue.scope, [])
        draw_single(queue, rater_id, dealt, reasonings, answers, axes)
    _draw_bar(queue, rater_id, dealt)


def _draw_progress(queue: QueueRow, rater_id: int) -> None:
    with database().read() as session:
        progress = queue_progress(session, queue.id, rater_id)
    done = progress.submitted + progress.skipped + progress.discarded
    st.progress(
        min(1.0, done / progress.total),
        text=f"{escaped(queue.name)} · {t('rate.progress', done=done, total=progress.total)}",
    )


def _texts(session: Session, dealt: Card) -> tuple[Texts, Texts]:
    targets = [target for target in (dealt.item.target, dealt.item.other) if target]
    reasonings = [target.variant_id for target in targets if target.variant_id]
    answers = [target.answer_id for target in targets if target.answer_id]
    return read_texts(session, "variant", reasonings), read_texts(session, "answer", answers)


def _draw_question(question: QuestionRow) -> None:
    with card("asked"):
        show_text(question.text)
        if question.context:
            st.caption(t("question.context"))
            show_text(question.context)
        st.badge(word("role", question.role), icon=":material/theater_comedy:", color="blue")


def _draw_bar(queue: QueueRow, rater_id: int, dealt: Card) -> None:
    with st.container(horizontal=True, gap="xsmall", key="rate_more"):
        st.button(
            t("rate.skip"),
            key=f"skip_{dealt.id}",
            shortcut="S",
            icon=":material/redo:",
            type="tertiary",
            on_click=press,
            args=(pass_over, queue, rater_id, dealt.id),
        )
        _undo_button(queue, rater_id, dealt.id)
        st.button(
            t("rate.flag"),
            key=f"flag_{dealt.id}",
            shortcut="F",
            icon=":material/flag:",
            type="tertiary",
            help=t("rate.flag_help"),
            on_click=press,
            args=(flag, queue, rater_id, dealt.id),
        )
        draw_marked_button()
        if queue.way == "single":
            draw_tags_button(dealt)
        st.space("stretch")
        _edit_buttons(queue.scope, rater_id, dealt)


def _undo_button(queue: QueueRow, rater_id: int, key: str) -> None:
    st.button(
        t("rate.undo"),
        key=f"undo_{key}",
        shortcut="U",
        icon=":material/undo:",
        type="tertiary",
        on_click=press,
        args=(undo, queue, rater_id),
    )


def _edit_buttons(scope: Scope, rater_id: int, dealt: Card) -> None:
    left, right = sides(dealt)
    choices: list[tuple[str, str, tuple[int | None, ...]]]
    if scope == "answer" or right is None:
        choices = [("rate.edit", "E", (left.variant_id,))]
    else:
        choices = [
            ("rate.edit_left", "E", (left.variant_id,)),
            ("rate.edit_right", "Shift+E", (right.variant_id,)),
            ("rate.merge", "M", (left.variant_id, right.variant_id)),
        ]
    for name, key, parents in choices:
        ids = [parent for parent in parents if parent is not None]
        if ids and st.button(
            t(name), key=f"{name}_{dealt.id}", shortcut=key, icon=":material/edit:", type="tertiary"
        ):
            start_edit(dealt, rater_id, ids)
            st.rerun()
    if st.button(
        t("rate.write"),
        key=f"write_{dealt.id}",
        shortcut="W",
        icon=":material/add_notes:",
        type="tertiary",
    ):
        start_edit(dealt, rater_id, [])
        st.rerun()


def sides(dealt: Card) -> tuple[Target, Target | None]:
    """Return what lies left and right."""
    if dealt.swapped and dealt.item.other:
        return dealt.item.other, dealt.item.target
    return dealt.item.target, dealt.item.other
