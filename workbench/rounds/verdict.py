"""What a comparison says of a round: keep, drop or branch, and why. People may decide otherwise."""

from dataclasses import dataclass

from db.rounds import Verdict
from workbench.analysis.rounds import Change, Comparison, ModelFigures

DECIDING = ("well_formed", "stopped", "clean", "reasonings", "answers", "dont_know_answerable")
"""Measures whose sure change for the worse speaks against a round."""
WORDS = {
    "well_formed": "well-formed outputs",
    "stopped": "outputs that stop by themselves",
    "clean": "outputs without a finding",
    "reasonings": "different reasonings of a question",
    "answers": "different answers to a question",
    "dont_know_answerable": '"I don\'t know" where there is an answer',
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A verdict with its reason, in sentences."""

    verdict: Verdict
    reason: str


def propose(comparison: Comparison, model_id: int, well_formed: float) -> Proposal:
    """Return what the figures speak for.

    ``keep``: enough outputs are well-formed, and nothing became surely worse. ``drop``: too few are
    well-formed, and no more of them than before. ``branch``: some of both; worth going on from
    beside what was there.

    Args:
        comparison: Of the round's sweep.
        model_id: The round's own model.
        well_formed: The least share of well-formed outputs to keep it.
    """
    own = next(one for one in comparison.models if one.model_id == model_id)
    share = next((f.found.value for f in own.figures if f.measure == "well_formed"), 0.0)
    enough = share >= well_formed
    worse, better = _sure(own, is_better=False), _sure(own, is_better=True)
    said = (
        f"{100 * share:.0f} % of its outputs are well-formed"
        f" ({'at least' if enough else 'less than'} the {100 * well_formed:.0f} % asked for)."
    )
    if better:
        said += f" Surely better than {comparison.models[0].model}: {_listed(better)}."
    if worse:
        said += f" Surely worse: {_listed(worse)}."
    if not better and not worse:
        said += f" No change from {comparison.models[0].model} is sure."
    if enough and not worse:
        return Proposal("keep", said)
    improved = any(change.measure == "well_formed" for change in better)
    return Proposal("branch" if enough or improved else "drop", said)


def _sure(own: ModelFigures, *, is_better: bool) -> list[Change]:
    return [
        change
        for change in own.changes
        if change.measure in DECIDING and change.is_better is is_better
    ]


def _listed(changes: list[Change]) -> str:
    return ", ".join(WORDS[change.measure] for change in changes)
