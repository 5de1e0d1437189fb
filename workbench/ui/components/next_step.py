"""The box at the end of a page that says what comes next and leads there, with what was chosen."""

from typing import Any

import streamlit as st

from workbench.ui.components.controls import path_of
from workbench.ui.components.i18n import t

ICONS = {
    "import": "download",
    "first_sweep": "play_arrow",
    "watch": "visibility",
    "follow": "visibility",
    "rate": "star",
    "rate_on": "star",
    "dataset": "dataset",
    "round": "cycle",
    "result": "gavel",
}
"""Step → name of a Material symbol; other steps have an arrow."""


def draw_step(
    step: str, *, waits: str | None = None, text: str | None = None, **values: Any
) -> bool:
    """Draw the box of a step; tell whether its button was pressed.

    Args:
        step: The texts ``next.STEP.title``, ``.text`` and ``.button`` are its.
        waits: Why the button cannot be pressed yet.
        text: Instead of the catalogue's.
        values: What the texts name.
    """
    with (
        st.container(border=True, key="next_step"),
        st.container(horizontal=True, vertical_alignment="center", gap="large"),
    ):
        with st.container(width="stretch", gap="xxsmall", key="next_step_text"):
            st.caption(t("home.next"))
            st.subheader(t(f"next.{step}.title", **values), anchor=False)
            st.markdown(text or t(f"next.{step}.text", **values))
            if waits:
                st.caption(f":material/hourglass_top: {waits}")
        return st.button(
            t(f"next.{step}.button"),
            key=f"next_{step}",
            type="primary",
            icon=f":material/{ICONS.get(step, 'arrow_forward')}:",
            disabled=waits is not None,
        )


def lead_on(
    step: str,
    page: str,
    *,
    text: str | None = None,
    values: dict[str, Any] | None = None,
    **address: Any,
) -> None:
    """Draw the box of a step whose button opens a page, with what its address says."""
    if draw_step(step, text=text, **(values or {})):
        given = {name: str(value) for name, value in address.items() if value is not None}
        st.switch_page(path_of(page), query_params=given)
