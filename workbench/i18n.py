"""The texts of the interface in English and Japanese, for pages, reports and the command line.

The catalogue is every ``texts.yaml`` below this folder, each beside what shows it; together they
map a key to ``{en: …, ja: …}``. What lower layers say comes in English: ``messages.ja.yaml`` maps
the template of such a sentence to its Japanese one. Errors and messages bring template and values
(``db.messages``), also where the store kept them; texts that older stores kept stay in English.
Which language a visitor reads is not known here (``workbench.ui.components.i18n`` is).
"""

import string
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from db.errors import Q2QError
from db.input_text import load_yaml, read_text
from db.messages import Message, time_left

if TYPE_CHECKING:
    from training.datasets.balance import Caution
    from training.runs.estimate import RunEstimate

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
    """Return what a lower layer says, in ``language``; what nobody has translated stays English.

    Of a line of messages each is translated by itself.
    """
    text = str(message)
    if isinstance(text, Message) and text.values and not text.template:
        return " · ".join(translate_message(str(part), language) for part in text.values.values())
    return (_in_japanese(text) if language == "ja" else None) or text


def _in_japanese(text: str) -> str | None:
    """Return the translation; None where the sentence, or a message in it, has none."""
    if isinstance(text, Message) and text.values and not text.template:
        return translate_message(text, "ja")
    template = messages().get(text.template if isinstance(text, Message) else text)
    if template is None or not isinstance(text, Message) or not text.values:
        return template
    values = {}
    for name, value in text.values.items():
        said = value if isinstance(value, int | float) else str(value)
        known = None if isinstance(said, int | float) else _in_japanese(said)
        if known is None and isinstance(said, Message):
            return None
        values[name] = said if known is None else known
    return template.format(**values)


def caution_sentences(cautions: "Iterable[Caution]", language: Language = "en") -> list[str]:
    """Return a sentence for each caution."""
    return [translate(f"caution.{one.name}", language, **one.values) for one in cautions]


def estimate_sentences(found: "RunEstimate | None", language: Language = "en") -> list[str]:
    """Return how long a run will take, how much memory and disk, and where that is known from."""
    if found is None:
        return [translate("takes.nothing", language)]
    times = {
        name: translate_message(time_left(seconds), language)
        for name, seconds in (("time", found.seconds), ("around", found.around_s))
    }
    source = "elsewhere" if found.like_run is None else "like"
    sentences = [
        translate("takes.time", language, steps=found.steps, rate=found.tokens_per_second, **times),
        translate("takes.memory", language, memory=found.memory_gib, disk=found.disk_gib),
        translate(f"takes.{source}", language, run=found.like_run),
    ]
    if found.too_long:
        sentences.append(translate("takes.too_long", language, share=found.too_long))
    return sentences


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
