"""The list of rating queues: newest first, with how far the rater of this visit is."""

import streamlit as st

from db.rating.queues import QueueRow, list_queues, queue_progress
from workbench.ui.components.controls import new_button, open_button, page_link
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import ago
from workbench.ui.components.parts import card, card_head, empty_state, list_head
from workbench.ui.components.rater import current_rater, draw_rater
from workbench.ui.components.store import count_store, database
from workbench.ui.components.text import escaped

MOST = 30


def draw_queues() -> None:
    """Draw the queues, or how to make the first one."""
    with database().read() as session:
        queues = list_queues(session)[:MOST]
        n_texts = count_store(session).variants
    with list_head("rate"):
        if queues:
            new_button(t("rate.new"))
    draw_rater()
    if not queues:
        which = "none" if n_texts else "no_texts"
        with empty_state("queues", "star", f"rate.{which}"):
            if n_texts:
                new_button(t("rate.new"))
            else:
                page_link("sweeps", t("nav.sweeps"), "grid_view")
    rater = current_rater()
    for queue in queues:
        _draw(queue, rater[0] if rater else None)


def _draw(queue: QueueRow, rater_id: int | None) -> None:
    done = 0
    if rater_id is not None:
        with database().read() as session:
            done = queue_progress(session, queue.id, rater_id).done
    with card(f"queue_{queue.id}"):
        with card_head(f"queue_{queue.id}", escaped(queue.name)):
            st.badge(t(f"rate.way.{queue.way}"), icon=":material/style:", color="gray")
            st.badge(t(f"rate.scope.{queue.scope}"), color="blue")
            open_button(
                t("rate.open"), f"queue_{queue.id}", "queue", queue.id, disabled=rater_id is None
            )
        st.progress(
            min(1.0, done / queue.n_cards), text=t("rate.progress", done=done, total=queue.n_cards)
        )
        st.caption(ago(queue.created_at))
