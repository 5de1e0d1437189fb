"""Controls that all pages draw alike: the way back, open, new, download; errors said in place."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from db.errors import Q2QError
from workbench.ui.components import url
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.keys import Key
from workbench.ui.components.text import escaped, one_line, told

NAME: Final = "Q2Q Workbench"
is_redrawn: Final = ContextVar("is_redrawn", default=False)
"""Whether what is drawn now will be drawn again by itself, without a press."""
ButtonType = Literal["primary", "secondary", "tertiary"]

ITEM_PAGES: Final = {
    "sweep": ("sweeps", "sweep", "grid_view"),
    "dialogue": ("dialogues", "session", "forum"),
    "dataset": ("datasets", "dataset", "dataset"),
    "training_run": ("training", "run", "model_training"),
    "model": ("models", "model", "deployed_code"),
    "round": ("rounds", "round", "cycle"),
}
"""Of each kind with a page of its own: the page, its name in the address there, and an icon."""
LEAVING: Final = "leaving_form"
KEY: Final = re.compile("[A-Za-z0-9_-]+")
"""Of fields that a page can put the cursor into: signs that a class of HTML has, too."""


@contextmanager
def errors_shown() -> Iterator[None]:
    """Say in place, in the language of the visit, what could not be done; end the block there.

    A part that is drawn again by itself would lose the sentence in a moment: it is said beside it.
    """
    try:
        yield
    except Q2QError as error:
        sentence = told(error)
        if is_redrawn.get():
            st.toast(sentence, icon=":material/error:", duration="long")
        else:
            st.error(sentence)


def open_button(label: str, key: str, name: str, value: object, *, disabled: bool = False) -> None:
    """Draw, at the end of a row, the button that opens what ``?name=value`` names."""
    st.space("stretch")
    if st.button(
        label,
        key=key,
        icon=":material/arrow_forward:",
        icon_position="right",
        type="tertiary",
        disabled=disabled,
        on_click=url.put,
        args=(name, str(value)),
    ):
        st.rerun()  # still drawn, it stands in a fragment: the page is to be drawn anew


def new_button(label: str) -> None:
    """Draw the button that opens the form of a new thing; A (add) is its key."""
    st.button(
        label,
        type="primary",
        icon=":material/add:",
        shortcut=Key.ADD,
        on_click=url.put,
        args=("new", "1"),
    )


def page_link(page: str, label: str, icon: str | None = None, **parameters: object) -> None:
    """Draw the link to another page, with what its address says."""
    st.page_link(
        path_of(page),
        label=label,
        icon=f":material/{icon}:" if icon else None,
        query_params={name: str(value) for name, value in parameters.items()},
    )


def path_of(page: str) -> str:
    """Return the script of a page, for Streamlit."""
    return f"ui/{page}/page.py"


def download(
    label: str,
    content: Any,
    name: str,
    *,
    mime: str | None = None,
    icon: str = "download",
    type: ButtonType = "secondary",
    help: str | None = None,
) -> None:
    """Draw the button that hands ``content`` to the browser as the file ``name``."""
    st.download_button(
        label,
        content,
        name,
        mime,
        icon=f":material/{icon}:",
        type=type,
        on_click="ignore",
        help=help,
    )


def opens_field(key: Key, name: str) -> str:
    """Return the name of a button whose key leads into a text field, which ``focus`` is put in.

    What is typed after it waits in the browser until the field is there (``drafts.js``).
    """
    return f"opens-{key.lower().replace('+', '-')}-{name}"


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


def back_link(
    label: str, on_click: Callable[[], None], draft: FormDraft | None = None
) -> DeltaGenerator:
    """Draw the way back to the list; Esc is its key, once no field has the cursor.

    Args:
        label: Where it leads.
        on_click: Leaves the page.
        draft: The form on the page; where it has changes, leaving asks first.

    Returns:
        The row that it stands in, for ``trail``.
    """
    row = st.container(
        horizontal=True, vertical_alignment="center", gap="xxsmall", key="trail", width="content"
    )
    row.button(
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
    return row


def trail(row: DeltaGenerator, *names: str) -> None:
    """Say after the way back where one is: the thing, then a part of it; the tab is named so, too.

    Args:
        row: Of the way back.
        names: As people wrote them: of the thing on the page, and of the view of it.
    """
    for name in names:
        row.markdown(f":gray[›] {escaped(one_line(name, 60))}", width="content")
    st.set_page_config(page_title=f"{one_line(names[0], 80)} · {NAME}")


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
