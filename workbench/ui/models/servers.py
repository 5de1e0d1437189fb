"""Model servers: what each offers and does, started, stopped, asked again, removed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import streamlit as st

from db.engines import EngineRow, EngineUse, remove_external
from db.jobs import INTERACTIVE_PRIORITY, enqueue
from db.models import ModelRow
from db.server_keys import forget_key
from db.settings import settings
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import count, model_note, parameters, size
from workbench.ui.components.parts import card, head_row, state_badge
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, told


def can_start(engine: EngineRow) -> bool:
    """Tell whether a person may start the server: only the workbench's own."""
    return engine.kind == "child" and (not engine.wanted or engine.state == "failed")


def can_stop(engine: EngineRow) -> bool:
    """Tell whether a person may stop the server: only the workbench's own."""
    return engine.kind == "child" and engine.wanted and engine.state != "failed"


def can_wait(engine: EngineRow) -> bool:
    """Tell whether the server will do something without being asked."""
    return engine.wanted and engine.state == "stopped"


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
                    text=told(engine.message or t("engine.loading"), 200),
                )
            elif engine.message:
                st.caption(told(engine.message))
            for offered in engine.models:
                price = (engine.offers or {}).get(offered.served_name)
                _model(models[offered.model_version_id], shared[offered.model_version_id], price)
            for use in engine.load:
                _use(use, is_one_of_many=len(engine.load) > 1)


def _head(engine: EngineRow, *, is_one_machine: bool) -> None:
    with head_row(f"engine_{engine.id}"):
        name = escaped(engine.worker or engine.name)
        if engine.kind == "child" and is_one_machine:
            name = t("engine.local")
        st.markdown(f"**{name}**", width="content", help=t("engine.help"))
        state_badge(engine.state)
        if not engine.capabilities.get("completions", True):
            st.badge(t("engine.chat"), color="violet", help=t("engine.chat_help"))
        if engine.software:
            st.caption(escaped(engine.software), width="content")
        st.space("stretch")
        if can_start(engine):
            _button(engine, "start")
        elif can_stop(engine):
            _button(engine, "stop")
        elif engine.kind == "external":
            if engine.state != "starting":
                _button(engine, "probe")
            _draw_remove(engine)
    if engine.url:
        key = t("engine.key", name=escaped(engine.api_key_env)) if engine.api_key_env else ""
        st.caption(" · ".join(part for part in (escaped(engine.url), key) if part))


def _button(engine: EngineRow, what: Literal["start", "stop", "probe"]) -> None:
    icon = {"start": "play_arrow", "stop": "stop", "probe": "refresh"}[what]
    if st.button(
        t(f"engine.{what}"),
        key=f"engine_{what}_{engine.id}",
        icon=f":material/{icon}:",
        type="primary" if what == "start" else "tertiary",
    ):
        jobs: dict[str, tuple[str, dict[str, str | None]]] = {
            "start": ("serve_start", {"model": None}),
            "stop": ("serve_stop", {}),
            "probe": ("probe_engine", {"engine": engine.name}),
        }
        kind, payload = jobs[what]
        with database().write() as session:
            enqueue(
                session,
                kind,
                payload=payload,
                priority=INTERACTIVE_PRIORITY,
                worker_id=engine.worker_id,
            )
        st.rerun()


def _draw_remove(engine: EngineRow) -> None:
    with st.popover(t("engine.remove"), icon=":material/close:", type="tertiary"):
        st.markdown(t("engine.remove_help", name=escaped(engine.name)))
        if st.button(t("engine.remove_now"), key=f"engine_remove_{engine.id}", type="primary"):
            with errors_shown():
                with database().write() as session:
                    gone = remove_external(session, engine.name)
                if gone is not None:
                    forget_key(settings().home_dir, gone)
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


def _model(model: ModelRow, n_servers: int, price: Mapping[str, float] | None) -> None:
    facts = [
        t(f"model.kind.{model.kind}"),
        t("model.parameters", n=parameters(model.n_parameters)) if model.n_parameters else None,
        size(model.size_bytes) if model.size_bytes else None,
        t("model.context", n=count(model.context_length)) if model.context_length else None,
        t("model.servers", n=n_servers) if n_servers > 1 else None,
        t("model.price", **price) if price else None,
    ]
    st.markdown(
        f"{escaped(model.name)} &nbsp; :gray[:small[{' · '.join(fact for fact in facts if fact)}]]",
        help=t("model.digest_help", digest=model.digest or t("model.undigested")),
    )
    if model.kind != "declared" and (note := model_note(model)):
        st.info(note, icon=":material/science:")
