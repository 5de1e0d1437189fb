"""What factors, levels and findings of a matrix are called, in either language."""

from typing import Final

from db.texts.design import NONE, OF_REASONING
from workbench.i18n import Language, has, translate

LEVEL_WORDS: Final = ("mode", "role")
"""Factors whose levels have words of their own in the catalogue."""


def named(prefix: str, name: str, language: Language) -> str:
    """Return the text of ``prefix.name``, or ``name`` itself where people made it up."""
    key = f"{prefix}.{name}"
    return translate(key, language) if has(key) else name


def factor_name(name: str, language: Language) -> str:
    """Return what a factor is called."""
    own = f"matrix.factor.{name}"
    known = translate(own, language) if has(own) else named("insights.factor", name, language)
    if known != name or not name.startswith(OF_REASONING):
        return known
    of_answer = factor_name(name.removeprefix(OF_REASONING), language)
    return translate("matrix.of_reasoning", language, factor=of_answer)


def level_name(factor: str, level: str, language: Language) -> str:
    """Return what a level is called."""
    is_known = factor in LEVEL_WORDS and level != NONE
    return named(factor, level, language) if is_known else level
