"""“How this came to be”: everything that the store knows of one text, and its download."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import streamlit as st

from db.errors import Q2QError
from db.texts.provenance import Provenance, provenance
from workbench.ui.components.i18n import t, word
from workbench.ui.components.numbers import count, duration
from workbench.ui.components.parts import check_badges
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, show_text
from workbench.ui.questions.view import numbered_ids

OPEN = "panel_open"
CLOSED = "panels_closed"
SHOWN_DIGITS = 23
"""Of a fingerprint; the download has all."""


def how_button(ref: str, label: str | None = None) -> None:
    """Draw the button that opens the panel of the text ``ref``."""
    if st.button(
        label or t("results.how_short"),
        key=f"how_{ref}",
        icon=":material/info:",
        type="tertiary",
        help=t("results.how"),
    ):
        open_how(ref)


def open_how(ref: str) -> None:
    """Open the panel of the text ``ref``."""
    st.session_state[OPEN] = True
    panel = st.dialog(t("how.title"), width="large", icon=":material/info:", on_dismiss=_close)
    panel(_draw)(ref)


def _close() -> None:
    forget_panel()
    st.session_state[CLOSED] = panels_closed() + 1


def forget_panel() -> None:
    """Note that no panel is open, as at the begin of each run of a page."""
    st.session_state.pop(OPEN, None)


def is_panel_open() -> bool:
    """Tell whether a panel is open; to draw the page again would close it."""
    return OPEN in st.session_state


def panels_closed() -> int:
    """Return how many panels this visit has closed."""
    closed: int = st.session_state.get(CLOSED, 0)
    return closed


def _draw(ref: str) -> None:
    try:
        with database().read() as session:
            found = provenance(session, ref)
    except Q2QError as error:
        st.error(escaped(str(error)))
        return
    show_text(found.text or "")
    check_badges(found.checks)
    draw_lines(facts(found))
    made = found.generation
    if made is None:
        st.caption(t("how.imported" if found.source == "imported" else "how.by_person"))
    else:
        if made.prompt_text is not None:
            with st.expander(t("how.prompt"), icon=":material/send:"):
                st.code(made.prompt_text, language=None, wrap_lines=True)
        if made.prompt_token_ids is not None:
            n_ids = len(made.prompt_token_ids)
            with st.expander(t("how.ids", n=n_ids), icon=":material/tag:"):
                st.code(numbered_ids(made.prompt_token_ids), language=None, wrap_lines=True)
        if made.completion is not None:
            with st.expander(t("how.raw"), icon=":material/data_object:"):
                st.code(made.completion, language=None, wrap_lines=True)
    st.download_button(
        t("how.download"),
        as_json(found),
        f"{ref}.json",
        "application/json",
        icon=":material/download:",
        on_click="ignore",
    )


def draw_lines(lines: Sequence[tuple[str, str]]) -> None:
    """Draw names and values, each pair on a line."""
    for name, value in lines:
        left, right = st.columns([1, 2], gap="small")
        left.markdown(f":gray[{name}]")
        right.text(value, width="stretch")


def facts(found: Provenance) -> Sequence[tuple[str, str]]:
    """Return the lines of the panel: what is asked, and the answer as plain text."""
    lines = [(t("how.link"), str(found.ref)), (t("question.source"), _source(found))]
    made = found.generation
    if made is not None:
        lines += [
            (t("how.made_by"), made.model.name),
            (t("how.weights"), (made.model.digest or t("model.undigested"))[: SHOWN_DIGITS + 7]),
        ]
        if made.lineage:
            lines.append((t("how.from_base"), " ← ".join(model.name for model in made.lineage)))
        lines += [
            (
                t("how.mode"),
                f"{word('mode', made.mode)} · {t('how.replicate')} {made.replicate + 1}",
            ),
            (t("how.format"), f"{made.prompt_format} · {made.role}"),
            (t("how.sampling"), _sampling(made.sampling)),
            (t("how.seed"), t("how.seed_none") if made.seed is None else str(made.seed)),
            (t("how.tokens"), f"{count(made.prompt_tokens)} / {count(made.completion_tokens)}"),
            (
                t("how.finish"),
                word("finish", made.finish_reason or ("none" if made.error else "unknown")),
            ),
            (
                t("how.engine"),
                " · ".join(p for p in (made.engine, made.engine_version) if p) or "–",
            ),
            (t("how.request"), made.request_id or "–"),
            (
                t("how.time"),
                duration(made.latency_ms / 1000) if made.latency_ms is not None else "–",
            ),
        ]
    if found.parents:
        lines.append((t("how.parents"), ", ".join(str(ref) for ref in found.parents)))
    lines.append((t("how.when"), f"{found.created_at:%Y-%m-%d %H:%M:%S} UTC"))
    return lines


def _source(found: Provenance) -> str:
    source = word("source", found.source) if found.source else "–"
    return f"{source} · {found.author}" if found.author else source


def _sampling(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items() if value is not None)


def as_json(found: Provenance) -> str:
    """Return everything that the panel knows, for the download."""
    return json.dumps(asdict(found), ensure_ascii=False, indent=2, default=str)
