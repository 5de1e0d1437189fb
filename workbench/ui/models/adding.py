"""Adding models: a server by URL, tested before it is added; one of the hub, or of a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from db.engines import add_external
from db.errors import UsageError
from db.jobs import INTERACTIVE_PRIORITY, JobRow, enqueue, recent_jobs
from db.models import list_models
from db.server_keys import check_key, find_key, keep_key
from db.settings import check_server_name, check_server_url, settings
from serving.engine.client import CompletionClient
from serving.engine.messages import NEUTRAL, Endpoint
from serving.engine.probe import ProbeResult, offered_models, probe
from serving.engine.transport import blocking
from serving.models.hub import is_hub_id
from workbench.ui.components import url as address
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, told

ADD = "add_model"
"""Kind of the job that reads a folder or fetches a model of the hub."""
TEST_TIMEOUT_S = 60.0
_TESTED, _KEY = "server_tested", "server_key"
_CANNOT = ("token_ids", "n", "prompt_list", "seed", "prompt_logprobs", "priority")
"""Capabilities whose lack is told."""


@dataclass(frozen=True, slots=True)
class TestedServer:
    """What a test found; the key is no part of it."""

    url: str
    models: tuple[str, ...]
    model: str | None
    """The one that was asked to write."""
    found: ProbeResult | None


def draw_adding(*, is_open: bool) -> None:
    """Draw the forms that add a server, or a model of the hub or of a folder."""
    with st.expander(t("adding.title"), expanded=is_open, icon=":material/add:"):
        server, folder = st.tabs([t("adding.server"), t("adding.folder")])
        with server:
            _draw_server()
        with folder:
            _draw_folder()


def _draw_server() -> None:
    st.markdown(t("server.lead"))
    draft = FormDraft("server")
    left, right = st.columns(2)
    name = left.text_input(
        t("server.name"), key=draft.field("name", ""), placeholder="teacher", max_chars=40
    )
    url = right.text_input(
        t("server.url"), key=draft.field("url", ""), placeholder="https://api.example.org/v1"
    )
    # No field of the draft: a draft is kept in the browser.
    n = draft.n_forgotten
    key = st.text_input(
        t("server.key"), type="password", key=f"{_KEY}_{n}", help=t("server.key_help")
    )
    with st.expander(t("server.more")):
        variable = st.text_input(
            t("server.variable"),
            key=draft.field("key_variable", ""),
            placeholder="TEACHER_API_KEY",
            help=t("server.variable_help"),
        )
        tokenizer = st.text_input(
            t("server.tokenizer"),
            key=draft.field("tokenizer", ""),
            help=t("server.tokenizer_help"),
        )
        weights = st.text_input(
            t("server.model"), key=draft.field("model", ""), help=t("server.model_help")
        )
    given = {one: value.strip() for one, value in (("url", url or ""), ("key", key or ""))}
    tested: TestedServer | None = st.session_state.get(_TESTED)
    if tested is not None and tested.url != given["url"]:
        tested = None
    offers = _draw_offers(tested, draft)
    with st.container(horizontal=True, gap="small"):
        wants_test = st.button(t("server.test"), icon=":material/network_check:")
        wants_add = st.button(
            t("server.submit"),
            type="primary",
            icon=":material/add:",
            disabled=tested is None,
            key="add_server",
        )
    if wants_test:
        with errors_shown(), st.spinner(t("server.testing")):
            st.session_state[_TESTED] = _test(given["url"], given["key"], next(iter(offers), None))
            st.rerun()
    if wants_add:
        with errors_shown():
            _add(
                (name or "").strip(),
                given["url"],
                given["key"],
                api_key_env=(variable or "").strip() or None,
                tokenizer_path=(tokenizer or "").strip() or None,
                model_name=(weights or "").strip() or None,
                offers=offers,
            )
            draft.forget()
            st.session_state.pop(_TESTED, None)
            st.toast(t("server.added", name=escaped((name or "").strip())), icon=":material/check:")
            st.rerun()


def _test(url: str, key: str, model: str | None) -> TestedServer:
    """Ask a server what it offers and, where that is one model or one is chosen, to write.

    Raises:
        Q2QError: It does not answer as it should; the sentence says why.
    """
    check_server_url(url)
    if key:
        check_key(key)
    elif (kept := find_key(settings().home_dir, url)) is not None:
        key = kept[0]
    endpoint = Endpoint(url=url, api_key=key or None, ca_file=settings().ca_file)

    async def look() -> TestedServer:
        async with CompletionClient(endpoint) as client:
            models = tuple(one.name for one in await offered_models(client, named=model))
        asked = model or (models[0] if len(models) == 1 else None)
        found = None
        if asked is not None:
            found = await probe(endpoint, model=asked, timeout_s=TEST_TIMEOUT_S)
        return TestedServer(url, models, asked, found)

    return blocking(look())


def _draw_offers(tested: TestedServer | None, draft: FormDraft) -> dict[str, dict[str, float]]:
    """Draw what a test found, and which of the models are used at what price; return these."""
    if tested is None:
        name = st.text_input(
            t("server.unlisted"), key=draft.field("unlisted", ""), help=t("server.unlisted_help")
        )
        return {name.strip(): {}} if name and name.strip() else {}
    _draw_found(tested)
    start = [tested.model] if tested.model in tested.models else []
    chosen = st.multiselect(
        t("server.offers", n=len(tested.models)),
        tested.models,
        default=start or (tested.models if len(tested.models) == 1 else []),
        key=f"server_offers_{draft.n_forgotten}_{hash(tested.url)}",
        help=t("server.offers_help"),
        format_func=str,
    )
    if not chosen:
        return {}
    rows = st.data_editor(
        [{"model": one, "input": None, "output": None} for one in chosen],
        hide_index=True,
        key=f"server_prices_{draft.n_forgotten}_{hash(tuple(chosen))}",
        column_config={
            "model": st.column_config.TextColumn(t("server.offered"), disabled=True),
            "input": st.column_config.NumberColumn(t("server.price_in"), min_value=0.0),
            "output": st.column_config.NumberColumn(
                t("server.price_out"), min_value=0.0, help=t("server.price_help")
            ),
        },
    )
    return {str(row["model"]): _price(row) for row in rows}


def _price(row: Mapping[str, Any]) -> dict[str, float]:
    told = {name: row.get(name) for name in ("input", "output")}
    given = {name: float(value) for name, value in told.items() if value is not None}
    return given if len(given) == len(told) else {}


def _draw_found(tested: TestedServer) -> None:
    with card("server_found", gap="xsmall"):
        st.markdown(f":green[:material/check_circle: {t('server.answers', n=len(tested.models))}]")
        found = tested.found
        if found is None or tested.model is None:
            st.caption(t("server.choose"))
            return
        can = found.capabilities
        way = "chat" if not can.completions else "ids" if can.token_ids else "text"
        st.markdown(t(f"server.way.{way}", model=escaped(tested.model)))
        asked = _CANNOT if can.completions else ("n", "seed")
        if lacks := [t(f"server.can.{name}") for name in asked if not getattr(can, name)]:
            st.caption(t("server.lacks", names=", ".join(lacks)))
        if refused := [name for name in NEUTRAL if name in can.refused_fields]:
            st.caption(t("server.refuses", names=", ".join(refused)))


def _add(
    name: str, url: str, key: str, *, offers: Mapping[str, Mapping[str, float]], **values: Any
) -> None:
    """Write a server and keep its key; the worker then asks it what it can do.

    Raises:
        UsageError: The name is taken or none, or there are two keys, or it cannot be kept.
    """
    check_server_name(name)
    if key and values["api_key_env"]:
        raise UsageError("Give the key or the variable that holds it: a server has one key.")
    with database().write() as session:
        add_external(session, name, url, offers=offers, **values)
        if key:  # one that cannot be kept leaves no server behind
            keep_key(settings().home_dir, url, key)
        enqueue(session, "probe_engine", payload={"engine": name}, priority=INTERACTIVE_PRIORITY)


def _draw_folder() -> None:
    st.markdown(t("folder.lead"))
    draft = FormDraft("model-folder")
    source = st.text_input(
        t("folder.source"),
        key=draft.field("source", ""),
        placeholder="owner/name",
        help=t("folder.source_help"),
    )
    left, right = st.columns(2)
    name = left.text_input(t("folder.name"), key=draft.field("name", ""), max_chars=80)
    with database().read() as session:
        bases = ["", *(one.name for one in list_models(session) if one.kind == "base")]
    base = right.selectbox(
        t("folder.base"),
        bases,
        key=draft.field("base", "", bases),
        format_func=lambda one: escaped(one) if one else t("folder.base_any"),
    )
    if st.button(t("folder.submit"), type="primary", icon=":material/add:", key="add_folder"):
        with errors_shown():
            _queue((source or "").strip(), (name or "").strip() or None, base or None)
            draft.forget()
            st.toast(t("folder.queued"), icon=":material/check:")
            st.rerun()


def _queue(source: str, name: str | None, base: str | None) -> None:
    """Have a model added by the worker.

    Raises:
        UsageError: It is neither a folder nor a hub id.
    """
    if not Path(source).expanduser().is_dir() and not is_hub_id(source.partition("@")[0]):
        raise UsageError(
            "{source} is neither a folder nor a hub id. Give the folder that holds config.json, "
            "or an id as owner/name.",
            source=source or "–",
        )
    payload = {"source": source, "name": name, "base": base}
    with database().write() as session:
        enqueue(session, ADD, payload=payload, priority=INTERACTIVE_PRIORITY)


def draw_last_added(jobs: Sequence[JobRow]) -> None:
    """Draw how the last adding ended, while it is among the last jobs of the store."""
    if any(job.kind == ADD for job in jobs):
        return
    with database().read() as session:
        last = next((one for one in recent_jobs(session) if one.kind == ADD), None)
    if last is None or last.state == "cancelled":
        return
    if last.error:
        st.error(told(last.error), icon=":material/error:")
    elif last.result is not None:
        st.caption(f":material/check: {escaped(str(last.result['message']))}")


def asks_to_add() -> bool:
    """Tell whether the address of the page asks for the form, as a link from Home does."""
    return address.parameter("add") is not None
