"""The choice of how answers are compared with the reference answer: a check, and its argument."""

import streamlit as st

from db.errors import Q2QError
from serving.correctness import ANSWER_CHECKS, parse_answer_check
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.text import told

ARGUMENTS = {"match", "contains", "number", "json", "regex"}
"""Checks that take an argument."""


def choose_answer_check(draft: FormDraft, current: str | None = None) -> tuple[str | None, bool]:
    """Draw both fields; return the check that they name, and whether it can be used.

    Args:
        draft: Keeps what is chosen.
        current: What the question has now.
    """
    name, _, argument = (current or "").partition(":")
    left, right = st.columns(2)
    with left:
        key = draft.field("answer_check", name or None, (None, *ANSWER_CHECKS))
        chosen = st.selectbox(
            t("answer_check"),
            tuple(ANSWER_CHECKS),
            key=key,
            index=None,
            placeholder=t("answer_check.none"),
            format_func=lambda one: t(f"answer_check.{one}"),
            help=t("answer_check.help"),
        )
    if chosen is None:
        return None, True
    given = ""
    if chosen in ARGUMENTS:
        with right:
            given = st.text_input(
                t(f"answer_check.{chosen}_argument"),
                key=draft.field(f"answer_check_{chosen}", argument if chosen == name else ""),
                placeholder=t(f"answer_check.{chosen}_example"),
            )
    try:
        check = parse_answer_check(f"{chosen}:{given.strip()}" if given.strip() else chosen)
    except Q2QError as error:
        st.warning(told(error), icon=":material/rule:")
        return None, False
    return str(check), True


def check_label(check: str) -> str:
    """Return a check with its argument in the language of the visit."""
    name, _, argument = check.partition(":")
    return f"{t(f'answer_check.{name}')} ({argument})" if argument else t(f"answer_check.{name}")
