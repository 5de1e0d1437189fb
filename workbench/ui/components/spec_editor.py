"""A spec while a person writes it: its form and its YAML are two views of one mapping.

What was written is kept like the fields of any form (``workbench.ui.components.drafts``).
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.spec_draft import Draft, from_yaml, to_yaml

_TYPED = re.compile(r"v\d+_\d+_(\w+)")
"""The name of a form's field, as the browser kept it before the field was left."""
_MOST = 2**53 - 1
"""The largest whole number of a browser."""


def within(low: float, high: float = _MOST) -> Callable[[str], float | None]:
    """Return what reads a number from ``low`` to ``high``, a whole one where ``low`` is.

    What it returns takes the text of a field and returns None where that is empty; it raises
    ValueError where the text is no such number.
    """

    def read(text: str) -> float | None:
        if not text.strip():
            return None
        value = float(text)
        if not low <= value <= high:
            raise ValueError(text)
        return int(value) if isinstance(low, int) else value

    return read


@dataclass(frozen=True, slots=True)
class Typed:
    """A field that is typed into, and where its value stands in the spec."""

    path: tuple[str, ...]
    """The keys that lead to the value."""
    read: Callable[[str], Any] = str
    """Makes the value from the field's text; ValueError where it cannot."""


class SpecEditor:
    """The spec of one page."""

    def __init__(self, form: str, start: Callable[[], Draft], typed: Mapping[str, Typed]) -> None:
        """Open the spec of ``form``.

        Args:
            form: Names it, as in ``FormDraft``.
            start: Makes the spec to begin with.
            typed: The fields of the form that are typed into, by name.
        """
        self.kept = FormDraft(form)
        self._start_key = f"{form}_start"
        self._text_key = f"{form}_text"
        self._typed = typed
        if self._start_key not in st.session_state:
            st.session_state[self._start_key] = start()
        self._take_typed()

    @property
    def mapping(self) -> Draft:
        """The spec as it is now, valid or not."""
        found: Draft = self.kept.values.get("spec", st.session_state[self._start_key])
        return found

    def draw_form(
        self,
        draw: Callable[[Mapping[str, Any], str], Draft],
        check: Callable[[Draft], object],
    ) -> Draft:
        """Draw the form and return the spec.

        Args:
            draw: Draws it from the spec and a prefix of keys.
            check: Raises UsageError where the spec is wrong.

        Raises:
            UsageError: The spec was written as YAML, and fields cannot hold its mistakes.
        """
        if st.session_state.pop(self._text_key, None) is not None:
            self.kept.drop("text")
            self._refill()
        version = f"v{self.kept.n_forgotten}_{st.session_state.get(self._version_key, 0)}"
        # A widget keeps the value that it was first drawn with: fields are filled once a version.
        base_key = f"{self.kept.form}_base_{version}"
        is_first = base_key not in st.session_state
        base = st.session_state.setdefault(base_key, deepcopy(self.mapping))
        place = st.empty()
        try:
            with place.container():
                spec = draw(base, self.kept.key(version))
        except (TypeError, ValueError, AttributeError, StreamlitAPIException):
            place.empty()
            check(base)
            raise
        if is_first and base == st.session_state[self._start_key]:
            st.session_state[self._start_key] = spec  # with what the form writes out
        self._keep(spec)
        return spec

    def draw_text(self, label: str, *, height: int, help: str | None = None) -> Draft:
        """Draw the spec as YAML and return it.

        Raises:
            UsageError: The text is no YAML, or no mapping; it is kept all the same.
        """
        start = st.session_state.setdefault(self._text_key, to_yaml(self.mapping))
        key = self.kept.field("text", start)
        text = st.text_area(label, key=key, height=height, help=help)
        spec = from_yaml(text or "")
        self._keep(spec)
        return spec

    def set_text(self, text: str) -> None:
        """Fill the YAML, before it is drawn."""
        st.session_state[self.kept.key("text")] = text

    @property
    def _version_key(self) -> str:
        return f"{self.kept.form}_version"

    def _refill(self) -> None:
        st.session_state[self._version_key] = st.session_state.get(self._version_key, 0) + 1

    def _keep(self, spec: Draft) -> None:
        self.kept.keep("spec", spec, st.session_state[self._start_key])

    def _take_typed(self) -> None:
        """Put what was restored, or typed and not yet left, into the spec and its fields."""
        if self.kept.take_news():
            self._refill()
        for name, value in self.kept.values.items():
            found = _TYPED.fullmatch(name)
            if found is None:
                continue
            self.kept.drop(name)
            if field := self._typed.get(found[1]):
                self._put(field, str(value))

    def _put(self, field: Typed, text: str) -> None:
        try:
            value = field.read(text)
        except ValueError:
            return  # half a number
        spec = deepcopy(self.mapping)
        *groups, last = field.path
        group = spec
        for one in groups:
            if not isinstance(group.get(one), dict):
                group[one] = {}
            group = group[one]
        group[last] = value
        if value is None:
            del group[last]
        self._keep(spec)
