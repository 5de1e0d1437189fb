"""Does a queue show what its plan says? The power promised, and that of simulated ratings.

    python -m benchmarks.queue_power [OUT.json] [--runs 400]

For each layout of a queue the plan names the smallest share of points that shows in four of five
cases. Ratings with just this share are drawn (seed 13; texts differ as Insights takes for usual)
and ranked as Insights ranks them; the power is the share of runs whose interval is all above half.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from benchmarks.setting import note, write_result
from workbench.insights.ranking import rank_levels
from workbench.rating.power import Meeting, lead_errors, smallest_share
from workbench.stats.mixed_effects import USUAL_DEVIATION, expected_points

OUT = Path(__file__).parent / "results" / "queue_power.json"
SEED: Final = 13


class Layout(NamedTuple):
    """Two levels under each question."""

    questions: int
    texts: int
    """Of each level under each question; all pairs of different levels meet."""
    raters: int
    """Of each card."""


LAYOUTS: Final = (
    Layout(6, 3, 3),
    Layout(10, 2, 2),
    Layout(15, 1, 3),
    Layout(20, 3, 1),
    Layout(40, 1, 1),
    Layout(40, 1, 4),
    Layout(30, 2, 1),
    Layout(100, 1, 1),
    Layout(200, 1, 1),
)


def main() -> None:
    """Simulate each layout and write what was promised and what came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--runs", type=int, default=400)
    given = parser.parse_args()
    rows = [measured(layout, given.runs) for layout in LAYOUTS]
    write_result(given.out, {"runs": given.runs, "seed": SEED, "layouts": rows})


def measured(layout: Layout, runs: int) -> dict[str, Any]:
    """Return the share that the plan names for a layout, and the power that it really has."""
    meetings = meetings_of(layout)
    share = smallest_share(lead_errors(meetings, 2)[:, 0, 1], layout.questions)
    lead = brentq(
        lambda one: float(expected_points(np.array(one), 2 * USUAL_DEVIATION)) - share, 0, 9
    )
    random = np.random.default_rng(SEED)
    power = float(np.mean([shows(meetings, float(lead), random) for _ in range(runs)]))
    note(f"{layout}: {share:.3f} shows in {power:.1%}")
    cards = len(meetings)
    return {**layout._asdict(), "cards": cards, "share": round(share, 3), "power": round(power, 3)}


def meetings_of(layout: Layout) -> list[Meeting]:
    """Return all comparisons of texts of different levels."""
    return [
        Meeting(
            question,
            a=2 * layout.texts * question + a,
            b=2 * layout.texts * question + layout.texts + b,
            level_a=0,
            level_b=1,
            n=layout.raters,
        )
        for question in range(layout.questions)
        for a in range(layout.texts)
        for b in range(layout.texts)
    ]


def shows(meetings: Sequence[Meeting], lead: float, random: np.random.Generator) -> bool:
    """Draw ratings and tell whether their ranking shows that the first level is better."""
    shared = random.normal(0, USUAL_DEVIATION, (meetings[-1].question + 1, 2))
    own = random.normal(0, USUAL_DEVIATION, meetings[-1].b + 1)
    rows = []
    for one in meetings:
        first = lead + shared[one.question, 0] + own[one.a]
        chance = expit(first - shared[one.question, 1] - own[one.b])
        rows += [
            (one.question, one.a, one.b, "x", "y", float(random.random() < chance), rater, 1, 1)
            for rater in range(int(one.n))
        ]
    sides = ("question_id", "a", "b", "level_a", "level_b", "points", "rater_id")
    pairs = pd.DataFrame(rows, columns=[*sides, "characters_a", "characters_b"])
    ranking = rank_levels(pairs, "level")
    assert ranking is not None
    (chances,) = ranking.win_chances
    return chances.better == "x" and (chances.share.low or 0.0) > 0.5


if __name__ == "__main__":
    main()
