"""All that the ratings of one scope say, for the page and for the command line alike."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sqlalchemy.orm import Session

from db.rating.columns import (
    RatingFilter,
    read_days,
    text_kind,
)
from db.rating.queues import list_queues
from db.rating.ratings import list_raters
from db.texts.inputs import plain_texts
from workbench.insights import agreement
from workbench.insights.diversity import (
    Diversity,
    Group,
    asked_questions,
    groups,
    level_diversity,
    text_quality,
)
from workbench.insights.effects import Effects, comparison_effects, value_effects
from workbench.insights.ranking import Ranking, rank_levels
from workbench.stats.clustered import judged_share
from workbench.stats.comparisons import (
    FACTORS,
    is_repeat,
    may_agree,
    may_rank,
    ranked,
    read_tables,
)
from workbench.stats.intervals import Estimate

RATIOS = (1.0, 1.1, 1.5, 2.0)
"""How many times longer the longer text is, at least; the borders of the steps."""
MOST_LISTED = 50
"""Questions offered for a look at their own ranking: those with the most judgements."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementCounts:
    """What there is, and what of it takes part in rankings."""

    judgements: int = 0
    comparisons: int = 0
    ranked: int = 0
    both_bad: int = 0
    repeats: int = 0
    not_blind: int = 0
    """Not blind, or of a reasoning whose answer had been seen; left out of rankings and effects."""
    questions: int = 0
    cards_planned: int = 0
    """Cards of the queue (of all queues of the scope), times raters per card."""
    cards_rated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """Everything that is drawn or printed; what cannot be said is None or empty."""

    counts: JudgementCounts
    raters: dict[int, str] = field(default_factory=dict)
    rankings: tuple[Ranking, ...] = ()
    both_bad: Estimate | None = None
    """Share of comparisons in which neither was good."""
    effects: tuple[Effects, ...] = ()
    between_raters: tuple[agreement.Agreement, ...] = ()
    with_oneself: agreement.Agreement | None = None
    position: tuple[Share, ...] = ()
    length: tuple[Share, ...] = ()
    times: tuple[Times, ...] = ()
    days: tuple[tuple[str, int, int], ...] = ()
    """Day (UTC), rater, cards."""
    spread: Diversity | None = None
    questions: tuple[tuple[int, int], ...] = ()
    """Question and its number of judgements, the most first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionInsight:
    """The rated texts of one question, and their words by id."""

    groups: tuple[Group, ...]
    texts_by_id: dict[int, str]


def read_insights(session: Session, filter: RatingFilter) -> Insights:
    """Compute everything from the store; seconds where there are hundreds of thousands of ratings.

    Use a session of one moment (``Database.read``); nothing is written.
    """
    tables = read_tables(session, filter)
    judgements, pairs, origins = tables.judgements, tables.comparisons, tables.origins
    if judgements.empty:
        return Insights(counts=JudgementCounts(cards_planned=_planned(session, filter)))
    order = ranked(pairs)
    raters = {row.id: row.name for row in list_raters(session, archived=None)}
    present = judgements["rater_id"].unique()
    values = _values(judgements, origins, may_rank(judgements, filter.scope))
    own = _values(judgements, origins, may_agree(judgements, filter.scope))
    given = pairs[~pairs["is_adjudication"].astype(bool)]
    equal_length = filter.equal_length
    rankings = [rank_levels(order, factor, equal_length=equal_length) for factor in FACTORS]
    listed = judgements["question_id"].value_counts().head(MOST_LISTED)
    days = read_days(session, filter)
    return Insights(
        counts=_counts(session, filter, judgements, pairs),
        raters={int(id): raters[int(id)] for id in present},
        rankings=tuple(ranking for ranking in rankings if ranking),
        both_bad=_both_bad(pairs[pairs["ranks"]]),
        effects=_effects(order, values, equal_length=equal_length),
        between_raters=_agreements(given, own),
        with_oneself=agreement.with_oneself(given) if len(given) else None,
        position=position(given),
        length=length(pairs),
        times=times(judgements),
        days=tuple(zip(days["day"], days["rater_id"], days["cards"], strict=True)),
        spread=_diversity(session, filter, judgements, order, origins),
        questions=tuple((int(id), int(n)) for id, n in listed.items()),
    )


def read_question(session: Session, filter: RatingFilter) -> QuestionInsight:
    """Compute the ranking, the diversity and the best set of ``filter.question_id``."""
    assert filter.question_id is not None
    tables = read_tables(session, filter)
    judgements, pairs, origins = tables.judgements, tables.comparisons, tables.origins
    if judgements.empty:
        return QuestionInsight(groups=(), texts_by_id={})
    texts_by_id = plain_texts(session, text_kind(filter.scope), map(int, origins.index))
    found = groups(judgements, ranked(pairs), filter.scope, texts_by_id)
    return QuestionInsight(groups=tuple(found), texts_by_id=texts_by_id)


def _values(judgements: pd.DataFrame, origins: pd.DataFrame, counts: pd.Series) -> pd.DataFrame:
    """Return the values on axes that count, each with the levels of its text."""
    values = judgements[judgements["value"].notna() & counts]
    levels = origins[[*FACTORS, "n_characters"]].rename(columns={"n_characters": "characters"})
    return values.join(levels, on="text_id")


def _effects(
    order: pd.DataFrame, values: pd.DataFrame, *, equal_length: bool
) -> tuple[Effects, ...]:
    found = []
    if len(order):
        found.append(comparison_effects(order, FACTORS, equal_length=equal_length))
    for axis, own in values.groupby("axis"):
        found.append(value_effects(own, str(axis), FACTORS, equal_length=equal_length))
    return tuple(one for one in found if one)


def _agreements(pairs: pd.DataFrame, values: pd.DataFrame) -> tuple[agreement.Agreement, ...]:
    found = [agreement.between_raters(pairs)] if len(pairs) else []
    found += [agreement.on_axis(values, str(axis)) for axis in sorted(values["axis"].unique())]
    return tuple(one for one in found if one)


def _both_bad(pairs: pd.DataFrame) -> Estimate | None:
    if pairs.empty:
        return None
    return judged_share(pairs.assign(hit=pairs["points"].isna()))


def _diversity(
    session: Session,
    filter: RatingFilter,
    judgements: pd.DataFrame,
    order: pd.DataFrame,
    origins: pd.DataFrame,
) -> Diversity | None:
    asked = asked_questions(judgements)
    judged = judgements[judgements["question_id"].isin(asked)]
    order = order[order["question_id"].isin(asked)]
    quality = text_quality(judged, order, filter.scope)
    sides = [
        judged[["question_id", column]].rename(columns={column: "text_id"}).dropna()
        for column in ("text_id", "other_id")
    ]
    texts = pd.concat(sides).drop_duplicates("text_id").astype(int).set_index("text_id")
    texts = texts.join(origins[list(FACTORS)]).assign(quality=quality.reindex(texts.index))
    plain = plain_texts(session, text_kind(filter.scope), map(int, texts.index))
    return level_diversity(texts, plain)


def _counts(
    session: Session, filter: RatingFilter, judgements: pd.DataFrame, pairs: pd.DataFrame
) -> JudgementCounts:
    order = ranked(pairs)
    originals = judgements[~is_repeat(judgements)]
    cards = originals[originals["item_id"].notna()].drop_duplicates(["rater_id", "item_id"])
    fresh = pairs[~pairs["is_repeat"]]
    return JudgementCounts(
        judgements=len(judgements),
        comparisons=len(pairs),
        ranked=len(order),
        both_bad=int(pairs["points"].isna().sum()),
        repeats=int(pairs["is_repeat"].sum()),
        not_blind=int((~fresh["ranks"] & ~fresh["is_overruled"].astype(bool)).sum()),
        questions=int(judgements["question_id"].nunique()),
        cards_planned=_planned(session, filter),
        cards_rated=len(cards),
    )


def _planned(session: Session, filter: RatingFilter) -> int:
    queues = [
        queue
        for queue in list_queues(session, archived=None)  # archiving moves no figure
        if queue.scope == filter.scope and filter.queue_id in (None, queue.id)
    ]
    return sum(queue.n_items * queue.overlap for queue in queues)


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
    timed = judgements[judgements["seconds"].notna() & judgements["item_id"].notna()]
    cards = timed.drop_duplicates(["rater_id", "item_id"])
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
