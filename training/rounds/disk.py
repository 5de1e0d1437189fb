"""Whether the disk has room for a round: said before it begins, not when it is full."""

import shutil
from pathlib import Path

from db.errors import Q2QError
from db.models import ModelRow

CHECKPOINTS_SHARE = 0.15
"""Adapter, its optimizer and two checkpoints, for the size of the base."""
SPARE_BYTES = 1_000_000_000
"""For the store, logs and the system."""


def needed_bytes(base: ModelRow, *, merge: bool) -> int:
    """Return what a round on ``base`` writes: adapter, checkpoints, and perhaps a 16-bit merge.

    A base that was pruned is written again as well.
    """
    whole = 2 * base.n_parameters if base.n_parameters else base.size_bytes or 0
    n_whole = int(merge) + int(base.state == "pruned")
    return round(whole * (n_whole + CHECKPOINTS_SHARE)) + SPARE_BYTES


def check_disk(home: Path, base: ModelRow, *, merge: bool) -> None:
    """Refuse to begin what would fill the disk.

    Raises:
        Q2QError: There is too little room; the sentence says how much is missing.
    """
    needed, free = needed_bytes(base, merge=merge), shutil.disk_usage(home).free
    if free < needed:
        raise Q2QError(
            f"This round writes about {needed / 1e9:.1f} GB under {home}, and"
            f" {free / 1e9:.1f} GB are free; free some, for example with `q2q model prune`."
        )
