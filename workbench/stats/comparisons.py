"""Comparisons as a table: who was better, on which side, and which factor levels met.

A row is one rater's judgement of two texts under the same question. The columns:

    question_id, variant_id     where the two stand (the reasoning: of answers only)
    a, b                        ids of the texts, the smaller one first
    rater_id, item_id, repeat_of_id, seconds, sampler
    outcome                     a, b, tie, both_bad
    points                      what ``a`` gets: 1, 0.5, 0; NaN where both are bad
    a_left                      1 where ``a`` stood on the left, 0 on the right, NaN unknown
    is_repeat                   a hidden repeat
    ranks                       it may take part in rankings
    <factor>_a, <factor>_b      the level of each text; None where it has none
    characters_a, characters_b
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy.orm import Session

from db.identity import AS_STORED
from db.rating.columns import Columns, RatingFilter, read_origins, read_ratings, read_samplings
from db.rating.ratings import JUDGED_BEFORE_ANSWERS, PREFERENCE, REPEAT, Scope
from workbench.stats.intervals import Array

SAMPLING_FACTORS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
)
REASONING_FACTORS = ("reasoning_model", "reasoning_sampling")
"""Of answers: who wrote the reasoning that they stand under, and at which sampling."""
FACTORS = (
    "format",
    "role",
    "model",
    "precision",
    *SAMPLING_FACTORS,
    "mode",
    "source",
    *REASONING_FACTORS,
)
"""What two texts can differ in by design."""
POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0, "both_bad": np.nan}
_TURNED = {"a": "b", "b": "a"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingTables:
    """Ratings as tables; all are without rows and columns where there are none."""

    judgements: pd.DataFrame
    """As ``db.rating.columns`` gives them."""
    comparisons: pd.DataFrame
    """Those of two texts, as described above."""
    origins: pd.DataFrame
    """A row for each judged text."""


def read_tables(session: Session, filter: RatingFilter) -> RatingTables:
    """Return the ratings of ``filter``."""
    judgements = pd.DataFrame(read_ratings(session, filter))
    if judgements.empty:
        return RatingTables(judgements=judgements, comparisons=judgements, origins=judgements)
    origins = origins_table(read_origins(session, filter), read_samplings(session))
    comparisons = comparison_table(judgements, origins, filter.scope)
    return RatingTables(judgements=judgements, comparisons=comparisons, origins=origins)


def origins_table(origins: Columns, samplings: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row for each judged text: its level of every factor, and its length."""
    table = _crossed(pd.DataFrame(origins).set_index("text_id"))
    for factor in SAMPLING_FACTORS:
        # The name stands in a level too: some lists show levels of several factors.
        values = {id: f"{factor} {_level_text(one.get(factor))}" for id, one in samplings.items()}
        table[factor] = table["sampling_id"].map(values)
    used = table["reasoning_sampling_id"].dropna().unique()
    names = sampling_names({id: samplings[id] for id in used})
    table["reasoning_sampling"] = table["reasoning_sampling_id"].map(names)
    text = {factor: table[factor].astype(object) for factor in FACTORS}
    return table.assign(
        **{name: levels.where(levels.notna(), None) for name, levels in text.items()}
    )


def _crossed(table: pd.DataFrame) -> pd.DataFrame:
    """Tell models from precisions where some weights were served in several.

    Elsewhere the name of the model says its precision too, and that is no factor of its own: it
    would change together with the model. What a remote server does not tell counts as 16 bit.
    """
    written = table["weights"].notna()
    precision = table["precision"].where(table["precision"].notna() | ~written, AS_STORED)
    several = precision.groupby(table["weights"]).nunique()
    if (several > 1).any():
        return table.assign(model=table["weights"], precision=precision)
    return table.assign(precision=None)


def sampling_names(samplings: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """Name each set of sampling parameters by those in which the sets differ."""
    keys = sorted({key for parameters in samplings.values() for key in parameters})
    differing = [
        key for key in keys if len({repr(one.get(key)) for one in samplings.values()}) > 1
    ] or ["temperature"]
    return {
        id: " · ".join(f"{key} {_level_text(parameters.get(key))}" for key in differing)
        for id, parameters in samplings.items()
    }


def comparison_table(judgements: pd.DataFrame, origins: pd.DataFrame, scope: Scope) -> pd.DataFrame:
    """Return all comparisons among ``judgements`` as described above.

    See ``may_rank`` for those that take part in rankings.
    """
    found = judgements[judgements["axis"] == PREFERENCE]
    found = found[found["other_id"].notna()].reset_index(drop=True)
    turned = (found["text_id"] > found["other_id"]).to_numpy(dtype=bool)
    first, other = found["text_id"].to_numpy(dtype=int), found["other_id"].to_numpy(dtype=int)
    outcome = found["outcome"].where(~turned, found["outcome"].replace(_TURNED))
    swapped = found["swapped"].astype(float).to_numpy()
    kept = ("question_id", "variant_id", "rater_id", "item_id", "repeat_of_id", "seconds")
    table = found[[*kept, "sampler", "is_adjudication", "is_overruled"]].assign(
        a=np.where(turned, other, first),
        b=np.where(turned, first, other),
        outcome=outcome,
        points=outcome.map(POINTS).astype(float),
        a_left=np.where(turned, swapped, 1.0 - swapped),
        is_repeat=is_repeat(found),
    )
    table["ranks"] = may_rank(found, scope)
    for side in ("a", "b"):
        for name in (*FACTORS, "n_characters"):
            column = "characters" if name == "n_characters" else name
            table[f"{column}_{side}"] = table[side].map(origins[name])
    return table


def is_repeat(judgements: pd.DataFrame) -> pd.Series:
    """Tell which judgements are of hidden repeats.

    Ratings of another store have no items here; how they were dealt tells it of them.
    """
    return judgements["repeat_of_id"].notna() | judgements["sampler"].eq(REPEAT)


def may_rank(judgements: pd.DataFrame, scope: Scope) -> pd.Series:
    """Tell which judgements take part in rankings, effects and best sets.

    Blind ones that are no hidden repeats, and of reasonings those that were given before an answer
    was seen. Where a person settled what raters disagreed about, the verdict takes their place.
    """
    return _blind_and_new(judgements, scope) & ~judgements["is_overruled"].astype(bool)


def may_agree(judgements: pd.DataFrame, scope: Scope) -> pd.Series:
    """Tell which judgements take part in agreement: also those settled otherwise, no verdicts."""
    return _blind_and_new(judgements, scope) & ~judgements["is_adjudication"].astype(bool)


def _blind_and_new(judgements: pd.DataFrame, scope: Scope) -> pd.Series:
    fits = ~is_repeat(judgements) & judgements["blind"].astype(bool)
    if scope in JUDGED_BEFORE_ANSWERS:
        fits &= ~judgements["answer_seen"].astype(bool)
    return fits


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons that rankings rest on; "both bad" says nothing about an order."""
    return table[table["ranks"] & table["points"].notna()]


def log_lengths(table: pd.DataFrame) -> Array:
    """Return the logs of the lengths of both texts, shape (comparisons, 2); 0 where unknown."""
    sides = table[["characters_a", "characters_b"]].to_numpy(dtype=float)
    return np.asarray(np.log(np.maximum(1.0, np.nan_to_num(sides, nan=1.0))))


def _level_text(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "–" if value is None else str(value)
