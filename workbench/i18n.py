"""The words of the interface in English and Japanese, for pages, reports and the command line.

The catalogue is every ``texts.yaml`` and ``messages.yaml`` below this folder, each beside the page
that shows it; together they map a key to ``{en: …, ja: …}``.
Which language a visitor reads is not known here (``workbench.ui.components.i18n`` is).
"""

import string
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from db.input_text import load_yaml, read_text

Language = Literal["en", "ja"]
LANGUAGES: Final[Mapping[Language, str]] = {"en": "English", "ja": "日本語"}
HERE: Final = Path(__file__).parent


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Return every key with its text by language.

    Raises:
        ValueError: A key stands in two files.
    """
    entries: dict[str, Mapping[str, str]] = {}
    for path in sorted([*HERE.rglob("texts.yaml"), *HERE.rglob("messages.yaml")]):
        part = load_yaml(read_text(path), where=str(path.relative_to(HERE)))
        if twice := entries.keys() & part.keys():
            raise ValueError(f"{path} repeats {sorted(twice)}; a key stands in one file only")
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
