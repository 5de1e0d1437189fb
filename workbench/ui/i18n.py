"""The words of the interface in English and Japanese: one catalogue, one switch.

The catalogue is the folder ``catalogue``; its files together map a key to ``{en: …, ja: …}``.
"""

import string
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, cast

import streamlit as st
import yaml

Language = Literal["en", "ja"]
LANGUAGES: Final[Mapping[Language, str]] = {"en": "English", "ja": "日本語"}
CATALOGUE: Final = Path(__file__).parent / "catalogue"


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Return every key with its text by language.

    Raises:
        ValueError: A key stands in two files.
    """
    entries: dict[str, Mapping[str, str]] = {}
    for path in sorted(CATALOGUE.glob("*.yaml")):
        part = yaml.load(path.read_text("utf-8"), Loader=yaml.SafeLoader)
        if twice := entries.keys() & part.keys():
            raise ValueError(f"{path.name} repeats {sorted(twice)}; a key stands in one file only")
        entries.update(part)
    return entries


def placeholders(text: str) -> frozenset[str]:
    """Return the names in braces that ``text`` expects values for."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name)


def translate(key: str, language: Language, **values: object) -> str:
    """Return the text of ``key`` in ``language`` with ``values`` filled in."""
    return catalogue()[key][language].format(**values)


def has(key: str) -> bool:
    """Tell whether the catalogue knows ``key`` (names of checks and roles may be users' own)."""
    return key in catalogue()


def current_language() -> Language:
    """Return the language of this visit: chosen, in the URL, or the browser's."""
    chosen = st.session_state.get("language") or st.query_params.get("lang")
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
