"""What the worker and the model servers say, in the language of the visit.

They write English sentences into the store. Those of the catalogue, under ``said.…``, are told in
Japanese too; any other is shown as it is.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from workbench.ui.components.i18n import Language, catalogue, current_language

PREFIX = "said."
NUMBERS = ("n", "most", "percent", "code")
"""Values that are numbers."""
PATHS = ("log", "folder")
"""Values without spaces. Any other may be words."""
NUMBER, PATH, TIME, WORDS = r"-?[\d.,]+", r"\S+?", r"\d[^,]+?", ".+?"


def said(message: str) -> str:
    """Return ``message`` in the language of this visit."""
    return in_language(message, current_language())


def in_language(message: str, language: Language) -> str:
    """Return ``message`` in ``language``; what nobody has translated stays.

    A sentence may hold others, as values, and a line of progress lists a few between commas.
    """
    if not message:
        return message
    whole = _known(message, language)
    if whole is not None:
        return whole
    parts = message.split(", ")
    told = [_known(part, language) for part in parts]
    if len(parts) == 1 or None in told:
        return message
    return " · ".join(part for part in told if part)


def _known(message: str, language: Language) -> str | None:
    for pattern, key in _patterns():
        if found := pattern.fullmatch(message):
            values = {
                name: in_language(value, language) for name, value in found.groupdict().items()
            }
            return catalogue()[key][language].format(**values)
    return None


@lru_cache(maxsize=1)
def _patterns() -> Sequence[tuple[re.Pattern[str], str]]:
    """Return the English sentences as patterns, the plainest first: fewest values, longest text."""
    keys = [key for key in catalogue() if key.startswith(PREFIX)]
    keys.sort(key=lambda key: (catalogue()[key]["en"].count("{"), -len(catalogue()[key]["en"])))
    return [(_pattern(catalogue()[key]["en"]), key) for key in keys]


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    texts, names = parts[::2], [*parts[1::2], None]
    made = [
        re.escape(text) + (f"(?P<{name}>{_kind_of(name)})" if name else "")
        for text, name in zip(texts, names, strict=True)
    ]
    return re.compile("".join(made), re.DOTALL)


def _kind_of(name: str) -> str:
    if name in NUMBERS:
        return NUMBER
    if name == "time":
        return TIME
    return PATH if name in PATHS else WORDS
