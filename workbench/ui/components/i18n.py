"""The texts of the interface in the language of this visit."""

from typing import cast

import streamlit as st

from db.errors import Q2QError
from workbench.i18n import LANGUAGES, Language, has, translate, translate_message

LANGUAGE_COOKIE = "q2q_language"
"""What a visitor chose; links and tabs without a language in their address follow it."""


def current_language() -> Language:
    """Return the language: of the URL, chosen in this visit, chosen earlier, or the browser's."""
    for chosen in (
        st.query_params.get("lang"),
        st.session_state.get("language"),
        st.context.cookies.get(LANGUAGE_COOKIE),
    ):
        if chosen in LANGUAGES:
            return cast(Language, chosen)
    return "ja" if (st.context.locale or "").lower().startswith("ja") else "en"


def t(key: str, **values: object) -> str:
    """Return the text of ``key`` in the language of this visit."""
    return translate(key, current_language(), **values)


def counted(name: str, n: int, *, is_capped: bool = False) -> str:
    """Return ``n`` with the noun ``name`` of the catalogue, singular where it is one.

    Args:
        name: The noun, e.g. ``answers``.
        n: How many there are.
        is_capped: Whether there may be more than were counted.
    """
    if is_capped:
        return t("n.or_more", counted=t(f"n.{name}.other", n=n))
    return t(f"n.{name}.one" if n == 1 else f"n.{name}.other", n=n)


def word(prefix: str, name: str) -> str:
    """Return the text of ``prefix.name``, or ``name`` itself where people made it up."""
    key = f"{prefix}.{name}"
    return t(key) if has(key) else name


def translated(message: str | Q2QError) -> str:
    """Return what a lower layer says, in the language of this visit."""
    return translate_message(message, current_language())
