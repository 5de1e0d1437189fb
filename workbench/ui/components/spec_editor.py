"""A spec while a person writes it: its form and its YAML are two views of one mapping.

What was written is kept like the fields of any form (``workbench.ui.components.drafts``).
"""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st
import yaml

from db.errors import UsageError
from db.input_text import load_mapping
from workbench.ui.components import url
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.forms import Spec
from workbench.ui.components.i18n import t, translated


class SpecEditor:
    """The spec of one page."""

    def __init__(self, form: str, start: Callable[[], Spec]) -> None:
        """Open the spec of ``form``, named as in ``FormDraft``; ``start`` makes a new one."""
        self.draft = FormDraft(form)
        self._start_key, self._text_key = f"{form}_start", f"{form}_text"
        self._version_key = f"{form}_version"
        if self._start_key not in st.session_state:
            st.session_state[self._start_key] = start()
        if self.draft.take_news():
            self._refill()

    @property
    def spec(self) -> Spec:
        """The spec as it is now, valid or not."""
        found: Spec = self.draft.values.get("spec", st.session_state[self._start_key])
        return found

    @property
    def version(self) -> str:
        """Changes whenever the fields are filled anew; for keys of what cannot be filled itself."""
        return f"{self.draft.n_forgotten}_{st.session_state.get(self._version_key, 0)}"

    def draw(
        self,
        title: str,
        draw_form: Callable[[Spec], Spec],
        check: Callable[[Spec], object],
        draw_text: Callable[[], Spec],
        invalid: str,
    ) -> Spec | None:
        """Draw the form or the YAML, as the address says, and return the spec.

        Args:
            title: Of the switch between the two, for screen readers.
            draw_form: Draws the form, filled from a spec; ValueError where fields cannot hold it.
            check: Raises UsageError where a spec is wrong.
            draw_text: Draws the YAML.
            invalid: Title of what is wrong with a spec.

        Returns:
            None where the text is no YAML, or fields cannot hold it: why is said.
        """
        as_text = url.segments("as", title, ("form", "yaml"), lambda view: t(f"new.{view}"))
        try:
            return draw_text() if as_text == "yaml" else self._draw_form(draw_form, check)
        except UsageError as error:
            draw_invalid(invalid, translated(error))
            if as_text != "yaml":
                st.caption(t("new.only_yaml"))
            return None

    def draw_text(self, label: str, *, height: int, help: str | None = None) -> Spec:
        """Draw the spec as YAML and return it.

        Raises:
            UsageError: The text is no YAML, or no mapping; it is kept all the same.
        """
        start = st.session_state.setdefault(self._text_key, to_yaml(self.spec))
        with st.container(key=f"yaml_{self.draft.form}"):
            text = st.text_area(
                label, key=self.draft.field("text", start), height=height, help=help
            )
        spec = load_mapping(text or "", where="The spec")
        self._keep(spec)
        return spec

    def set_text(self, text: str) -> None:
        """Fill the YAML, before it is drawn."""
        st.session_state[self.draft.key("text")] = text

    def change(self, name: str, value: object) -> None:
        """Set one key of the spec from outside its form, before anything of it is drawn.

        None takes the key out.
        """
        spec = {**self.spec, name: value}
        self._keep({one: value for one, value in spec.items() if value is not None})
        st.session_state.pop(self._text_key, None)
        self.draft.drop("text")
        self._refill()

    def _draw_form(
        self, draw_form: Callable[[Spec], Spec], check: Callable[[Spec], object]
    ) -> Spec:
        if st.session_state.pop(self._text_key, None) is not None:
            self.draft.drop("text")
            self._refill()
        begun_key = f"{self.draft.form}_begun"
        is_new = begun_key not in st.session_state and not self.draft.is_changed
        st.session_state[begun_key] = True
        base = self.spec
        place = st.empty()
        try:
            with place.container():
                spec = draw_form(base)
        except ValueError:
            place.empty()
            check(base)
            raise
        if is_new:
            st.session_state[self._start_key] = spec  # with what the form writes out
        self._keep(spec)
        return spec

    def _refill(self) -> None:
        """Let all fields begin with what is kept."""
        st.session_state[self._version_key] = st.session_state.get(self._version_key, 0) + 1
        self.draft.redraw()

    def _keep(self, spec: Spec) -> None:
        self.draft.keep("spec", spec, st.session_state[self._start_key])


def to_yaml(spec: Mapping[str, Any]) -> str:
    """Return ``spec`` as people write a spec file."""
    return yaml.safe_dump(dict(spec), allow_unicode=True, sort_keys=False, width=88)


def draw_invalid(title: str, problems: str) -> None:
    """Say what is wrong with a spec, a line for each mistake."""
    st.markdown(f":red[:material/error:] **{title}**")
    st.text("\n".join(part.strip() for part in problems.split("; ")), width="stretch")
