"""Figures of a round as people read them."""

from workbench.insights.resampling import Estimate
from workbench.insights.rounds import SHARES
from workbench.rounds.evidence import PEOPLE

MOST_MORE_DIGITS = 2
"""Digits that are added where fewer would show an end beside 0 as 0, or beside 100 % as 100 %."""
NOISE = 1e-9


def figure(found: Estimate, measure: str, *, signed: bool = False) -> str:
    """Return an estimate with its interval; shares in percent."""
    told = (found.value, found.low, found.high)
    values = [value for value in told if value is not None]
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
    is_whole = factor == 100 and shown == 100
    return (shown == 0 and abs(value) > NOISE) or (is_whole and abs(abs(value) - 1) > NOISE)


def _is_share(measure: str) -> bool:
    return measure in SHARES or measure == PEOPLE
