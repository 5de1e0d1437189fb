"""What is typed into a form stays until it is submitted or discarded.

Several tabs may show one form: the browser keeps what was changed last, and a tab that comes to the
front takes over what others changed, unless it was changed in this tab, too. What was typed into
one store never shows in another that the same address serves later.

A form's fields take their keys from a ``FormDraft``. What a field holds is kept for the visit, so
that it is there again after Esc, and in the browser's local storage, so that it survives a reload,
a lost connection and a server that was started anew. The browser also keeps each letter as it is
typed, before the field is left. The script beside this file does the browser's part, and gives Esc
its one meaning: it leaves a field first, and the page only then.
"""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import streamlit as st

from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.store import mark

KEY = "drafts"
_STORED = "drafts_kept"
_FORGOTTEN = "drafts_forgotten"
_RESTORED = "drafts_restored"
_NEWS = "drafts_news"
_TAKEN = "drafts_taken"
THEMES = ("System", "Light", "Dark")
"""As Streamlit calls them in the browser."""
THEME_COOKIE = "q2q_theme"
_COOKIES = "cookies_kept"
_THEME = "theme_chosen"
_VISIT = "drafts_visit"
_BORDER = "--"
"""Between the parts of a field's key; the browser reads form and field from it."""
SCRIPT = Path(__file__).with_name("drafts.js")


class FormDraft:
    """The fields of one form, as far as they differ from what the form begins with."""

    def __init__(self, form: str) -> None:
        """Open the draft of ``form``: letters, digits and single hyphens, e.g. ``question-12``."""
        assert _BORDER not in form
        self.form = form

    @property
    def values(self) -> dict[str, Any]:
        """The fields that differ, by name."""
        return dict(_stored().get(self.form, {}))

    @property
    def is_changed(self) -> bool:
        """Whether anything would be lost by discarding it."""
        return bool(_stored().get(self.form))

    @property
    def is_restored(self) -> bool:
        """Whether it comes from an earlier visit and has not been submitted or discarded since."""
        return self.is_changed and self.form in st.session_state.get(_RESTORED, ())

    @property
    def n_forgotten(self) -> int:
        """How often the form has begun afresh in this visit."""
        return int(st.session_state.get(_FORGOTTEN, {}).get(self.form, 0))

    def key(self, name: str) -> str:
        """Return the key of the field ``name``: letters, digits and underscores."""
        return _BORDER.join(("draft", self.form, name))

    def field(self, name: str, default: Any = None, options: Sequence[Any] | None = None) -> str:
        """Return the key of a field; draw its widget with this key and without a value of its own.

        Args:
            name: Of the field within the form.
            default: What the field begins with.
            options: What it can be chosen from; what is kept and no longer there is left out.
        """
        key = self.key(name)
        if key not in st.session_state:
            stored = _stored().get(self.form, {})
            st.session_state[key] = _fitting(stored.get(name, default), default, options)
        self.keep(name, st.session_state[key], default)
        return key

    def drop(self, name: str) -> None:
        """Let one field begin afresh."""
        self.keep(name, None)
        st.session_state.pop(self.key(name), None)

    def redraw(self) -> None:
        """Let all fields begin with what is kept, or with their defaults."""
        prefix = self.key("")
        for key in [key for key in st.session_state if str(key).startswith(prefix)]:
            del st.session_state[key]

    def take_news(self) -> bool:
        """Tell, once, whether an earlier visit's values have come since the form was drawn."""
        news: set[str] = st.session_state.setdefault(_NEWS, set())
        is_new = self.form in news
        news.discard(self.form)
        return is_new

    def keep(self, name: str, value: Any, default: Any = None) -> None:
        """Keep ``value``, which JSON can hold, under ``name``; nothing where it is the default."""
        stored = _stored().setdefault(self.form, {})
        if value == default:
            stored.pop(name, None)
        else:
            stored[name] = value
        if not stored:
            _stored().pop(self.form, None)

    def forget(self) -> None:
        """Let the form begin afresh: it was submitted, or its changes are discarded."""
        _stored().pop(self.form, None)
        self.redraw()
        forgotten = st.session_state.setdefault(_FORGOTTEN, {})
        forgotten[self.form] = forgotten.get(self.form, 0) + 1
        st.session_state[_RESTORED] = st.session_state.get(_RESTORED, set()) - {self.form}

    def draw_notice(self) -> None:
        """Say where the form holds what was typed in an earlier visit, and offer to discard it."""
        if not self.is_restored:
            return
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f":material/history: {t('draft.restored')}", width="content")
            st.button(
                t("draft.discard"),
                key=f"discard_{self.form}",
                type="tertiary",
                icon=":material/delete_sweep:",
                on_click=self.forget,
            )


def remember(cookie: str, value: str) -> None:
    """Let the browser remember something small of its visitor: for new tabs and later visits."""
    st.session_state.setdefault(_COOKIES, {})[cookie] = value


def recalled(cookie: str) -> str:
    """Return what the browser remembers of its visitor; empty where it is nothing."""
    kept: dict[str, str] = st.session_state.get(_COOKIES, {})
    if cookie in kept:
        return kept[cookie]
    found = st.context.cookies.get(cookie)
    return unquote(found) if isinstance(found, str) else ""


def choose_theme(theme: str) -> None:
    """Show all pages of this browser in ``theme``, one of ``THEMES``.

    Streamlit keeps a theme for each page that was loaded, and takes it when one is loaded: the
    browser loads this one again.
    """
    remember(THEME_COOKIE, theme)
    st.session_state[_THEME] = st.session_state.get(_THEME, 0) + 1


def keep_in_browser(page: str, pages: Sequence[str]) -> None:
    """Hand what is kept to the browser, which brings it back in the next visit.

    Args:
        page: Path of the page; where it or an address changes, the browser looks again.
        pages: Paths of all pages.
    """
    visit, theme = st.session_state.setdefault(_VISIT, uuid.uuid4().hex), recalled(THEME_COOKIE)
    _component()(
        key=KEY,
        data={
            "visit": visit,
            "store": mark(),
            "taken": st.session_state.get(_TAKEN, 0),
            "drafts": _stored(),
            "forgotten": st.session_state.get(_FORGOTTEN, {}),
            "address": {"lang": current_language()},
            "place": [page, st.query_params.to_dict()],
            "cookies": st.session_state.get(_COOKIES, {}),
            "theme": [st.session_state.get(_THEME, 0), theme if theme in THEMES else None],
            "pages": pages,
        },
        on_restored_change=_restore,
    )


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("drafts", html="<i></i>", js=SCRIPT.read_text("utf-8"))


def _stored() -> dict[str, dict[str, Any]]:
    """Return form → field → value, of this visit."""
    stored: dict[str, dict[str, Any]] = st.session_state.setdefault(_STORED, {})
    return stored


def _restore() -> None:
    """Take what the browser kept, which is newer; nothing kept: the form begins afresh."""
    found = st.session_state[KEY].get("restored")
    if not isinstance(found, Mapping):
        return
    st.session_state[_TAKEN] = found["n"]
    for form, values in found["forms"].items():
        if isinstance(values, Mapping) and values:
            _take(str(form), values)
        else:
            FormDraft(str(form)).forget()


def _take(form: str, values: Mapping[str, Any]) -> None:
    if form not in _stored():
        st.session_state.setdefault(_RESTORED, set()).add(form)
    st.session_state.setdefault(_NEWS, set()).add(form)
    before = _stored().get(form, {})
    _stored()[form] = {str(name): value for name, value in values.items()}
    for name in {*before, *_stored()[form]}:
        st.session_state.pop(FormDraft(form).key(name), None)


def _fitting(value: Any, default: Any, options: Sequence[Any] | None) -> Any:
    """Return ``value`` where the field can hold it: the browser's may be of an older form."""
    if isinstance(default, list):
        if not isinstance(value, list):
            return default
        return value if options is None else [one for one in value if one in options]
    if options is not None:
        return value if value in options else default
    if isinstance(default, bool) or isinstance(value, (Mapping, list)):
        return value if isinstance(value, bool) else default
    if isinstance(default, (int, float)) or default is None:
        return _number(value, default)
    return str(value)


def _number(value: Any, default: Any) -> Any:
    """Return a number that may have been typed; a float stays one."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return default
    if isinstance(default, float) or value is None:
        return value
    return int(value) if float(value).is_integer() else value
