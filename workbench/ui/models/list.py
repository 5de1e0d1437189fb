"""The models of the store: bases, adapters, merges, and those of other servers."""

import streamlit as st

from db.jobs import active_jobs
from db.models import ModelRow, list_models
from workbench.ui.components import url
from workbench.ui.components.i18n import t, word
from workbench.ui.components.jobs import draw_jobs
from workbench.ui.components.labels import model_note
from workbench.ui.components.numbers import ago, size
from workbench.ui.components.parts import card, empty_state, head_row, heading
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped

KINDS = ("merge", "verify")
"""Jobs that are shown here."""
COLOURS = {"ready": "green", "pruned": "gray", "unusable": "red"}
POLL_S = 2.0


def draw_list() -> None:
    """Draw all models, the newest first."""
    heading(t("models.title"), t("models.lead"))
    with database().read() as session:
        models = {model.id: model for model in list_models(session)}
        moving = any(job.kind in KINDS for job in active_jobs(session))
    if not models:
        with empty_state(
            "models", ":material/deployed_code:", t("models.none.title"), t("models.none.text")
        ):
            st.page_link("ui/home/page.py", label=t("nav.home"), icon=":material/home:")
    st.fragment(run_every=POLL_S if moving else None)(_draw_jobs)(moving=moving)
    for model in reversed(models.values()):
        _draw(model, models.get(model.base_id or 0))


def _draw_jobs(*, moving: bool) -> None:
    with database().read() as session:
        jobs = [job for job in active_jobs(session) if job.kind in KINDS]
    if moving and not jobs:
        st.rerun()
    draw_jobs(database(), jobs, {})


def _draw(model: ModelRow, base: ModelRow | None) -> None:
    with card(f"model_{model.id}", gap="xsmall"):
        with head_row(f"model_{model.id}"):
            st.markdown(f"**{escaped(model.name)}**", width="content")
            model_badges(model)
            st.space("stretch")
            st.button(
                t("models.open"),
                icon=":material/arrow_forward:",
                icon_position="right",
                type="tertiary",
                key=f"open_{model.id}",
                on_click=url.put,
                args=("model", str(model.id)),
            )
        parts = [
            f"m{model.id}",
            size(model.size_bytes) if model.size_bytes else "",
            t("models.from", base=escaped(base.name)) if base else "",
            ago(model.created_at),
        ]
        st.caption(" · ".join(part for part in parts if part))
        if note := model_note(model):
            st.caption(note)


def model_badges(model: ModelRow) -> None:
    """Draw what kind of model it is, and whether it can be used."""
    st.badge(word("model_kind", model.kind), color="blue")
    st.badge(word("model_state", model.state), color=COLOURS.get(model.state, "gray"))  # type: ignore[arg-type]
