"""The list of rating queues: newest first, with how far the rater of this visit is."""

import streamlit as st

from db.rating.queues import QueueRow, list_queues, queue_progress
from workbench.ui.components import url
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import ago
from workbench.ui.components.parts import card, empty_state, head_row, heading
from workbench.ui.components.rater import current_rater, draw_rater
from workbench.ui.components.store import count_store, database
from workbench.ui.components.text import escaped

MOST = 30


def draw_queues() -> None:
    """Draw the queues, or how to make the first one."""
    with database().read() as session:
        queues = list_queues(session)[:MOST]
        n_texts = count_store(session).variants
    with head_row("queues"):
        with st.container(width="stretch", gap="xsmall"):
            heading(t("rate.title"), t("rate.lead"))
        if queues:
            _new_button()
    draw_rater()
    if not queues:
        which = "none" if n_texts else "no_texts"
        with empty_state(
            "queues", ":material/star:", t(f"rate.{which}.title"), t(f"rate.{which}.text")
        ):
            if n_texts:
                _new_button()
            else:
                st.page_link(
                    "ui/sweeps/page.py", label=t("nav.sweeps"), icon=":material/grid_view:"
                )
    rater = current_rater()
    for queue in queues:
        _draw(queue, rater[0] if rater else None)


def _new_button() -> None:
    st.button(
        t("rate.new"),
        type="primary",
        icon=":material/add:",
        shortcut="N",
        on_click=url.put,
        args=("new", "1"),
    )


def _draw(queue: QueueRow, rater_id: int | None) -> None:
    done = 0
    if rater_id is not None:
        with database().read() as session:
            done = queue_progress(session, queue.id, rater_id).done
    with card(f"queue_{queue.id}"):
        with head_row(f"queue_{queue.id}"):
            st.markdown(f"**{escaped(queue.name)}**", width="content")
            st.badge(t(f"rate.way.{queue.way}"), icon=":material/style:", color="gray")
            st.badge(t(f"rate.scope.{queue.scope}"), color="blue")
            st.space("stretch")
            st.button(
                t("rate.open"),
                key=f"queue_{queue.id}",
                icon=":material/arrow_forward:",
                icon_position="right",
                type="tertiary",
                disabled=rater_id is None,
                on_click=url.put,
                args=("queue", str(queue.id)),
            )
        st.progress(
            min(1.0, done / queue.n_cards), text=t("rate.progress", done=done, total=queue.n_cards)
        )
        st.caption(ago(queue.created_at))
