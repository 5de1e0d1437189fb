"""Small parts that all pages draw alike: headings, empty states, badges, bars, confirmations."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import streamlit as st

from workbench.ui.components.drafts import FormDraft
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

LEAVING: Final = "leaving_form"
KEY: Final = re.compile("[A-Za-z0-9_-]+")
"""Of fields that a page can put the cursor into: signs that a class of HTML has, too."""
POLL_S: Final = 1.0
"""Between looks at what is being counted."""
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


def section(title: str, help: str | None = None) -> None:
    """Draw the title of a part of a page."""
    st.subheader(title, anchor=False, help=help)


def state_badge(state: str) -> None:
    """Draw the state of a job, sweep or engine."""
    colour, icon = STATE_LOOKS.get(state, ("gray", ":material/help:"))
    st.badge(word("state", state), icon=icon, color=colour)


def empty_state(key: str, icon: str, title: str, text: str) -> "st.delta_generator.DeltaGenerator":
    """Draw a calm box that says why nothing is here; return it, for the button that helps."""
    box = st.container(border=True, key=f"empty_{key}", horizontal_alignment="center")
    with box:
        st.markdown(f":primary[{icon}]", text_alignment="center")
        st.markdown(f"**{title}**", text_alignment="center")
        st.caption(text, text_alignment="center")
    return box


def wait_for(text: str, is_there: Callable[[], bool]) -> None:
    """Say what is being counted beside the page; draw the page anew once it is there."""
    st.info(text, icon=":material/hourglass_top:")
    st.fragment(run_every=POLL_S)(_look_again)(is_there, just_looked=[True])


def _look_again(is_there: Callable[[], bool], just_looked: list[bool]) -> None:
    """Look, but for the run that drew the page: each look may wait a while for what it counts."""
    if just_looked:
        just_looked.clear()
    elif is_there():
        st.rerun()


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


def opens_field(shortcut: str, name: str) -> str:
    """Return the key of a button whose shortcut leads into a text field, which ``focus`` is put in.

    What is typed after it waits in the browser until the field is there (``drafts.js``).
    """
    return f"opens-{shortcut.lower()}-{name}"


def focus(key: str) -> None:
    """Put the cursor at the end of the text field called ``key``, so that one can type at once."""
    assert KEY.fullmatch(key)
    # The script may run before the field is drawn: it looks again for two seconds.
    st.html(
        f"""<script>
        (function seek(tries) {{
            const field = document.querySelector(
                ".st-key-{key} textarea, .st-key-{key} input");
            if (field) {{
                field.focus();
                field.setSelectionRange(field.value.length, field.value.length);
            }} else if (tries) {{
                setTimeout(seek, 50, tries - 1);
            }}
        }})(40);
        </script>""",
        unsafe_allow_javascript=True,
    )


def back_link(label: str, on_click: Callable[[], None], draft: FormDraft | None = None) -> None:
    """Draw the way back to the list; Esc is its key, once no field has the cursor.

    Args:
        label: Where it leads.
        on_click: Leaves the page.
        draft: The form on the page; where it has changes, leaving asks first.
    """
    st.button(
        label,
        key="back_link",
        icon=":material/arrow_back:",
        type="tertiary",
        on_click=_leave,
        args=(on_click, draft),
    )
    if draft is not None and st.session_state.pop(LEAVING, None) == draft.form:
        st.dialog(t("draft.leave_title"), icon=":material/edit_note:")(_ask_to_leave)(
            draft, on_click
        )


def _leave(leave: Callable[[], None], draft: FormDraft | None) -> None:
    if draft is not None and draft.is_changed:
        st.session_state[LEAVING] = draft.form
    else:
        leave()


def _ask_to_leave(draft: FormDraft, leave: Callable[[], None]) -> None:
    st.markdown(t("draft.leave_text"))
    with st.container(horizontal=True):
        keeps = st.button(t("draft.leave_keep"), type="primary", icon=":material/save:")
        discards = st.button(t("draft.leave_discard"), icon=":material/delete_sweep:")
    if discards:
        draft.forget()
    if keeps or discards:
        leave()
        st.rerun()


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
