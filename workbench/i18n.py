"""The texts of the interface in English and Japanese, for pages, reports and the command line.

The catalogue is every ``texts.yaml`` below this folder, each beside what shows it; together they
map a key to ``{en: …, ja: …}``. What lower layers say comes in English: ``messages.ja.yaml`` maps
the template of such a sentence to its Japanese one. An error brings its template and values; where
the store kept only the text, both are found again by the templates.
Which language a visitor reads is not known here (``workbench.ui.components.i18n`` is).
"""

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from db.errors import Q2QError
from db.input_text import load_yaml, read_text

if TYPE_CHECKING:
    from training.datasets.balance import Caution

Language = Literal["en", "ja"]
LANGUAGES: Final[Mapping[Language, str]] = {"en": "English", "ja": "日本語"}
HERE: Final = Path(__file__).parent
VALUES: Final = {
    **dict.fromkeys(("n", "most", "percent", "code"), r"-?[\d.,]+"),
    **dict.fromkeys(("log", "folder"), r"\S+?"),
    "time": r"\d[^,]+?",
}
"""Values of messages that are numbers, hold no spaces, or are times. Any other may be a text."""


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Return every key with its text by language.

    Raises:
        ValueError: A key stands in two files.
    """
    entries: dict[str, Mapping[str, str]] = {}
    for path in sorted(HERE.rglob("texts.yaml")):
        part = load_yaml(read_text(path), where=str(path.relative_to(HERE)))
        if twice := entries.keys() & part.keys():
            raise ValueError(f"{path} repeats {sorted(twice)}; a key stands in one file only")
        entries.update(part)
    return entries


@lru_cache(maxsize=1)
def messages() -> Mapping[str, str]:
    """Return the English templates of what lower layers say, each with the Japanese one."""
    path = HERE / "messages.ja.yaml"
    found: Mapping[str, str] = load_yaml(read_text(path), where=path.name)
    return found


def placeholders(text: str) -> frozenset[str]:
    """Return the names in braces that ``text`` expects values for."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name)


def translate(key: str, language: Language, **values: object) -> str:
    """Return the text of ``key`` in ``language`` with ``values`` filled in."""
    return catalogue()[key][language].format(**values)


def has(key: str) -> bool:
    """Tell whether the catalogue knows ``key`` (names of checks and roles may be users' own)."""
    return key in catalogue()


def translate_message(message: str | Q2QError, language: Language) -> str:
    """Return what a lower layer says, in ``language``; what nobody has translated stays.

    A sentence may hold others, as values, and a line of progress lists some between commas.
    """
    if isinstance(message, Q2QError):
        if message.template in messages():
            values = {name: str(value) for name, value in message.values.items()}
            return _filled(message.template, values, language)
        message = str(message)
    known = _recognised(message, language)
    if known is not None:
        return known
    parts = [_recognised(part, language) for part in message.split(", ")]
    if len(parts) == 1 or None in parts:
        return message
    return " · ".join(part for part in parts if part)


def _recognised(message: str, language: Language) -> str | None:
    for pattern, template in _patterns():
        if found := pattern.fullmatch(message):
            return _filled(template, found.groupdict(), language)
    return None


def _filled(template: str, values: Mapping[str, str], language: Language) -> str:
    translated = {name: translate_message(value, language) for name, value in values.items()}
    return (template if language == "en" else messages()[template]).format(**translated)


@lru_cache(maxsize=1)
def _patterns() -> Sequence[tuple[re.Pattern[str], str]]:
    """Return the templates with their patterns, the plainest first: fewest values, longest text."""
    ordered = sorted(messages(), key=lambda template: (template.count("{"), -len(template)))
    return [(_pattern(template), template) for template in ordered]


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    for place in range(1, len(parts), 2):
        parts[place] = f"(?P<{parts[place]}>{VALUES.get(parts[place], '.+?')})"
    for place in range(0, len(parts), 2):
        parts[place] = re.escape(parts[place])
    return re.compile("".join(parts), re.DOTALL)


def caution_sentences(cautions: "Iterable[Caution]", language: Language = "en") -> list[str]:
    """Return a sentence for each caution."""
    return [translate(f"caution.{one.name}", language, **one.values) for one in cautions]


def nothing_trains(counts: Mapping[str, Any], language: Language = "en") -> str | None:
    """Return why rules give no row to train on, and what to do; None where they give some.

    Args:
        counts: Of a preview.
        language: Of the sentence.
    """
    if counts["rows"]["train"]:
        return None
    why = "held_out" if counts["kept"] else "kept" if counts["candidates"] else "candidates"
    return translate(f"dataset.none_{why}", language)
