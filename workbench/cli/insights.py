"""``q2q rate insights``: what the ratings say, the numbers of the app's page."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast

import typer
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.rating.columns import RaterKind, RatingFilter
from db.rating.queues import get_queue
from db.rating.ratings import Scope
from db.store.migrate import open_home
from db.sweeps import get_sweep
from workbench.cli.output import Json, show, show_json, show_table
from workbench.insights.effects import Effects
from workbench.insights.ranking import Ranking
from workbench.insights.report import Insights, read_insights
from workbench.stats.clustered import MIN_RATERS
from workbench.stats.intervals import Estimate

SCOPES = ("reasoning", "answer", "whole")
LENGTHS = ("as-is", "equal")
RATERS = {"people": "person", "models": "model"}
INTERVAL = (
    "Intervals aim to hold the truth in 95 of 100 cases, whichever cards were dealt (measured:"
    " docs/insights.md)."
)


def insights(
    queue_id: Annotated[int | None, typer.Option("--queue", help="Only of this queue.")] = None,
    sweep_id: Annotated[
        int | None, typer.Option("--sweep", help="Only of texts of this sweep.")
    ] = None,
    scope: Annotated[str, typer.Option(help="reasoning, answer or whole.")] = "reasoning",
    raters: Annotated[str, typer.Option(help="people or models; never both.")] = "people",
    length: Annotated[
        str, typer.Option(help="as-is, or equal: as if compared texts were equally long.")
    ] = "as-is",
    as_json: Json = False,
) -> None:
    """Show what the ratings say: rankings, effects, agreement, bias, diversity.

    Example:
      q2q rate insights
      q2q rate insights --queue 1 --json
      q2q rate insights --length equal
    """
    if length not in LENGTHS:
        raise UsageError("--length is one of {lengths}.", lengths=", ".join(LENGTHS))
    if scope not in SCOPES or raters not in RATERS:
        raise UsageError(
            "--scope is one of {scopes} and --raters one of {raters}.",
            scopes=", ".join(SCOPES),
            raters=", ".join(RATERS),
        )

    with open_home() as (_, database), database.read() as session:
        _require(session, queue_id, sweep_id)
        wanted = RatingFilter(
            scope=cast("Scope", scope),
            raters=cast("RaterKind", RATERS[raters]),
            queue_id=queue_id,
            sweep_id=sweep_id,
            equal_length=length == "equal",
        )
        found = read_insights(session, wanted)
    if as_json:
        show_json(found)
    elif not found.counts.judgements:
        show(
            "No ratings here yet; make a queue with `q2q rate queue --name …` and rate in the app."
        )
    else:
        _show(found)


def _require(session: Session, queue_id: int | None, sweep_id: int | None) -> None:
    """Refuse a queue or a sweep that is not there, rather than call it unrated."""
    if queue_id is not None:
        get_queue(session, queue_id)
    if sweep_id is not None:
        get_sweep(session, sweep_id)


def _show(found: Insights) -> None:
    counts = found.counts
    show(
        f"{counts.comparisons} comparisons, {counts.ranked} of them in rankings,"
        f" {counts.judgements} ratings of {counts.questions} questions."
    )
    if found.both_bad:
        show(f"Both bad: {_share(found.both_bad)}")
    show(INTERVAL)
    for ranking in found.rankings:
        _show_ranking(found, ranking)
    for effects in found.effects:
        _show_effects(found, effects)
    _show_trust(found)
    if found.spread:
        show("")
        show(
            f"Of {found.spread.texts.value:.1f} texts a question"
            f" {found.spread.different.value:.1f} are really different (by wording)."
        )


def _show_ranking(found: Insights, ranking: Ranking) -> None:
    rows = [
        {
            "level": place.name,
            "share": _share(place.share),
            "comparisons": place.n_comparisons,
            **{
                found.raters[own.rater_id]: _share(alone.share)
                for own in ranking.by_rater
                for alone in own.places
                if alone.name == place.name
            },
        }
        for place in ranking.places
    ]
    names = [found.raters[own.rater_id] for own in ranking.by_rater]
    _table(f"Preferred {ranking.factor}, against an average one:", rows, names)
    _table(
        f"Win chances by {ranking.factor}:",
        [
            {
                "level": one.better,
                "against": one.other,
                "share": _share(one.share),
                "comparisons": one.n_comparisons,
            }
            for one in ranking.win_chances
        ],
    )
    _show_whose(ranking.n_raters)
    if ranking.twice_as_long:
        show(
            "At equal length; a text twice as long takes"
            f" {_share(ranking.twice_as_long)} of the points."
        )


def _show_effects(found: Insights, effects: Effects) -> None:
    rows = [
        {
            "factor": one.factor,
            "level": one.level,
            "change": _span(one.change, "+.2f"),
            **{
                found.raters[own.rater_id]: _span(alone.change, "+.2f")
                for own in effects.by_rater
                for alone in own.effects
                if (alone.factor, alone.level) == (one.factor, one.level)
            },
        }
        for one in effects.effects
    ]
    names = [found.raters[own.rater_id] for own in effects.by_rater]
    _table(f"Main effects on {effects.axis}:", rows, names)
    _show_whose(effects.n_raters)
    if effects.twice_as_long:
        show(f"At equal length; being twice as long adds {_span(effects.twice_as_long, '+.2f')}.")
    if effects.entangled:
        show(f"Not told apart from others: {', '.join(effects.entangled)}")


def _show_whose(n_raters: int) -> None:
    if n_raters == 1:
        show("For this rater: another one may prefer otherwise.")
    elif n_raters < MIN_RATERS:
        show(f"For these {n_raters} raters: others may prefer otherwise.")


def _show_trust(found: Insights) -> None:
    agreements = [(one.axis, one) for one in found.between_raters]
    if found.with_oneself:
        agreements.append(("oneself, comparisons", found.with_oneself))
    _table(
        "Agreement (1 is full, 0 is chance):",
        [
            {
                "on": name,
                "alpha": _span(one.alpha, ".2f") if one.alpha else None,
                "same": _share(one.same),
                "judged twice": one.n_units,
            }
            for name, one in agreements
        ],
    )
    if agreements:
        _show_whose(min(one.n_raters for _, one in agreements))
    _table(
        "The left text won (half is fair):",
        [
            {
                "rater": "all" if one.name == "all" else found.raters[int(one.name)],
                "share": _share(one.share),
                "comparisons": one.n,
            }
            for one in found.position
        ],
    )
    if found.position:
        _show_whose(found.position[0].n_raters)
    _table(
        "The longer text won, by how many times longer it is:",
        [
            {"times": one.name, "share": _share(one.share), "comparisons": one.n}
            for one in found.length
        ],
    )
    if found.length:
        _show_whose(found.length[0].n_raters)
    _table(
        "Seconds a card:",
        [
            {"rater": found.raters[one.rater_id], "median": one.median, "cards": one.n}
            for one in found.times
        ],
    )


def _table(title: str, rows: Iterable[Mapping[str, Any]], more: Iterable[str] = ()) -> None:
    """Show a table with the columns of its first row, and ``more`` that not every row has."""
    rows = list(rows)
    if rows:
        columns = dict.fromkeys((*rows[0], *more))
        show("")
        show(title)
        show_table([{name: row.get(name) for name in columns} for row in rows], tuple(columns))


def _share(found: Estimate) -> str:
    return _span(found, ".0%")


def _span(found: Estimate, form: str) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:{form}}"
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"
