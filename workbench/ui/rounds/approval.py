"""The pause of a round: what its dataset came to, what training it takes; approve or reject it."""

import streamlit as st

from db.datasets import find_dataset, get_dataset
from db.errors import Q2QError
from db.models import get_model
from db.rounds import RoundRow, is_rejected, reject_round
from db.settings import settings
from training.datasets.balance import cautions, read_balance
from training.runs.prepare import plan_run
from workbench.rounds.spec import parse_round
from workbench.rounds.start import queue_round, train_spec
from workbench.ui.components.controls import errors_shown, page_link
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t, translated
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, escaped_lines
from workbench.ui.datasets.dataset import draw_cautions, draw_counts
from workbench.ui.training.form import draw_plan


def draw_approval(found: RoundRow) -> None:
    """Draw what is approved, and both answers; of a rejected round the reason."""
    with card("round_approval"):
        section(t("rounds.approval"), t("rounds.approve_help"))
        if is_rejected(found):
            reason = escaped_lines(found.reason or "")
            st.error(t("rounds.rejected_because", reason=reason), icon=":material/block:")
        _draw_dataset(found)
        _draw_takes(found)
        label = "rounds.approve_after_all" if is_rejected(found) else "rounds.approve"
        if st.button(t(label), type="primary", icon=":material/play_arrow:"):
            with database().write() as session:
                queue_round(session, found.id, approved=True)
            st.rerun()
        if not is_rejected(found):
            _draw_rejection(found)


def _draw_dataset(found: RoundRow) -> None:
    if found.dataset_id is None:
        return
    with database().read() as session:
        dataset = get_dataset(session, found.dataset_id)
        balance = read_balance(session, find_dataset(session, dataset.name))
    page_link("datasets", t("rounds.open_dataset"), "dataset", dataset=dataset.id, view="rows")
    draw_counts(dataset.counts, "approval", is_frozen=True)
    draw_cautions(cautions(balance))


def _draw_takes(found: RoundRow) -> None:
    """Say what the training will take; a base that is still to be made again is left out."""
    if found.dataset_id is None:
        return
    with database().read() as session:
        base = get_model(session, found.starts_from_id)
        dataset = get_dataset(session, found.dataset_id)
    if base.state != "ready":
        return
    try:
        settings_of = parse_round(found.config).train
        spec = train_spec(found.name, settings_of, dataset=dataset.name, base=base.name)
        draw_plan(spec, plan_run(database(), settings(), spec))
    except Q2QError as error:
        st.caption(escaped(translated(error)))


def _draw_rejection(found: RoundRow) -> None:
    with st.expander(t("rounds.reject_title"), icon=":material/block:"):
        draft = FormDraft(f"round-{found.id}-rejection")
        label = t("rounds.reject_reason")
        reason = st.text_area(label, key=draft.field("reason", ""), max_chars=2_000)
        if st.button(t("rounds.reject"), disabled=not (reason or "").strip()):
            with errors_shown():
                with database().write() as session:
                    reject_round(session, found.id, reason or "")
                draft.forget()
                st.rerun()
