"""Names of splits that never train."""

import re

HELD_OUT = frozenset(
    {"held_out", "heldout", "holdout", "hold_out", "test", "testing", "validation", "valid", "val"}
    | {"dev", "eval", "evaluation"}
)
"""Names of splits that never train."""
_BETWEEN = re.compile("[^a-z]+")


def is_held_out(name: str) -> bool:
    """Tell whether a name is, begins with, or ends with that of a split that never trains."""
    words = _BETWEEN.sub("_", name.lower()).strip("_")
    return words in HELD_OUT or any(
        words.startswith(f"{split}_") or words.endswith(f"_{split}") for split in HELD_OUT
    )
