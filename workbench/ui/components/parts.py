"""Small parts that all pages draw alike: headings, rows, cards, empty states, badges, figures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import streamlit as st

from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import count
from workbench.ui.components.text import escaped

Colour = Literal["red", "orange", "yellow", "blue", "green", "violet", "gray"]

STATE_LOOKS: Final[dict[str, tuple[Colour, str]]] = {
    "ready": ("green", ":material/check_circle:"),
    "done": ("green", ":material/check_circle:"),
    "running": ("blue", ":material/play_circle:"),
    "starting": ("blue", ":material/hourglass_top:"),
    "queued": ("gray", ":material/schedule:"),
    "planned": ("gray", ":material/edit_note:"),
    "stopped": ("gray", ":material/stop_circle:"),
    "cancelled": ("gray", ":material/cancel:"),
    "unhealthy": ("orange", ":material/warning:"),
    "failed": ("red", ":material/error:"),
}
"""Colour and icon of every state that a job, sweep or engine can be in."""

CHECK_LOOKS: Final[dict[str, tuple[Colour, str]]] = {
    "empty": ("red", ":material/remove:"),
    "unparsed": ("red", ":material/broken_image:"),
    "cut_off": ("orange", ":material/content_cut:"),
    "content_filter": ("red", ":material/block:"),
    "unusual_end": ("orange", ":material/stop_circle:"),
    "prompt_cut": ("red", ":material/crop:"),
    "length": ("orange", ":material/straighten:"),
    "form": ("yellow", ":material/rule:"),
    "language": ("yellow", ":material/translate:"),
    "boilerplate": ("yellow", ":material/content_copy:"),
    "repetition": ("orange", ":material/repeat:"),
    "answer_leak": ("red", ":material/key:"),
    "dont_know": ("blue", ":material/psychology_alt:"),
}
"""Colour and icon of every check."""

STYLE: Final = Path(__file__).parent / "style.css"
STYLE_JA: Final = STYLE.with_name("style.ja.css")
"""Words that Streamlit has in English only."""


def heading(title: str, lead: str | None = None) -> None:
    """Draw the title of a page and one line that says what the page is for."""
    st.title(title, anchor=False)
    if lead:
        st.markdown(f":gray[{lead}]")


def head_row(key: str) -> "st.delta_generator.DeltaGenerator":
    """Return the row of a page's title and its buttons; they wrap where it is narrow."""
    return st.container(horizontal=True, vertical_alignment="center", key=f"head_{key}")


@contextmanager
def list_head(name: str) -> Iterator[None]:
    """Draw the title of a list and what it is for; what the block draws stands beside it.

    Args:
        name: Prefix of its texts, such as ``sweeps`` of ``sweeps.title``.
    """
    with head_row(name):
        with st.container(width="stretch", gap="xsmall"):
            heading(t(f"{name}.title"), t(f"{name}.lead"))
        yield


@contextmanager
def item_head(key: str, title: str) -> Iterator[None]:
    """Draw the title of one thing, which Markdown reads; what the block draws stands beside it."""
    with head_row(key):
        with st.container(width="content"):
            heading(title)
        yield


@contextmanager
def card_head(key: str, name: str) -> Iterator[None]:
    """Draw the name of the thing on a card, which Markdown reads; the block's own stands after."""
    with head_row(key):
        st.markdown(f"**{name}**", width="content")
        yield


def section(title: str, help: str | None = None) -> None:
    """Draw the title of a part of a page."""
    st.subheader(title, anchor=False, help=help)


def plan_rows(rows: Sequence[tuple[str, str, str | None]]) -> None:
    """Draw what something comes to: name, value and meaning, a line each."""
    for name, value, meaning in rows:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":gray[{name}]", help=meaning, width="content")
            st.space("stretch")
            st.markdown(f"**{value}**", width="content")


def state_badge(state: str) -> None:
    """Draw the state of a job, sweep or engine."""
    colour, icon = STATE_LOOKS.get(state, ("gray", ":material/help:"))
    st.badge(word("state", state), icon=icon, color=colour)


def empty_state(key: str, icon: str, name: str) -> "st.delta_generator.DeltaGenerator":
    """Draw a calm box that says why nothing is here; return it, for the button that helps.

    Args:
        key: Of the box on its page.
        icon: Name of a Material symbol.
        name: Prefix of its texts, such as ``sweeps.none`` of ``sweeps.none.title``.
    """
    box = st.container(border=True, key=f"empty_{key}", horizontal_alignment="center")
    with box:
        symbol = f":material/{icon}:"
        st.markdown(f":primary[{symbol}]", text_alignment="center")
        st.markdown(f"**{t(f'{name}.title')}**", text_alignment="center")
        st.caption(t(f"{name}.text"), text_alignment="center")
    return box


def card(
    key: str, gap: Literal["xsmall", "small"] = "small"
) -> "st.delta_generator.DeltaGenerator":
    """Return a card: a bordered box on its own ground."""
    return st.container(border=True, key=f"card_{key}", gap=gap)


def figures(key: str, pairs: Sequence[tuple[str, int | str, str]]) -> None:
    """Draw rows of figures, each with its name and what it means; six break in the middle."""
    shape = "six" if len(pairs) == 6 else "few"
    with st.container(horizontal=True, gap="small", key=f"figures_{shape}_{key}"):
        for name, value, meaning in pairs:
            shown = count(value) if isinstance(value, int) else value
            st.metric(name, shown, help=meaning, border=True)


def check_badges(flags: Sequence[tuple[str, str | None]]) -> None:
    """Draw what the checks found on a text, each with its meaning and what was found.

    Args:
        flags: Name and detail of each finding; none draws one quiet badge.
    """
    with st.container(horizontal=True, gap="xsmall"):
        if not flags:
            st.badge(
                t("check.none"), icon=":material/check:", color="green", help=t("check.none_help")
            )
        for name, detail in flags:
            colour, icon = CHECK_LOOKS.get(name, ("orange", ":material/flag:"))
            meaning = word("check_help", name) if name else ""
            found = f"\n\n{t('check.found')} {escaped(detail)}" if detail else ""
            st.badge(word("check", name), icon=icon, color=colour, help=f"{meaning}{found}")
