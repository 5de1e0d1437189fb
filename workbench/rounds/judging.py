"""The verdict of a round made again from its figures: people compare blind once it has ended."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from db.errors import UsageError
from db.rounds import RoundRow, decide_round
from training.rounds.spec import parse_round
from workbench.insights.rounds import Comparison
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
    """Tell whether figures speak for another verdict than the round bears, or for another reason.

    The reason of a person, or of earlier rules, is not compared: only its verdict is.
    """
    if now is None:
        return False
    before = found.findings or {}
    is_same_reason = "settled" not in before or _reason(before) == _reason(now.findings)
    return now.verdict != found.verdict or not is_same_reason


def _reason(findings: Mapping[str, Any]) -> object:
    """Return which measures were settled how, and which were not taken."""
    outcomes = {one["measure"]: one["outcome"] for one in findings["settled"]}
    return outcomes, sorted(findings["missing"])
