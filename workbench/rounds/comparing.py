"""The comparison of one round: its texts, its scores, and what raters said blind."""

from sqlalchemy.orm import Session

from db.errors import UsageError
from db.rounds import RoundRow
from workbench.insights.rounds import Comparison, compare
from workbench.rounds.scoring import read_scores


def compare_round(session: Session, found: RoundRow) -> Comparison:
    """Return how the models of a round did, the one it starts from first.

    Raises:
        UsageError: It has not asked the held-out questions yet.
    """
    if found.sweep_id is None or found.step not in ("compare", "ended"):
        raise UsageError(
            f"Round {found.name!r} is at the step {found.step}; it can be compared once the"
            " held-out questions have been answered."
        )
    return compare(
        session, found.sweep_id, [found.starts_from_id], more=read_scores(session, found)
    )
