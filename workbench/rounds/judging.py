"""The verdict of a round made again from its figures: people compare blind once it has ended."""

from sqlalchemy.orm import Session

from db.errors import UsageError
from db.rounds import RoundRow, decide_round
from training.rounds.spec import parse_round
from workbench.analysis.rounds import Comparison
from workbench.rounds.comparing import compare_round
from workbench.rounds.verdict import Proposal, propose

MISSING_TEXTS = ("not_written", "not_scored")
"""What the round itself noted when it was first judged."""


def judge(found: RoundRow, comparison: Comparison) -> Proposal | None:
    """Return what the figures of a round speak for now; None where its model is not compared."""
    own = found.merged_model_version_id
    if own is None or all(one.model_id != own for one in comparison.models):
        return None
    return propose(comparison, own, parse_round(found.config).compare)


def judge_again(session: Session, found: RoundRow) -> RoundRow:
    """Store what the figures of a round speak for now, in place of its verdict.

    Raises:
        UsageError: It has not been compared yet, or its own model is not among those compared.
    """
    proposal = judge(found, compare_round(session, found))
    if proposal is None:
        raise UsageError(f"The sweep of round {found.name!r} holds nothing of its own model.")
    before = found.findings or {}
    noted = {name: before[name] for name in MISSING_TEXTS if name in before}
    return decide_round(
        session, found.id, proposal.verdict, proposal.reason, {**proposal.findings, **noted}
    )


def is_outdated(found: RoundRow, now: Proposal | None) -> bool:
    """Tell whether figures speak for another verdict now than the round bears."""
    return now is not None and now.verdict != found.verdict
