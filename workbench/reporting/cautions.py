"""What to know of a dataset's rows before they are trained, in words; the command line has them."""

from collections.abc import Iterable, Mapping
from typing import Any

from training.datasets.balance import Caution
from workbench.i18n import Language, translate


def caution_sentences(cautions: Iterable[Caution], language: Language = "en") -> list[str]:
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
