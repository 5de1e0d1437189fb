"""Labels of plots: long names on two lines, and numbers with as many digits as their steps need."""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from math import ceil, log10
from typing import Any, Final

import altair as alt

from workbench.ui.components.text import one_line

LINE_WIDTH: Final = 22
"""Of a line, in half-width letters: as much as a narrow screen can spare beside the plot."""
LINES: Final = 2
LABEL_PX: Final = 160
STEPS: Final = 6
"""Of an axis of numbers, about."""
MOST_DIGITS: Final = 5
_FORM: Final = re.compile(r"(\+?)\.(\d)([f%])")


def label_axis(names: Sequence[str], **given: Any) -> alt.Axis:
    """Return the axis of rows or columns that are numbered from 0, labelled with their names.

    Numbers and not names, so that two names that are cut to the same words stay two rows.
    """
    lines = json.dumps([label_lines(name) for name in names], ensure_ascii=False)
    return alt.Axis(
        labelExpr=f"{lines}[datum.value]",
        labelLimit=LABEL_PX,
        labelFontSize=12,
        ticks=False,
        domain=False,
        **given,
    )


def label_lines(name: str) -> list[str]:
    """Return a name on at most ``LINES`` lines, broken at a space where there is one."""
    lines: list[str] = []
    left = one_line(name, 200)
    while left and len(lines) < LINES:
        n = _fitting(left)
        if n < len(left):
            space = left.rfind(" ", 1, n + 1)
            n = space if space > n // 2 else n
        lines.append(left[:n].rstrip())
        left = left[n:].lstrip()
    if left:
        lines[-1] = f"{lines[-1][:-1].rstrip()}…"
    return lines or [""]


def tick_format(form: str, values: Iterable[float]) -> str:
    """Return ``form`` with more digits where ticks as near as these values would read alike.

    Args:
        form: In the format of d3: a sign or none, digits, ``f`` or ``%``.
        values: All that is drawn along the axis.
    """
    found = _FORM.fullmatch(form)
    told = list(values)
    reach = max(told) - min(told) if told else 0.0
    if found is None or reach <= 0:
        return form
    sign, digits, kind = found.groups()
    step = reach / STEPS * (100 if kind == "%" else 1)
    return f"{sign}.{min(MOST_DIGITS, max(int(digits), ceil(-log10(step))))}{kind}"


def _fitting(text: str) -> int:
    """Return how many letters fit into a line, at least one."""
    width = 0
    for n, letter in enumerate(text):
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > LINE_WIDTH:
            return max(1, n)
    return len(text)
