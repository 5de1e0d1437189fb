"""One card of a queue at a time, rated by key; nothing on it tells who wrote what."""

from collections.abc import Callable

import streamlit as st
from sqlalchemy.orm import Session

from db.errors import Q2QError
from db.identity import short_hash
from db.questions import QuestionRow, get_question
from db.rating.assignment import Card, open_card
from db.rating.queues import QueueRow, get_queue, queue_progress
from db.rating.ratings import Scope, Target
from db.settings import settings
from db.texts.rows import TextRow, read_texts
from workbench.rating.axes import load_axes
from workbench.rating.cards import current_card
from workbench.ui.components import url
from workbench.ui.components.archive import draw_archive
from workbench.ui.components.controls import back_link, trail
from workbench.ui.components.drafts import recalled, remember
from workbench.ui.components.i18n import t, word
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import card, empty_state
from workbench.ui.components.rater import current_rater, draw_rater
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, show_marked, show_text
from workbench.ui.components.text_cards import draw_reference
from workbench.ui.rating.after import draw_after
from workbench.ui.rating.edit import draw_edit, start_edit
from workbench.ui.rating.overview import draw_overview
from workbench.ui.rating.panel import PanelButton, draw_panel
from workbench.ui.rating.table import draw_table, table_draft

Texts = dict[int, TextRow]
EDITS = ("edit", "edit_left", "edit_right", "merge", "write")
FOLDED_COOKIE = "q2q_guidelines_folded"
"""Hashes of the guidelines that a visitor folded."""
N_FOLDED = 50
MARKED = "rate_marked"
"""Texts are drawn as Markdown."""


def draw_assigned(queue_id: int) -> None:
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
    view = url.parameter("view")
    is_table = view != "overview" and (queue.way == "table" or view == "table")
    draft = table_draft(queue.id, rater[0]) if rater is not None and is_table else None
    with st.container(horizontal=True, vertical_alignment="center"):
        trail(back_link(t("rate.back"), _leave, draft), queue.name)
        st.space("stretch")
        draw_archive("queue", queue.id, queue.archived_at)
        if rater is not None:
            _view_button(queue)
        draw_rater()
    if rater is None:
        return
    _draw_guidelines(queue)
    if view == "overview":
        draw_overview(queue, rater[0])
    elif is_table:
        _draw_progress(queue, rater[0])
        draw_table(queue, rater[0])
    else:
        st.fragment(_draw)(queue, rater[0])


def _leave() -> None:
    url.clear("queue", "edit", "edited", "view", "page")


def _draw_guidelines(queue: QueueRow) -> None:
    """Draw what raters are told; who folded it finds it folded, until it says something else."""
    if not queue.guidelines:
        return
    known, own = recalled(FOLDED_COOKIE).split(), short_hash(queue.guidelines)[:8]
    box = st.expander(
        t("rate.guidelines"),
        icon=":material/menu_book:",
        expanded=own not in known,
        key=f"guidelines_{queue.id}",
        on_change="rerun",
    )
    if box.open == (own in known):
        others = [one for one in known if one != own]
        remember(FOLDED_COOKIE, " ".join(others if box.open else [*others, own][-N_FOLDED:]))
    with box:
        show_marked(queue.guidelines, most=len(queue.guidelines))


def _view_button(queue: QueueRow) -> None:
    """Draw the ways from the cards to what was said of them and to the overview, and back."""
    if url.parameter("view") != "overview":
        st.button(
            t("rate.overview"),
            icon=":material/groups:",
            type="tertiary",
            on_click=_turn,
            args=("overview",),
        )
    reviews = url.parameter("view") is not None
    if queue.way == "table" and not reviews:
        return
    st.button(
        t("rate.cards_view" if reviews else "rate.review"),
        icon=":material/style:" if reviews else ":material/table_rows:",
        type="tertiary",
        shortcut=Key.REVIEW,
        on_click=_turn,
        args=(None if reviews else "table",),
    )


def _turn(view: str | None) -> None:
    url.put("view", view)
    url.clear("page")


def _draw(queue: QueueRow, rater_id: int) -> None:
    if url.number("queue") != queue.id or url.parameter("edit") or url.parameter("view"):
        st.rerun()  # a key on the card led elsewhere
    assigned = current_card(database(), queue, rater_id)
    _draw_progress(queue, rater_id, is_over=assigned is None)
    if assigned is None:
        empty_state("done", "done_all", "rate.done")
        draw_after(queue)
    else:
        _draw_card(queue, assigned)
    axes = load_axes(settings().home_dir).get(queue.scope, [])
    with st.container(key="rate_bar" if queue.way == "pair" else "rate_scales"):
        draw_panel(queue, rater_id, assigned, axes, _buttons(queue, assigned), _go(queue, rater_id))


def _draw_card(queue: QueueRow, assigned: Card) -> None:
    with database().read() as session:
        question = get_question(session, assigned.item.target.question_id)
        reasonings, answers = _texts(session, assigned)
    _draw_question(question, with_reference=queue.spec.get("reference") == "before")
    draw = draw_pair if queue.way == "pair" else draw_single
    draw(queue, assigned, reasonings, answers)


def _draw_progress(queue: QueueRow, rater_id: int, *, is_over: bool = False) -> None:
    with database().read() as session:
        progress = queue_progress(session, queue, rater_id)
    total = progress.done if is_over else max(progress.total, progress.done)
    st.progress(
        progress.done / total if total else 1.0,
        text=f"{escaped(queue.name)} · {t('rate.progress', done=progress.done, total=total)}",
    )


def _texts(session: Session, assigned: Card) -> tuple[Texts, Texts]:
    targets = [target for target in (assigned.item.target, assigned.item.other) if target]
    reasonings = [target.variant_id for target in targets if target.variant_id]
    answers = [target.answer_id for target in targets if target.answer_id]
    return read_texts(session, "variant", reasonings), read_texts(session, "answer", answers)


def _draw_question(question: QuestionRow, *, with_reference: bool) -> None:
    with card("asked"):
        show_text(question.text)
        if question.context:
            st.caption(t("question.context"))
            show_text(question.context)
        if with_reference:
            draw_reference(question)
        st.badge(word("role", question.role), icon=":material/theater_comedy:", color="blue")


def _buttons(queue: QueueRow, assigned: Card | None) -> list[PanelButton]:
    """Return what leads elsewhere from a card, or, without one, from the queue."""
    marked = "rate.plain" if st.session_state.get(MARKED) else "rate.marked"
    away = [
        PanelButton(name="review", key=Key.REVIEW, is_always=True),
    ]
    if assigned is None:
        return away
    return [
        *away,
        PanelButton(
            name="marked",
            key=Key.MARKED,
            label=t(marked),
            icon="format_list_bulleted",
            help=t("rate.marked_help"),
        ),
        *(
            PanelButton(name=name, key=key, label=t(f"rate.{name}"), icon=icon, opens_field=True)
            for name, key, icon in _edits(queue.scope, assigned)
        ),
    ]


def _edits(scope: Scope, assigned: Card) -> list[tuple[str, Key, str]]:
    left, right = sides(assigned)
    ways = [("write", Key.WRITE, "add_notes")]
    if scope != "answer" and right is not None:
        both = [
            ("edit_left", Key.EDIT),
            ("edit_right", Key.EDIT_SECOND),
            ("merge", Key.MERGE),
        ]
        return [*((name, key, "edit") for name, key in both), *ways]
    return [("edit", Key.EDIT, "edit"), *ways] if left.variant_id is not None else ways


def _go(queue: QueueRow, rater_id: int) -> Callable[[str, str | None], None]:
    """Return what leads where a key on the card asks for."""

    def go(name: str, card_id: str | None) -> None:
        if name == "review":
            _turn("table")
        elif name == "marked":
            st.session_state[MARKED] = not st.session_state.get(MARKED)
        elif name in EDITS:
            _edit(queue, rater_id, name, card_id)

    return go


def _edit(queue: QueueRow, rater_id: int, name: str, card_id: str | None) -> None:
    with database().read() as session:
        assigned = open_card(session, queue.id, rater_id)
    if assigned is None or assigned.id != card_id:
        return
    left, right = (side.variant_id if side else None for side in sides(assigned))
    parents = {"write": [], "edit_right": [right], "merge": [left, right]}.get(name, [left])
    start_edit(assigned, rater_id, [parent for parent in parents if parent is not None])


def draw_pair(
    queue: QueueRow, assigned: Card, reasonings: dict[int, TextRow], answers: dict[int, TextRow]
) -> None:
    """Draw both sides."""
    first = assigned.item.target
    if queue.scope == "answer" and first.variant_id in reasonings:
        with card("given"):
            st.caption(t("rate.given"))
            show_text(reasonings[first.variant_id].text)
    for column, side, name in zip(st.columns(2), sides(assigned), ("left", "right"), strict=True):
        assert side is not None
        with column, card(f"side_{name}"):
            st.caption(t(f"rate.{name}"))
            draw_side(queue, side, reasonings, answers)


def draw_side(
    queue: QueueRow, side: Target, reasonings: dict[int, TextRow], answers: dict[int, TextRow]
) -> None:
    """Draw what is rated of one target; of a whole, the reasoning and its answer."""
    show = show_marked if st.session_state.get(MARKED) else show_text
    if queue.scope in ("reasoning", "whole") and side.variant_id in reasonings:
        show(reasonings[side.variant_id].text)
    if side.answer_id is not None:
        if queue.scope == "whole":
            st.caption(t("rate.its_answer"))
        show(answers[side.answer_id].text)


def sides(assigned: Card) -> tuple[Target, Target | None]:
    """Return what lies left and right."""
    if assigned.swapped and assigned.item.other:
        return assigned.item.other, assigned.item.target
    return assigned.item.target, assigned.item.other


def draw_single(
    queue: QueueRow, assigned: Card, reasonings: dict[int, TextRow], answers: dict[int, TextRow]
) -> None:
    """Draw the text; of a question there is none beside the question itself."""
    target = assigned.item.target
    if queue.scope == "answer" and target.variant_id in reasonings:
        with card("given"):
            st.caption(t("rate.given_one"))
            show_text(reasonings[target.variant_id].text)
    if queue.scope != "question":
        with card("side_only"):
            draw_side(queue, target, reasonings, answers)
