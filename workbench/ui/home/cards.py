"""What Home says: what the project holds, its next step, and each model server in plain words."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence

import streamlit as st

from db.engines import EngineRow, EngineUse, add_external, remove_external
from db.jobs import INTERACTIVE_PRIORITY, JobRow, enqueue
from db.models import ModelRow
from serving.importers.questions import import_questions
from serving.importers.readers import SUFFIXES, stream_rows
from serving.sweeps.plan import queue_sweep
from serving.sweeps.spec import load_spec
from workbench import EXAMPLES, READING_ONLY
from workbench.project import NextStep, ProjectState, Stage, Step
from workbench.ui.components.controls import errors_shown, page_link, path_of
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import counted, t, translated
from workbench.ui.components.labels import count, model_note, parameters, size
from workbench.ui.components.next_step import draw_step
from workbench.ui.components.parts import card, head_row, state_badge
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, one_line

PAGES: dict[Step, tuple[str, str]] = {
    "watch": ("sweeps", "sweep"),
    "open": ("sweeps", "sweep"),
    "sweep": ("sweeps", "new"),
    "rate": ("rating", "sweep"),
    "rate_on": ("rating", "queue"),
    "dataset": ("datasets", "new"),
    "round": ("rounds", "dataset"),
    "follow": ("rounds", "round"),
    "resume": ("rounds", "round"),
    "compare": ("rounds", "round"),
    "result": ("rounds", "round"),
}
"""Step → the page where it is done, and what its address says."""
LISTS: dict[Stage, tuple[str, str]] = {
    "questions": ("questions", "help_center"),
    "texts": ("sweeps", "grid_view"),
    "ratings": ("rating", "star"),
    "rows": ("datasets", "dataset"),
    "rounds": ("rounds", "cycle"),
}
"""Stage → its page and icon."""


def draw_stages(state: ProjectState) -> None:
    """Draw how much each stage of the road holds, and whether it is done, running or next."""
    with st.container(horizontal=True, gap="small", key="figures_few_stages"):
        for stage, (page, icon) in LISTS.items():
            with st.container(border=True, gap="xxsmall", key=f"stage_{stage}"):
                page_link(page, t(f"stage.{stage}"), icon)
                st.markdown(f"### {count(state.count(stage))}")
                facts = {name: getattr(state, name) for name in STAGE_FACTS.get(stage, ())}
                if facts:
                    st.caption(" · ".join(counted(name, n) for name, n in facts.items()))
                _stage_badge(state, stage)


STAGE_FACTS: dict[Stage, tuple[str, ...]] = {
    "texts": ("sweeps",),
    "rows": ("datasets",),
}


def _stage_badge(state: ProjectState, stage: Stage) -> None:
    if stage in state.running:
        st.badge(t("stage.running"), icon=":material/pending:", color="blue")
    elif stage == state.next.stage:
        st.badge(t("stage.next"), icon=":material/arrow_forward:", color="orange")
    elif state.count(stage):
        st.badge(t("stage.done"), icon=":material/check:", color="green")
    else:
        st.badge(t("stage.later"), icon=":material/circle:", color="gray")


def draw_next_step(next: NextStep, has_model: bool) -> None:
    """Draw the step and do it when its button is pressed.

    A sweep can only be planned once a model is known; until then its button waits.
    """
    waits = None
    if next.step in ("first_sweep", "sweep") and (not has_model or is_reading_only()):
        waits = t(f"next.first_sweep.{'reading_only' if is_reading_only() else 'waits'}")
    pressed = draw_step(next.step, waits=waits, name=escaped(next.name))
    if next.step == "import":
        page_link("questions", t("next.import.own"), "upload_file", **{"import": 1})
    if pressed:
        _do(next)


def examples_button() -> None:
    """Draw the button that brings the bundled questions in."""
    if st.button(t("import.examples"), type="primary", icon=":material/download:"):
        _do(NextStep(step="import"))


def _do(next: NextStep) -> None:
    with errors_shown():
        page, name = PAGES.get(next.step, ("sweeps", "sweep"))
        address = {name: str(next.id or 1)}
        if next.step == "import":
            added, skipped = import_examples()
            st.toast(t("home.imported", added=added, skipped=skipped), icon=":material/check:")
            st.rerun()
        if next.step == "first_sweep":
            address[name] = str(start_first_sweep())
            st.toast(t("home.sweep_queued"), icon=":material/check:")
        if next.step == "rate":
            address["new"] = "1"
        st.switch_page(path_of(page), query_params=address)


def is_reading_only() -> bool:
    """Tell whether ``q2q up --no-engine`` started this page: no worker runs beside it."""
    return bool(os.environ.get(READING_ONLY))


def is_moving(engines: Sequence[EngineRow], jobs: Sequence[JobRow]) -> bool:
    """Tell whether something changes by itself, so that the page should look again soon."""
    return (
        (not engines and not is_reading_only())
        or bool(jobs)
        or any(
            engine.state in ("starting", "unhealthy")
            or (engine.wanted and engine.state == "stopped")
            for engine in engines
        )
    )


def can_start(engine: EngineRow) -> bool:
    """Tell whether a person may start the server: only the workbench's own."""
    return engine.kind == "child" and (not engine.wanted or engine.state == "failed")


def can_stop(engine: EngineRow) -> bool:
    """Tell whether a person may stop the server: only the workbench's own."""
    return engine.kind == "child" and engine.wanted and engine.state != "failed"


def draw_engines(engines: Sequence[EngineRow], models: Mapping[int, ModelRow]) -> None:
    """Draw a card for each model server: what it offers, and how busy each engine of it is."""
    shared = Counter(one.model_version_id for engine in engines for one in engine.models)
    is_one_machine = sum(engine.kind == "child" for engine in engines) == 1
    for engine in engines:
        with card(f"engine_{engine.id}"):
            _head(engine, is_one_machine=is_one_machine)
            if engine.state == "starting":
                st.progress(
                    engine.progress or 0.0,
                    text=one_line(translated(engine.message or "") or t("engine.loading"), 200),
                )
            elif engine.message:
                st.caption(escaped(translated(engine.message)))
            for offered in engine.models:
                _model(models[offered.model_version_id], shared[offered.model_version_id])
            for use in engine.load:
                _use(use, is_one_of_many=len(engine.load) > 1)


def _head(engine: EngineRow, *, is_one_machine: bool) -> None:
    with head_row(f"engine_{engine.id}"):
        name = escaped(engine.worker or engine.name)
        if engine.kind == "child" and is_one_machine:
            name = t("engine.local")
        st.markdown(f"**{name}**", width="content", help=t("engine.help"))
        state_badge(engine.state)
        if engine.software:
            st.caption(escaped(engine.software), width="content")
        st.space("stretch")
        if can_start(engine):
            _button(engine, "start")
        elif can_stop(engine):
            _button(engine, "stop")
        elif engine.kind == "external":
            _button(engine, "remove")
    if engine.url:
        st.caption(escaped(engine.url))


def _button(engine: EngineRow, what: str) -> None:
    icon = {"start": "play_arrow", "stop": "stop", "remove": "close"}[what]
    if st.button(
        t(f"engine.{what}"),
        key=f"engine_{what}_{engine.id}",
        icon=f":material/{icon}:",
        type="primary" if what == "start" else "tertiary",
    ):
        with database().write() as session:
            if what == "remove":
                remove_external(session, engine.name)
            else:
                kind = "serve_start" if what == "start" else "serve_stop"
                payload = {"model": None} if what == "start" else {}
                enqueue(
                    session,
                    kind,
                    payload=payload,
                    priority=INTERACTIVE_PRIORITY,
                    worker_id=engine.worker_id,
                )
        st.rerun()


def _use(use: EngineUse, *, is_one_of_many: bool) -> None:
    facts = [
        t("engine.number", n=use.engine) if is_one_of_many else None,
        use.node and escaped(use.node),
        *(
            t(
                "engine.gpu",
                n=gpu.index,
                name=escaped(gpu.name),
                used=gpu.memory_used_gib,
                total=gpu.memory_total_gib,
            )
            for gpu in use.gpus
        ),
        t("engine.sequences", running=use.running, waiting=use.waiting),
        t("engine.pace", n=use.tokens_per_second) if use.tokens_per_second else None,
    ]
    st.caption(" · ".join(fact for fact in facts if fact))


def _model(model: ModelRow, n_servers: int) -> None:
    facts = [
        t(f"model.kind.{model.kind}"),
        t("model.parameters", n=parameters(model.n_parameters)) if model.n_parameters else None,
        size(model.size_bytes) if model.size_bytes else None,
        t("model.context", n=count(model.context_length)) if model.context_length else None,
        t("model.servers", n=n_servers) if n_servers > 1 else None,
    ]
    st.markdown(
        f"{escaped(model.name)} &nbsp; :gray[:small[{' · '.join(fact for fact in facts if fact)}]]",
        help=t("model.digest_help", digest=model.digest or t("model.undigested")),
    )
    if note := model_note(model):
        st.info(note, icon=":material/science:")


def draw_add_server() -> None:
    """Draw the form that adds a model server by URL."""
    with (
        st.popover(t("server.add"), icon=":material/add_link:", type="tertiary"),
        st.form("add_server", border=False),
    ):
        st.markdown(t("server.lead"))
        draft = FormDraft("server")
        name = st.text_input(
            t("server.name"), key=draft.field("name", ""), placeholder="teacher", max_chars=40
        )
        address = st.text_input(
            t("server.url"), key=draft.field("url", ""), placeholder="http://10.0.0.5:8000/v1"
        )
        key_variable = st.text_input(
            t("server.key"),
            key=draft.field("key_variable", ""),
            placeholder="TEACHER_API_KEY",
            help=t("server.key_help"),
        )
        tokenizer = st.text_input(
            t("server.tokenizer"),
            key=draft.field("tokenizer", ""),
            help=t("server.tokenizer_help"),
        )
        model = st.text_input(
            t("server.model"), key=draft.field("model", ""), help=t("server.model_help")
        )
        if not st.form_submit_button(t("server.submit"), type="primary"):
            return
        with errors_shown():
            with database().write() as session:
                add_external(
                    session,
                    (name or "").strip(),
                    (address or "").strip(),
                    api_key_env=(key_variable or "").strip() or None,
                    tokenizer_path=(tokenizer or "").strip() or None,
                    model_name=(model or "").strip() or None,
                )
                enqueue(
                    session,
                    "probe_engine",
                    payload={"engine": (name or "").strip()},
                    priority=INTERACTIVE_PRIORITY,
                )
            draft.forget()
            st.toast(t("server.added", name=escaped(name or "")), icon=":material/check:")
            st.rerun()


def import_examples() -> tuple[int, int]:
    """Bring the bundled questions in; return how many are new and how many were there already."""
    files = [path for path in sorted((EXAMPLES / "questions").iterdir()) if path.suffix in SUFFIXES]
    done = import_questions(database(), *map(stream_rows, files), source="example")
    return done.added, done.skipped + done.updated


def start_first_sweep() -> int:
    """Queue the bundled first sweep; return its id."""
    with database().write() as session:
        return queue_sweep(session, load_spec(EXAMPLES / "sweeps" / "first.yaml"), registry())[0]
