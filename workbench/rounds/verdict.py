"""What a comparison says of a round: keep, drop, branch, or that there are not enough questions.

People may decide otherwise. A round is kept on evidence of no harm: each measure with a margin
(``workbench.rounds.spec.Margins``) is shown to be no worse than it allows
(``workbench.rounds.evidence``). The reason is kept as values; each language has its own words for
them (``workbench.rounds.text``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from db.errors import UsageError
from db.rounds import RoundRow, Verdict, decide_round
from workbench.rounds.comparison import CORRECT, Comparison, compare_round
from workbench.rounds.evidence import DIVERSITY_MEASURES, PEOPLE, Settled, settle
from workbench.rounds.spec import Comparing, parse_round
from workbench.rounds.text import verdict_reason


@dataclass(frozen=True, slots=True)
class VerdictProposal:
    """A verdict with its reason as values."""

    verdict: Verdict
    findings: dict[str, Any]
    """``share`` and ``asked`` (0 to 1), ``languages`` (code → share), ``first`` (the model it is
    compared with), ``better`` and ``worse`` (measures), ``settled`` (each measure that decides, as
    of ``Settled``), ``missing`` (measures with a margin that were not taken)."""

    @property
    def reason(self) -> str:
        """The reason in English sentences."""
        return verdict_reason(self.findings, "en")


def propose(comparison: Comparison, model_id: int, asked: Comparing) -> VerdictProposal:
    """Return what the figures speak for.

    ``drop``: people surely prefer the model before; or too few outputs are well-formed, and no more
    than before; or something is surely worse and nothing surely better. ``branch``: some of both,
    or only the number of different texts or the influence of reasonings fell; worth going on from
    beside what was there.
    ``keep``: every measure with a margin is shown to be no worse than that.
    ``not_enough_questions``: neither harm nor its absence is shown.

    Args:
        comparison: Of the round's sweep.
        model_id: The round's own model.
        asked: What the round asks of a model to keep.
    """
    own = next(one for one in comparison.models if one.model_id == model_id)
    share = next((f.found.value for f in own.figures if f.measure == "well_formed"), 0.0)
    margins = asked.margins.model_dump()
    settled = settle(comparison, own, margins)
    taken = {one.measure for one in settled}
    findings = {
        "share": share,
        "asked": asked.well_formed,
        "languages": {one.language: one.found.value for one in own.well_formed_by_language},
        "first": comparison.models[0].model,
        "better": [one.measure for one in settled if one.outcome == "better"],
        "worse": [one.measure for one in settled if one.outcome == "worse"],
        "settled": [one.as_json() for one in settled],
        "missing": [name for name, margin in margins.items() if margin and name not in taken],
    }
    return VerdictProposal(
        _verdict(settled, enough_well_formed=share >= asked.well_formed), findings
    )


def _verdict(settled: Sequence[Settled], *, enough_well_formed: bool) -> Verdict:
    better = {one.measure for one in settled if one.outcome == "better"}
    worse = {one.measure for one in settled if one.outcome == "worse"}
    required = [one for one in settled if one.margin is not None]
    if PEOPLE in worse:
        return "drop"
    if not enough_well_formed:
        return "branch" if better & {PEOPLE, CORRECT, "well_formed"} else "drop"
    if worse:
        return "branch" if better or worse <= DIVERSITY_MEASURES else "drop"
    if required and all(one.outcome != "open" for one in required):
        return "keep"
    return "not_enough_questions"


MISSING_TEXTS = ("not_written", "not_scored")
"""What the round itself noted when it was first judged."""


def judge(found: RoundRow, comparison: Comparison) -> VerdictProposal | None:
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
        raise UsageError(
            "The sweep of round {found_name!r} holds nothing of its own model.",
            found_name=found.name,
        )
    before = found.findings or {}
    noted = {name: before[name] for name in MISSING_TEXTS if name in before}
    return decide_round(
        session, found.id, proposal.verdict, proposal.reason, {**proposal.findings, **noted}
    )


def is_outdated(found: RoundRow, now: VerdictProposal | None) -> bool:
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
