"""What else than quality may decide: the side, the length; and the time that a card takes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.insights.resampling import Estimate
from workbench.insights.two_way import judged_share

RATIOS = (1.0, 1.1, 1.5, 2.0)
"""How many times longer the longer text is, at least; the borders of the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often something decided, among comparisons that were decided."""

    name: str
    share: Estimate
    n: int
    n_raters: int
    """With fewer than five, the share is of these raters, and says nothing of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds that one rater took for a card."""

    rater_id: int
    n: int
    quarter: float
    median: float
    three_quarters: float


def position(pairs: pd.DataFrame) -> tuple[Share, ...]:
    """Return how often the left text won: of all, then of each rater (``name``: the rater's id).

    Hidden repeats count too: they show each text on both sides.
    """
    table = _decided(pairs)
    table = table[table["a_left"].notna()]
    left = np.where(table["points"] == 1, table["a_left"], 1 - table["a_left"])
    table = table.assign(hit=left)
    if table.empty:
        return ()
    each = [_share(str(rater), own) for rater, own in table.groupby("rater_id")]
    return (_share("all", table), *each)


def length(pairs: pd.DataFrame) -> tuple[Share, ...]:
    """Return how often the longer text won: of all, then by how many times longer it is.

    ``name`` is the lower border of the step, e.g. ``1.5``.
    """
    table = _decided(pairs[pairs["ranks"]])
    a, b = table["characters_a"].astype(float), table["characters_b"].astype(float)
    ratio = np.maximum(a, b) / np.maximum(1.0, np.minimum(a, b))
    table = table.assign(hit=((table["points"] == 1) == (a > b)).astype(float), ratio=ratio)
    table = table[a != b]
    if table.empty:
        return ()
    step = np.searchsorted(RATIOS, table["ratio"], side="right") - 1
    each = [_share(f"{RATIOS[at]:g}", own) for at, own in table.groupby(step)]
    return (_share("all", table), *each)


def times(judgements: pd.DataFrame) -> tuple[Times, ...]:
    """Return how long each rater took for a card; the facts of one card count once."""
    told = judgements[judgements["seconds"].notna() & judgements["item_id"].notna()]
    cards = told.drop_duplicates(["rater_id", "item_id"])
    found = []
    for rater, seconds in cards.groupby("rater_id")["seconds"]:
        quarter, median, three = np.quantile(seconds.to_numpy(dtype=float), [0.25, 0.5, 0.75])
        found.append(
            Times(
                rater_id=int(rater),
                n=len(seconds),
                quarter=float(quarter),
                median=float(median),
                three_quarters=float(three),
            )
        )
    return tuple(found)


def _decided(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[(pairs["points"] == 1) | (pairs["points"] == 0)]


def _share(name: str, table: pd.DataFrame) -> Share:
    return Share(
        name=name, share=judged_share(table), n=len(table), n_raters=table["rater_id"].nunique()
    )
