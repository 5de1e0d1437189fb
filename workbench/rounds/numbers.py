"""Figures of a round as people read them."""

from workbench.analysis.resampling import Estimate
from workbench.analysis.rounds import SHARES
from workbench.rounds.evidence import PEOPLE


def figure(found: Estimate, measure: str, *, signed: bool = False) -> str:
    """Return an estimate with its interval; shares in percent."""
    value = number(found.value, measure, signed=signed)
    if found.low is None or found.high is None:
        return value
    low, high = (number(end, measure, signed=signed) for end in (found.low, found.high))
    return f"{value} ({low} … {high})"


def number(value: float, measure: str, *, signed: bool = False) -> str:
    """Return one value of a measure; shares in percent."""
    sign = "+" if signed else ""
    if measure in SHARES or measure == PEOPLE:
        return f"{100 * value:{sign}.0f} %"
    return f"{value:{sign}.2f}"
