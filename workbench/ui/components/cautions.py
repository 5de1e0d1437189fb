"""What to know of a dataset's rows before they are trained, in words; the command line has them."""

from collections.abc import Iterable

from training.datasets.balance import Caution
from workbench.i18n import Language, translate


def caution_sentences(cautions: Iterable[Caution], language: Language = "en") -> list[str]:
    """Return a sentence for each caution."""
    return [translate(f"caution.{one.name}", language, **one.values) for one in cautions]
