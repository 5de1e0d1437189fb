"""The reason of a verdict in words, and what is known of each measure that decides, line by line.

Values are kept with the round; each language has its own words for them, under ``round_said`` and
``settled`` in the catalogue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from workbench.i18n import Language, has, translate
from workbench.rounds.comparison import SHARES, Comparison
from workbench.rounds.evidence import PEOPLE, Settled, WinCount, wins_of
from workbench.rounds.head_to_head import HeadToHead
from workbench.stats.intervals import Estimate

BETWEEN: Mapping[Language, str] = {"en": ", ", "ja": "、"}
AFTER: Mapping[Language, str] = {"en": " ", "ja": ""}
"""What stands between two sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledLine:
    """One measure that decides, in words."""

    measure: str
    change: str
    margin: str
    outcome: str
    questions: str


def verdict_reason(findings: Mapping[str, Any], language: Language) -> str:
    """Return the reason of a proposal in words of ``language``; also of one by earlier rules."""
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
            listed = _listed(findings[name], language)
            sentences.append(
                translate(f"round_said.{name}", language, first=first, measures=listed)
            )
    if "settled" in findings:
        sentences += _of_margins(findings, language)
    elif not findings["better"] and not findings["worse"]:
        sentences.append(translate("round_said.no_change", language, first=first))
    return AFTER[language].join(sentences)


def settled_of(findings: Mapping[str, Any] | None) -> list[Settled]:
    """Return what is known of each measure; nothing where earlier rules or a person decided."""
    return [Settled(**one) for one in (findings or {}).get("settled", ())]


def settled_lines(findings: Mapping[str, Any] | None, language: Language) -> list[SettledLine]:
    """Return each measure that decides as a line of a table."""
    return [
        SettledLine(
            measure=measure_name(one.measure, language),
            change=figure(Estimate(one.value, one.low, one.high), one.measure, signed=True),
            margin="–" if one.margin is None else number(one.margin, one.measure),
            outcome=translate(f"settled.{one.outcome}", language),
            questions=_questions(one, language),
        )
        for one in settled_of(findings)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WinLine:
    """What was won, tied and lost by one measure, in words."""

    measure: str
    won: str
    tied: str
    lost: str
    judged_on: str


def win_lines(comparison: Comparison, model_id: int | None, language: Language) -> list[WinLine]:
    """Return what a model won, tied and lost against the first one, as lines of a table."""
    return [
        WinLine(
            measure=measure_name(one.measure, language),
            **{
                name: f"{n} · {figure(found, PEOPLE)}"
                for name, n, found in (
                    ("won", one.n_won, one.won),
                    ("tied", one.n_tied, one.tied),
                    ("lost", one.n_lost, one.lost),
                )
            },
            judged_on=_judged_on(one, language),
        )
        for one in wins_of(comparison, model_id)
    ]


def _judged_on(one: WinCount, language: Language) -> str:
    if one.n_raters is None:
        kind = "rows" if one.measure == "held_out_loss" else "questions"
        return translate(f"wins.{kind}", language, n=one.n_questions)
    n = one.n_won + one.n_tied + one.n_lost
    return translate(
        "wins.judgements", language, n=n, questions=one.n_questions, raters=one.n_raters
    )


def measure_label(name: str, language: Language) -> str:
    """Return the heading of a measure; one that a check tells is called as the check is."""
    if has(key := f"measure.{name}"):
        return translate(key, language)
    label = translate(f"check.{name}", language)
    return label[:1].upper() + label[1:]


def measure_help(name: str, language: Language) -> str:
    """Return what a measure is, and which way is better."""
    if has(key := f"measure_help.{name}"):
        return translate(key, language)
    return translate("measure_help.check", language, what=translate(f"check_help.{name}", language))


def measure_name(name: str, language: Language) -> str:
    """Return what a measure that decides is called inside a sentence."""
    return translate(f"measure_said.{name}", language)


def language_name(code: str, language: Language) -> str:
    """Return what a language is called in ``language``; its code where there is no word."""
    key = f"language.{code}"
    return translate(key, language) if has(key) else code


def _of_margins(findings: Mapping[str, Any], language: Language) -> list[str]:
    settled = settled_of(findings)
    sentences = []
    for outcome in ("harmless", "within"):
        measures = [one.measure for one in settled if one.outcome == outcome]
        if measures:
            listed = _listed(measures, language)
            sentences.append(translate(f"round_said.{outcome}", language, measures=listed))
    open_ones = [one for one in settled if one.outcome == "open" and one.margin is not None]
    if open_ones:
        listed = BETWEEN[language].join(_open(one, language) for one in open_ones)
        sentences.append(translate("round_said.open", language, measures=listed))
    for one in settled:
        if one.is_for_these_raters:
            sentences.append(translate("round_said.these_raters", language, n=one.n_raters))
    missing = [name for name in findings["missing"] if name != PEOPLE]
    if missing:
        listed = _listed(missing, language)
        sentences.append(translate("round_said.missing", language, measures=listed))
    if PEOPLE in findings["missing"]:
        sentences.append(translate("round_said.no_people", language))
    return sentences


def _open(one: Settled, language: Language) -> str:
    name = measure_name(one.measure, language)
    if one.n_needed is None:
        return translate("round_said.open_measure", language, measure=name, n=one.n_questions)
    return translate(
        "round_said.open_needed",
        language,
        measure=name,
        n=one.n_questions,
        needed=_rounded(one.n_needed),
    )


def _questions(one: Settled, language: Language) -> str:
    if one.n_needed is None:
        return str(one.n_questions)
    needed = _rounded(one.n_needed)
    return translate("settled.needed", language, n=one.n_questions, needed=needed)


def _rounded(n: int) -> int:
    """Return a number of questions to ask, rounded up: more digits would say more than is known."""
    step = 5 if n < 100 else 10 if n < 1000 else 100
    return ceil(n / step) * step


def _listed(measures: list[str], language: Language) -> str:
    return BETWEEN[language].join(measure_name(one, language) for one in measures)


def _languages(shares: Mapping[str, float], language: Language) -> str:
    """Return the shares of the languages in parentheses; nothing where there is only one."""
    if len(shares) < 2:
        return ""
    listed = BETWEEN[language].join(
        f"{language_name(code, language)} {_percent(share)}" for code, share in shares.items()
    )
    return translate("round_said.languages", language, shares=listed)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


MOST_MORE_DIGITS = 2
"""Digits that are added where fewer would show an end beside 0 as 0, or beside 100 % as 100 %."""
NOISE = 1e-9


def figure(found: Estimate, measure: str, *, signed: bool = False) -> str:
    """Return an estimate with its interval; shares in percent."""
    values = [value for value in (found.value, found.low, found.high) if value is not None]
    digits = _digits(values, measure)
    value, *ends = (_number(one, measure, digits, signed=signed) for one in values)
    return f"{value} ({ends[0]} … {ends[1]})" if len(ends) == 2 else value


def number(value: float, measure: str, *, signed: bool = False) -> str:
    """Return one value of a measure; shares in percent."""
    return _number(value, measure, _digits([value], measure), signed=signed)


def _number(value: float, measure: str, digits: int, *, signed: bool) -> str:
    sign = "+" if signed else ""
    shown, unit = (100 * value, " %") if _is_share(measure) else (value, "")
    return f"{shown:{sign}z.{digits}f}{unit}"


def _digits(values: list[float], measure: str) -> int:
    """Return how many digits tell 0 from what is not, and 100 % from what is less."""
    factor, fewest = (100, 0) if _is_share(measure) else (1, 2)
    for digits in range(fewest, fewest + MOST_MORE_DIGITS + 1):
        if not any(_misleads(one, factor, digits) for one in values):
            return digits
    return fewest


def _misleads(value: float, factor: int, digits: int) -> bool:
    shown = round(factor * abs(value), digits)
    is_100_percent = factor == 100 and shown == 100
    return (shown == 0 and abs(value) > NOISE) or (is_100_percent and abs(abs(value) - 1) > NOISE)


def _is_share(measure: str) -> bool:
    return measure in SHARES or measure == PEOPLE


def raters_of(result: HeadToHead, language: Language) -> str:
    """Return who judged: people, or models."""
    return translate(f"duel.by.{result.raters}", language)


def outcome(result: HeadToHead, language: Language) -> str:
    """Return the sentence that says which model is preferred, if either."""
    sure = {True: "better", False: "worse", None: "open"}[result.is_better]
    return translate(
        f"duel.said.{sure}",
        language,
        raters=raters_of(result, language),
        model=result.model,
        against=result.against,
    )


def figures_of(result: HeadToHead, language: Language) -> str:
    """Return the share of points with its interval, and what it rests on."""
    told = translate(
        "duel.figures",
        language,
        points=figure(result.points, PEOPLE),
        won=figure(result.won, PEOPLE),
        tied=figure(result.tied, PEOPLE),
        lost=figure(result.lost, PEOPLE),
        n=result.n_judgements,
        questions=result.n_questions,
        people=result.n_raters,
        both_bad=result.both_bad,
    )
    if result.scope == "whole":
        return told
    return AFTER[language].join((told, translate("duel.reasonings", language)))


def by_rater(result: HeadToHead, language: Language) -> list[str]:
    """Return the share of points in the eyes of each rater, where they are told apart."""
    return [
        f"{translate('duel.rater', language, n=place)}: {figure(one, PEOPLE)}"
        for place, one in enumerate(result.by_rater, 1)
    ]
