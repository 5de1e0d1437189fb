"""Diversity beside quality: of factor levels over questions, and of one question's texts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from db.rating.ratings import HIGHEST, LOWEST, RESERVED, Scope
from workbench.insights.ranking import Place, rank_texts, text_groups
from workbench.stats.comparisons import FACTORS, may_rank
from workbench.stats.diversity import (
    best_set,
    floor_of,
    mean_difference,
    number_of_different,
    similarity,
)
from workbench.stats.intervals import Estimate, mean

MOST_QUESTIONS = 200
"""Questions whose words are read; drawn by lot where there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelDiversity:
    """How good the texts of a level are, and how different from one another."""

    factor: str
    level: str
    quality: Estimate
    """Mean over questions of the quality of its texts, 0 to 1; 0.5 is average in comparisons."""
    difference: Estimate
    """Mean over questions of the difference of two of its texts, 0 to 1."""
    n_questions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Diversity:
    """Diversity over questions."""

    levels: tuple[LevelDiversity, ...]
    texts: Estimate
    """Texts that were rated for a question, on average."""
    different: Estimate
    """How many of them are really different."""
    n_questions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The rated texts of one question, or of one reasoning under it."""

    variant_id: int | None
    places: tuple[Place, ...]
    """The best one first; empty where nothing was compared."""
    n_texts: int
    n_different: float
    best: tuple[int, ...]
    """Ids of the best set: only texts that are good enough, so that there may be few or none."""
    floor: float | None = None
    """The quality that a text of the best set has at least; None where none is any good."""
    unrated: tuple[int, ...] = ()
    """Ids of texts whose quality nothing tells; they are left out of the best set."""


def text_quality(
    judgements: pd.DataFrame, pairs: pd.DataFrame, scope: Scope, *, imagined: float = 0.0
) -> pd.Series:
    """Return the quality of each text, 0 to 1: its share of points, or else its mean on the axes.

    Texts of which nothing is known are left out; they are neither good nor bad.

    Args:
        judgements: All judgements; those that rank count.
        pairs: Comparisons that rank.
        scope: What is judged.
        imagined: So many values at the mean of all are added to those of each text on the axes, so
            that a single high one does not beat many. (Shares of points are drawn to the middle.)
    """
    quality: dict[int, float] = {}
    own = judgements[judgements["value"].notna() & may_rank(judgements, scope)]
    own = own[~own["axis"].isin(RESERVED)]
    scaled = (own["value"].astype(float) - LOWEST) / (HIGHEST - LOWEST)
    scaled = scaled.clip(0, 1)
    if len(scaled):
        by_text = scaled.groupby(own["text_id"]).agg(["sum", "size"])
        total = by_text["sum"] + imagined * scaled.mean()
        quality.update((total / (by_text["size"] + imagined)).to_dict())
    for _, group in pairs.groupby(text_groups(pairs, scope), dropna=False):
        quality.update({int(place.name): place.share.value for place in rank_texts(group)})
    return pd.Series(quality, dtype=float)


def asked_questions(judgements: pd.DataFrame) -> list[int]:
    """Return the questions whose texts are looked at: all, or ``MOST_QUESTIONS`` drawn by lot."""
    questions = np.sort(judgements["question_id"].unique())
    if len(questions) > MOST_QUESTIONS:
        questions = np.random.default_rng(0).choice(questions, MOST_QUESTIONS, replace=False)
    return [int(question) for question in questions]


def level_diversity(texts: pd.DataFrame, texts_by_id: Mapping[int, str]) -> Diversity | None:
    """Return diversity beside quality over questions; None where no question has two texts.

    Args:
        texts: Index: text id; columns ``question_id``, ``quality``, and the factors.
        texts_by_id: The words of each text.
    """
    rows: list[tuple[str, str, int, float, float]] = []
    sizes, different = [], []
    for question, own in texts.groupby("question_id"):
        if len(own) < 2:
            continue
        similarities = similarity([texts_by_id[int(text)] for text in own.index])
        sizes.append(float(len(own)))
        different.append(number_of_different(similarities))
        for factor in FACTORS:
            levels = own.groupby(factor).indices
            # Quality is told within a question: it compares only levels that met in one.
            for level, places in levels.items() if len(levels) > 1 else ():
                if len(places) > 1:
                    among = mean_difference(similarities[np.ix_(places, places)])
                    quality = float(own["quality"].iloc[places].mean())
                    rows.append((factor, str(level), int(question), quality, among))
    if not sizes:
        return None
    table = pd.DataFrame(rows, columns=["factor", "level", "question", "quality", "difference"])
    levels = [
        LevelDiversity(
            factor=factor,
            level=level,
            quality=mean(own["quality"].to_numpy(float), 0.0, 1.0),
            difference=mean(own["difference"].to_numpy(float), 0.0, 1.0),
            n_questions=len(own),
        )
        for (factor, level), own in table.dropna().groupby(["factor", "level"])
        if table.loc[table["factor"] == factor, "level"].nunique() > 1
    ]
    return Diversity(
        levels=tuple(levels),
        texts=mean(np.array(sizes), 1.0),
        different=mean(np.array(different), 1.0),
        n_questions=len(sizes),
    )


def groups(
    judgements: pd.DataFrame, pairs: pd.DataFrame, scope: Scope, texts_by_id: Mapping[int, str]
) -> list[Group]:
    """Return the rated texts of one question, ranked, with how many differ and the best set."""
    quality = text_quality(judgements, pairs, scope, imagined=1.0)
    quality = quality.combine_first(_called_bad(judgements[may_rank(judgements, scope)]))
    sides = [
        judgements[["variant_id", column]]
        .rename(columns={column: "text_id"})
        .dropna(subset="text_id")
        for column in ("text_id", "other_id")
    ]
    texts = pd.concat(sides).drop_duplicates("text_id")
    if scope != "answer":
        texts = texts.assign(variant_id=None)
    found = []
    for variant, own in texts.groupby("variant_id", dropna=False):
        ids = [int(text) for text in own["text_id"]]
        compared = pairs[pairs["a"].isin(ids)]
        similarities = similarity([texts_by_id[text] for text in ids])
        worth = quality.reindex(ids).to_numpy(dtype=float)
        good = np.flatnonzero(worth > 0)  # what was only ever called bad is no best one
        best = best_set(worth[good], similarities[np.ix_(good, good)])
        found.append(
            Group(
                variant_id=None if pd.isna(variant) else int(variant),
                places=rank_texts(compared) if len(compared) else (),
                n_texts=len(ids),
                n_different=number_of_different(similarities),
                best=tuple(ids[good[place]] for place in best),
                floor=floor_of(worth[good]) if len(good) else None,
                unrated=tuple(ids[place] for place in np.flatnonzero(~np.isfinite(worth))),
            )
        )
    return sorted(found, key=lambda group: -group.n_texts)


def _called_bad(judgements: pd.DataFrame) -> pd.Series:
    """Return quality 0 for the texts that were in a comparison in which both were bad."""
    bad = judgements[judgements["outcome"] == "both_bad"]
    ids = pd.concat([bad["text_id"], bad["other_id"]]).dropna().astype(int).unique()
    return pd.Series(0.0, index=ids, dtype=float)
