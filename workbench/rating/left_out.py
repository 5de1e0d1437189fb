"""Why texts are no cards of a queue, in words of the command line, and what takes them in."""

from collections.abc import Mapping

KEEP_FLAGGED = "--keep-flagged"
KEEP_UNTRAINABLE = "--keep-untrainable"

_WHY = {
    "alone": "nothing to compare them with",
    "duplicate": "the same words as another",
    "flagged": f"a rater flagged them; no dataset takes them ({KEEP_UNTRAINABLE})",
    "held_out": f"their question is held out and never trains ({KEEP_UNTRAINABLE})",
    "control": "made as a control of a score",
    "not_held_out": "their question is not held out",
    "not_whole": "no reasoning with an answer",
    "same_words": "both models wrote the same",
}


def why_left_out(reason: str) -> str:
    """Return what a reason means, with the option that takes such texts in, where there is one."""
    return _WHY.get(reason, f"finding {reason} ({KEEP_FLAGGED})")


def listed(left_out: Mapping[str, int]) -> str:
    """Return all reasons with their counts, for a sentence."""
    return "; ".join(f"{n:,}: {why_left_out(reason)}" for reason, n in left_out.items())
