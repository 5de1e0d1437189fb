"""Models and engines on Home: state, loading progress, start and stop, servers by URL."""

from collections.abc import Mapping, Sequence

import streamlit as st

from db.database import Database
from db.engines import LOCAL, EngineRow, add_external, remove_external
from db.jobs import INTERACTIVE_PRIORITY, enqueue
from db.models import ModelRow
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t, translated
from workbench.ui.components.labels import count, model_note, parameters, size
from workbench.ui.components.parts import card, head_row, state_badge
from workbench.ui.components.text import escaped, one_line
from workbench.ui.home.next_step import can_start, can_stop


def draw_engines(
    database: Database, engines: Sequence[EngineRow], models: Mapping[int, ModelRow]
) -> None:
    """Draw a card for each model server."""
    for engine in engines:
        with card(f"engine_{engine.id}"):
            _head(database, engine)
            if engine.state == "starting":
                st.progress(
                    engine.progress or 0.0,
                    text=one_line(translated(engine.message or "") or t("engine.loading"), 200),
                )
            elif engine.message:
                st.caption(escaped(translated(engine.message)))
            for offered in engine.models:
                _model(models[offered.model_version_id])


def _head(database: Database, engine: EngineRow) -> None:
    with head_row(f"engine_{engine.id}"):
        name = t("engine.local") if engine.name == LOCAL else escaped(engine.name)
        st.markdown(f"**{name}**", width="content", help=t("engine.help"))
        state_badge(engine.state)
        if engine.software:
            st.caption(escaped(engine.software), width="content")
        st.space("stretch")
        if can_start(engine):
            _button(database, engine, "start")
        elif can_stop(engine):
            _button(database, engine, "stop")
        elif engine.kind == "external":
            _button(database, engine, "remove")
    if engine.url:
        st.caption(escaped(engine.url))


def _button(database: Database, engine: EngineRow, what: str) -> None:
    icon = {"start": "play_arrow", "stop": "stop", "remove": "close"}[what]
    if st.button(
        t(f"engine.{what}"),
        key=f"engine_{what}_{engine.id}",
        icon=f":material/{icon}:",
        type="primary" if what == "start" else "tertiary",
    ):
        with database.write() as session:
            if what == "remove":
                remove_external(session, engine.name)
            else:
                kind = "serve_start" if what == "start" else "serve_stop"
                payload = {"model": None} if what == "start" else {}
                enqueue(session, kind, payload=payload, priority=INTERACTIVE_PRIORITY)
        st.rerun()


def _model(model: ModelRow) -> None:
    facts = [
        t(f"model.kind.{model.kind}"),
        t("model.parameters", n=parameters(model.n_parameters)) if model.n_parameters else None,
        size(model.size_bytes) if model.size_bytes else None,
        t("model.context", n=count(model.context_length)) if model.context_length else None,
    ]
    st.markdown(
        f"{escaped(model.name)} &nbsp; :gray[:small[{' · '.join(fact for fact in facts if fact)}]]",
        help=t("model.digest_help", digest=model.digest or t("model.undigested")),
    )
    if note := model_note(model):
        st.info(note, icon=":material/science:")


def draw_add_server(database: Database) -> None:
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
        if not st.form_submit_button(t("server.submit"), type="primary"):
            return
        with errors_shown():
            with database.write() as session:
                add_external(
                    session,
                    (name or "").strip(),
                    (address or "").strip(),
                    api_key_env=(key_variable or "").strip() or None,
                    tokenizer_path=(tokenizer or "").strip() or None,
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
