"""What a comparison says of a round: keep, drop or branch, and why. People may decide otherwise.

The reason is kept as values; each language has its own words for them, under ``round_said`` in the
catalogue. Only measures that tell good from bad by themselves speak against a round.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any

from db.rounds import Verdict
from workbench.analysis.rounds import Comparison, ModelFigures
from workbench.ui.words import Language, has, translate

DECIDING = (
    "well_formed",
    "stopped",
    "clean",
    "reasonings",
    "answers",
    "influence",
    "dont_know_answerable",
)
"""Measures whose sure change for the worse speaks against a round."""
BETWEEN: Mapping[Language, str] = {"en": ", ", "ja": "、"}
AFTER: Mapping[Language, str] = {"en": " ", "ja": ""}
"""What stands between two sentences."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A verdict with its reason as values."""

    verdict: Verdict
    findings: dict[str, Any]
    """``share`` and ``asked`` (0 to 1), ``languages`` (code → share), ``first`` (the model it is
    compared with), ``better`` and ``worse`` (measures)."""

    @property
    def reason(self) -> str:
        """The reason in English sentences."""
        return said(self.findings, "en")


def propose(comparison: Comparison, model_id: int, well_formed: float) -> Proposal:
    """Return what the figures speak for.

    ``keep``: enough outputs are well-formed, and nothing became surely worse. ``drop``: too few are
    well-formed, and no more of them than before. ``branch``: some of both; worth going on from
    beside what was there.

    Args:
        comparison: Of the round's sweep.
        model_id: The round's own model.
        well_formed: The least share of well-formed outputs to keep it.
    """
    own = next(one for one in comparison.models if one.model_id == model_id)
    share = next((f.found.value for f in own.figures if f.measure == "well_formed"), 0.0)
    enough = share >= well_formed
    worse, better = _sure(own, is_better=False), _sure(own, is_better=True)
    findings = {
        "share": share,
        "asked": well_formed,
        "languages": {one.language: one.found.value for one in own.well_formed_by_language},
        "first": comparison.models[0].model,
        "better": better,
        "worse": worse,
    }
    if enough and not worse:
        return Proposal("keep", findings)
    return Proposal("branch" if enough or "well_formed" in better else "drop", findings)


def said(findings: Mapping[str, Any], language: Language) -> str:
    """Return the reason of a proposal in words of ``language``."""
    share, asked = findings["share"], findings["asked"]
    sentences = [
        translate(
            f"round_said.{'enough' if share >= asked else 'too_few'}",
            language,
            share=_percent(floor(100 * share) / 100),  # 94.9 is not the 95 asked for
            asked=_percent(asked),
            languages=_languages(findings["languages"], language),
        )
    ]
    first = findings["first"]
    for name in ("better", "worse"):
        if findings[name]:
            listed = BETWEEN[language].join(_measure(one, language) for one in findings[name])
            sentences.append(
                translate(f"round_said.{name}", language, first=first, measures=listed)
            )
    if not findings["better"] and not findings["worse"]:
        sentences.append(translate("round_said.no_change", language, first=first))
    return AFTER[language].join(sentences)


def _sure(own: ModelFigures, *, is_better: bool) -> list[str]:
    return [
        change.measure
        for change in own.changes
        if change.measure in DECIDING and change.is_better is is_better
    ]


def _languages(shares: Mapping[str, float], language: Language) -> str:
    """Return the shares of the languages in parentheses; nothing where there is only one."""
    if len(shares) < 2:
        return ""
    told = BETWEEN[language].join(
        f"{language_name(code, language)} {_percent(share)}" for code, share in shares.items()
    )
    return translate("round_said.languages", language, shares=told)


def language_name(code: str, language: Language) -> str:
    """Return what a language is called in ``language``; its code where there is no word."""
    key = f"language.{code}"
    return translate(key, language) if has(key) else code


def _measure(name: str, language: Language) -> str:
    return translate(f"measure_said.{name}", language)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
