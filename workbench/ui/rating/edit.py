"""Change a reasoning and see the answer move: before and after, side by side on one page."""

from functools import partial

import streamlit as st
from sqlalchemy.orm import Session

from db.jobs import JobRow
from db.models import list_models
from db.questions import get_question
from db.rating.assignment import Card
from db.rating.queues import QueueRow
from db.texts.cards import VariantCard, variant_cards
from db.texts.rows import TextRow
from serving.reasonings import save_reasoning
from workbench.rating.card_events import enter
from workbench.rating.cards import ANSWER_SEEN, current_card
from workbench.rating.editing import answer_again, answer_jobs, merge_by_model, merge_jobs, merged
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, errors_shown, focus, opens_field, trail
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_device_note
from workbench.ui.components.keys import Key
from workbench.ui.components.live import live
from workbench.ui.components.parts import card, check_badges, empty_state, heading
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import show_diff, show_text, told
from workbench.ui.components.text_cards import draw_reference

NOTHING = "new"
"""Value of ``?edit=`` for a reasoning written from nothing."""
POLL_S = 0.7
N_ANSWERS = 3
MOST_ANSWERS = 8
MOST_SHOWN = 12
MERGES_BEFORE = "merges_before"
"""How many merges of the two there were when one more was asked for."""


def start_edit(assigned: Card, rater_id: int, parent_ids: list[int]) -> None:
    """Open the page that edits one reasoning, merges two, or writes one.

    It shows answers, so what is then said about the card was said with answers seen.
    """
    enter(database(), assigned, rater_id, {ANSWER_SEEN: True})
    url.put("edit", ",".join(map(str, parent_ids)) or NOTHING)


def draw_edit(queue: QueueRow, rater_id: int) -> None:
    """Draw the reasoning of the card at hand as it was and as it becomes."""
    parents = _parents()
    assigned = current_card(database(), queue, rater_id)
    question_id = assigned.item.target.question_id if assigned else None
    row = back_link(t("rate.back_to_card"), leave_edit, _draft(question_id, parents))
    title = t(("rate.write_title", "rate.edit_title", "rate.merge_title")[min(2, len(parents))])
    trail(row, queue.name, title)
    heading(title, t("rate.edit_lead"))
    draw_reasoning_edit(question_id, rater_id)


def draw_reasoning_edit(question_id: int | None, rater_id: int) -> None:
    """Draw the reasoning that the address names, and as it becomes, each with its answers."""
    parents = _parents()
    draft = _draft(question_id, parents)
    with database().read() as session:
        if question_id is None:
            _nothing_here()
            return
        question = get_question(session, question_id)
        edited = url.number("edited")
        named = parents if edited is None else [*parents, edited]
        found = variant_cards(session, question_id, named)
    before = [found[parent] for parent in parents if parent in found]
    if len(before) < len(parents):
        _nothing_here()
        return
    with card("asked"):
        show_text(question.text)
        if question.context:
            st.caption(t("question.context"))
            show_text(question.context)
        draw_reference(question)
    columns = st.columns([*([1] * len(before)), 1] if before else [1], gap="medium")
    for column, variant in zip(columns, before, strict=False):
        with column, card(f"before_{variant.variant.id}"):
            st.caption(t("rate.before"))
            show_text(variant.variant.text)
            _draw_answers(variant.answers)
    with columns[-1]:
        if edited in found:
            _draw_after(found[edited], before, rater_id, question_id)
        else:
            _draw_form(draft, before, rater_id, question_id)


def _draft(question_id: int | None, parents: list[int]) -> FormDraft:
    return FormDraft("-".join(map(str, ("reasoning", question_id or 0, *parents))))


def open_edit(question_id: int, parent_ids: list[int]) -> None:
    """Have a page open the edit of a reasoning of its own question (or a new one) in the address.

    The page draws it by ``draw_edit_dialog``.
    """
    url.clear("edited")
    url.put("asked", str(question_id))
    url.put("edit", ",".join(map(str, parent_ids)) or NOTHING)


def draw_edit_dialog(rater_id: int) -> None:
    """Draw over the page the edit that the address asks for, if it does."""
    question_id = url.number("asked")
    if question_id is None or not url.parameter("edit"):
        return
    title = t("rate.edit_title" if _parents() else "rate.write_title")
    st.dialog(title, width="large", icon=":material/edit:", on_dismiss=leave_edit)(
        draw_reasoning_edit
    )(question_id, rater_id)


def leave_edit() -> None:
    """Let the address ask for no edit any more."""
    url.clear("edit", "edited", "asked")


def _parents() -> list[int]:
    given = url.parameter("edit") or NOTHING
    return [int(part) for part in given.split(",") if part.isascii() and part.isdigit()]


def _nothing_here() -> None:
    empty_state("edit", "edit_off", "rate.edit_gone")


def _draw_form(
    draft: FormDraft, before: list[VariantCard], rater_id: int, question_id: int
) -> None:
    draft.draw_notice()
    field = draft.field("text", "\n\n".join(variant.variant.text for variant in before))
    with card("after"):
        text = st.text_area(
            t("rate.after"),
            height=260,
            placeholder=t("rate.write_placeholder"),
            help=t("rate.after_help"),
            key=field,
        )
        # An area, since a line would submit on Enter: also on the one that ends a conversion.
        note = st.text_area(
            t("rate.note"),
            placeholder=t("rate.note_placeholder"),
            height=68,
            key=draft.field("note", ""),
        )
        n = st.number_input(t("rate.n_answers"), 0, MOST_ANSWERS, key=draft.field("n", N_ANSWERS))
        pressed = st.button(
            t("rate.save"),
            type="primary",
            icon=":material/send:",
            width="stretch",
            shortcut=Key.SAVE,
        )
    focus(field)
    if len(before) == 2:
        _draw_merge([one.variant.id for one in before])
    if pressed:
        parents = [variant.variant.id for variant in before]
        _save(draft, text or "", note or "", int(n), parents, rater_id, question_id)


def _draw_merge(ids: list[int]) -> None:
    """Draw the button that lets the model merge, and wait for what it writes."""
    with database().read() as session:
        jobs = merge_jobs(session, ids)
        known = merged(session, ids)
    is_waiting = _is_waiting(jobs)
    if st.button(
        t("rate.merge_by_model"),
        icon=":material/merge:",
        shortcut=Key.MERGE_BY_MODEL,
        disabled=is_waiting,
        help=t("rate.merge_by_model_help"),
    ):
        with errors_shown():
            merge_by_model(database(), registry(), ids, N_ANSWERS)
            st.session_state[MERGES_BEFORE] = len(known)
            st.rerun()
    if is_waiting:
        st.fragment(run_every=POLL_S)(_wait_for_merge)(ids)
    elif jobs and jobs[0].error:
        st.error(told(jobs[0].error))


def _wait_for_merge(ids: list[int]) -> None:
    """Open the merged reasoning as soon as it is there; its answers arrive on its page."""
    with database().read() as session:
        known = merged(session, ids)
        is_waiting = _is_waiting(merge_jobs(session, ids))
    if len(known) > st.session_state.get(MERGES_BEFORE, len(known)):
        st.session_state.pop(MERGES_BEFORE)
        url.put("edited", str(known[-1]))
        st.rerun()
    if not is_waiting:
        st.rerun()
    st.caption(f":material/hourglass_top: {t('rate.merge_coming')}")


def _jobs_of(session: Session, variant: VariantCard) -> list[JobRow]:
    """Return the jobs that write answers to a reasoning."""
    own = answer_jobs(session, variant.variant.id)
    return own + (merge_jobs(session, variant.parent_ids) if len(variant.parent_ids) == 2 else [])


def _save(
    draft: FormDraft,
    text: str,
    note: str,
    n: int,
    parent_ids: list[int],
    rater_id: int,
    question_id: int,
) -> None:
    with errors_shown():
        with database().write() as session:
            variant_id = save_reasoning(
                session,
                question_id,
                text,
                rater_id,
                parent_ids=parent_ids,
                note=note.strip() or None,
            )
        draft.forget()
        url.put("edited", str(variant_id))
        if n:
            answer_again(database(), registry(), variant_id, n)
        st.rerun()


def _draw_after(
    variant: VariantCard, before: list[VariantCard], rater_id: int, question_id: int
) -> None:
    with card("after"):
        st.caption(t("rate.after"))
        if len(before) == 1:
            show_diff(before[0].variant.text, variant.variant.text)
        else:
            show_text(variant.variant.text)
        check_badges([(name, None) for name in variant.variant.flags])
        with database().read() as session:
            can_ask = bool(list_models(session))
        read = partial(_new_answers, variant.variant.id, question_id)
        live(read(), read, lambda now: _is_waiting(now[1]), _draw_new_answers, POLL_S)
        with st.container(horizontal=True, gap="xsmall"):
            if st.button(
                t("rate.more_answers", n=N_ANSWERS),
                icon=":material/add:",
                shortcut=Key.ADD,
                disabled=not can_ask,
            ):
                with errors_shown():
                    answer_again(database(), registry(), variant.variant.id, N_ANSWERS)
                    st.rerun()
            if st.button(
                t("rate.edit_on"),
                key=opens_field(Key.EDIT, "edit_on"),
                icon=":material/edit:",
                shortcut=Key.EDIT,
                type="tertiary",
            ):
                url.put("edit", str(variant.variant.id))
                url.clear("edited")
                st.rerun()


def _new_answers(variant_id: int, question_id: int) -> tuple[tuple[TextRow, ...], list[JobRow]]:
    """Return the answers that are there, and the jobs that write or wrote them."""
    with database().read() as session:
        found = variant_cards(session, question_id, [variant_id])[variant_id]
        return found.answers, _jobs_of(session, found)


def _is_waiting(jobs: list[JobRow]) -> bool:
    return any(job.is_active for job in jobs)


def _draw_new_answers(now: tuple[tuple[TextRow, ...], list[JobRow]]) -> None:
    answers, jobs = now
    _draw_answers(answers)
    if _is_waiting(jobs):
        st.caption(f":material/hourglass_top: {t('rate.answers_coming')}")
        draw_device_note()
    elif jobs and jobs[0].error:
        st.error(told(jobs[0].error))
    elif not answers:
        st.caption(t("rate.no_answers"))


def _draw_answers(answers: tuple[TextRow, ...]) -> None:
    for number, answer in enumerate(answers[-MOST_SHOWN:], start=1):
        with st.container(key=f"answer_{answer.id}", gap="xsmall"):
            st.caption(t("results.answer", i=number))
            show_text(answer.text)
