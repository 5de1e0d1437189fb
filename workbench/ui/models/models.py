"""The models of the store, and one of them: its proof, its card, what can be done with it."""

import streamlit as st

from db.engines import EngineRow, list_engines
from db.identity import AS_STORED
from db.jobs import JobRow, active_jobs, enqueue
from db.models import (
    CheckRow,
    ModelRow,
    ProofRow,
    adapter_of,
    get_model,
    list_models,
    merges_of,
    proof_of,
)
from training.merge.folder import card as drafted_card
from training.merge.prune import prune
from workbench.i18n import has
from workbench.precision.spec import KIND
from workbench.ui.components import url
from workbench.ui.components.archive import (
    draw_archive,
    draw_nothing_archived,
    draw_picked,
    pick_box,
    shows_archived,
)
from workbench.ui.components.controls import (
    back_link,
    download,
    errors_shown,
    open_button,
    page_link,
    trail,
)
from workbench.ui.components.i18n import t, word
from workbench.ui.components.jobs import draw_cancel, draw_jobs, draw_progress
from workbench.ui.components.labels import ago, count, model_note, size
from workbench.ui.components.live import live
from workbench.ui.components.parts import (
    card,
    card_head,
    empty_state,
    heading,
    item_head,
    section,
)
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped
from workbench.ui.models.adding import ADD, asks_to_add, draw_adding, draw_last_added
from workbench.ui.models.precision import draw_precisions
from workbench.ui.models.servers import can_wait, draw_engines
from workbench.ui.models.serving import draw_serving

KINDS = ("merge", "verify", KIND, ADD)
"""Jobs that are shown here."""
PASSED = ("green", ":material/check_circle:")
FAILED = ("red", ":material/error:")
COLOURS = {"ready": "green", "pruned": "gray", "unusable": "red"}


def draw_list() -> None:
    """Draw all models, the newest first."""
    heading(t("models.title"), t("models.lead"))
    with database().read() as session:
        found = list_models(session, with_served=True, archived=None)
    models = {model.id: model for model in found}
    listed = [one for one in found if (one.archived_at is not None) is shows_archived()]
    jobs = _jobs()
    if not shows_archived():
        if not listed:
            empty_state("models", "deployed_code", "models.none")
        draw_adding(is_open=not listed or asks_to_add())
        draw_last_added(jobs)
    live(jobs, _jobs, bool, lambda now: draw_jobs(now, {}))
    if not shows_archived():
        section(t("models.servers"), t("models.servers_help"))
        live(_servers(), _servers, _is_moving, lambda now: draw_engines(*now))
        section(t("models.list"))
    draw_picked("model", lambda: [one.id for one in listed])
    if shows_archived() and not listed:
        draw_nothing_archived()
    for model in reversed(listed):
        _draw(model, models.get(model.stored_id or model.base_id or 0))


Servers = tuple[list[EngineRow], dict[int, ModelRow]]


def _servers() -> Servers:
    with database().read() as session:
        known = list_models(session, with_removed=True, with_served=True, archived=None)
        return list_engines(session), {model.id: model for model in known}


def _is_moving(now: Servers) -> bool:
    return any(engine.state in ("starting", "unhealthy") or can_wait(engine) for engine in now[0])


def _jobs() -> list[JobRow]:
    with database().read() as session:
        return [job for job in active_jobs(session) if job.kind in KINDS]


def _draw(model: ModelRow, base: ModelRow | None) -> None:
    with card(f"model_{model.id}", gap="xsmall"):
        with card_head(f"model_{model.id}", escaped(model.name)):
            pick_box("model", model.id, model.name)
            model_badges(model)
            open_button(t("models.open"), f"open_{model.id}", "model", model.id)
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
    if model.precision is not None and model.precision != AS_STORED:
        st.badge(word("precision", model.precision), color="violet")
    st.badge(word("model_state", model.state), color=COLOURS.get(model.state, "gray"))  # type: ignore[arg-type]


def draw_model(model_id: int) -> None:
    """Draw the model, or say that there is none."""
    row = back_link(t("models.back"), lambda: url.clear("model"))
    with database().read() as session:
        model = get_model(session, model_id)
        proof = proof_of(session, model_id)
        adapter_id = adapter_of(session, model_id)
    trail(row, model.name)
    jobs = _jobs_of(model, adapter_id)
    with item_head("model", escaped(model.name)):
        model_badges(model)
        draw_archive("model", model.id, model.archived_at)
    if note := model_note(model):
        st.caption(note)
    if jobs:
        live(jobs, lambda: _jobs_of(model, adapter_id), bool, _draw_job)
    else:
        _draw_actions(model, adapter_id)
    if model.kind in ("base", "merged") and model.state == "ready":
        draw_serving(model)
    _draw_facts(model, adapter_id)
    draw_precisions(model, can_start=not jobs)
    if proof is not None:
        _draw_proof(proof)
    if model.kind == "merged" and model.stored_id is None:
        _draw_card(model)


def _jobs_of(model: ModelRow, adapter_id: int | None) -> list[JobRow]:
    return [
        job
        for job in _jobs()
        if job.payload.get("model_id") == model.id
        or job.payload.get("model") == model.name
        or job.payload.get("adapter_id") in (model.id, adapter_id or model.id)
    ]


def _draw_job(jobs: list[JobRow]) -> None:
    with card("model_job"):
        draw_progress(jobs[0])
        draw_cancel(jobs[0])


def _draw_actions(model: ModelRow, adapter_id: int | None) -> None:
    with st.container(horizontal=True, gap="small"):
        if model.stored_id is not None:
            return
        if model.kind == "adapter" and st.button(
            t("models.merge"), icon=":material/merge:", type="primary", help=t("models.merge_help")
        ):
            _start("merge", {"adapter_id": model.id, "name": None})
        if model.kind != "merged" or adapter_id is None:
            return
        if model.state == "pruned":
            if st.button(t("models.rebuild"), icon=":material/merge:", type="primary"):
                _start("merge", {"adapter_id": adapter_id, "name": model.name})
            return
        if st.button(t("models.verify"), icon=":material/fact_check:"):
            _start("verify", {"model_id": model.id})
        with st.popover(t("models.prune"), icon=":material/delete_sweep:"):
            st.markdown(t("models.prune_help", size=size(model.size_bytes)))
            if st.button(t("models.prune_now"), type="primary"):
                _prune(model)


def _start(kind: str, payload: dict[str, object]) -> None:
    with database().write() as session:
        enqueue(session, kind, lane="device", payload=payload)
    st.rerun()


def _prune(model: ModelRow) -> None:
    with errors_shown():
        freed = prune(database(), model)
        st.toast(t("models.pruned", size=size(freed)), icon=":material/check:")
        st.rerun()


def _draw_facts(model: ModelRow, adapter_id: int | None) -> None:
    with card("model_facts", gap="xsmall"):
        for name, value in (
            ("digest", model.digest),
            ("parameters", count(model.n_parameters) if model.n_parameters else None),
            ("dtype", model.dtype),
            ("precision", word("precision", model.precision) if model.precision else None),
            ("size", size(model.size_bytes) if model.size_bytes else None),
            (
                "context",
                t("models.tokens", n=count(model.context_length)) if model.context_length else None,
            ),
            ("folder", model.path),
            ("made", ago(model.created_at)),
        ):
            if value:
                st.markdown(f":gray[{t(f'models.fact.{name}')}] {escaped(str(value))}")
        with database().read() as session:
            related = [
                ("stored", get_model(session, model.stored_id) if model.stored_id else None),
                ("base", get_model(session, model.base_id) if model.base_id else None),
                ("adapter", get_model(session, adapter_id) if adapter_id else None),
            ]
            if model.kind == "adapter":
                related += [("merged", one) for one in merges_of(session, model.id)]
            served = list_models(session, with_served=True)
            related += [("served", one) for one in served if one.stored_id == model.id]
        with st.container(horizontal=True, gap="small"):
            for name, one in related:
                if one is not None:
                    st.button(
                        f"{t(f'models.kin.{name}')}: {escaped(one.name)}",
                        key=f"kin_{name}_{one.id}",
                        icon=":material/deployed_code:",
                        type="tertiary",
                        on_click=url.put,
                        args=("model", str(one.id)),
                    )
            page_link("explore", t("models.lineage"), "account_tree", id=f"m{model.id}")


def _draw_proof(proof: ProofRow) -> None:
    n_passed = sum(check.passed for check in proof.checks)
    with card("proof"):
        section(t("models.proof"), t("models.proof_help"))
        text = t("models.proof_line", n=n_passed, of=len(proof.checks), when=ago(proof.created_at))
        colour, icon = PASSED if proof.passed else FAILED
        st.markdown(f":{colour}[{icon} {text}]")
        for check in proof.checks:
            _draw_check(check)


def _draw_check(check: CheckRow) -> None:
    mark = ":green[:material/check:]" if check.passed else ":red[:material/close:]"
    name = f"proof.{check.name}"
    title = t(name) if has(name) else check.name
    limit = ""
    if check.measured is not None and check.tolerance is not None:
        limit = t("models.limit", measured=f"{check.measured:.3g}", limit=f"{check.tolerance:.3g}")
    with st.container(gap="xxsmall", key=f"check_{check.name}"):
        st.markdown(f"{mark} **{escaped(title)}** {limit}")
        if check.detail:
            st.caption(escaped(check.detail))


def _draw_card(model: ModelRow) -> None:
    with database().read() as session:
        text = drafted_card(session, model)
    with st.expander(t("models.card"), icon=":material/description:"):
        st.caption(t("models.card_help"))
        st.code(text, language="markdown", wrap_lines=True)
        download(
            t("models.card_download"),
            text,
            f"{model.name}.md",
        )
