"""Completions of other prompts, from which KTO estimates how far the model has moved (its KL term).

A row must meet neither its own completion nor another one of its own prompt: it would be compared
with itself, and the estimate would be its own reward. TRL rotates the completions of each batch,
which pairs a last batch of one row with itself, and rows of one question with each other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from db.errors import UsageError


def check_has_other_prompts(rows: Sequence[Mapping[str, Any]], method: str) -> None:
    """Refuse rows for a method of this kind that all have one prompt, or all one completion.

    Raises:
        UsageError: They cannot be paired with one another.
    """
    for field, what in (("prompt_ids", "prompt"), ("completion_ids", "text")):
        if len({tuple(row[field]) for row in rows}) < 2:
            raise UsageError(
                "{method} pairs each row with the text of another question, and all"
                " {n_rows} rows to train on have one {what}; add rows of other questions to the"
                " dataset.",
                method=method,
                n_rows=len(rows),
                what=what,
            )


def other_completions(
    rows: Sequence[Mapping[str, Any]], batch: int, spare: Sequence[Mapping[str, Any]] = ()
) -> list[list[int] | None]:
    """Return for each row the completion of a row with another prompt, which differs from its own.

    Where a rotation of its batch does that, it is taken: rewards and KL term are then of the same
    texts. Else the nearest later row does, or one of ``spare``. None: no row at all fits.

    Args:
        rows: With ``prompt_ids`` and ``completion_ids``, in the order in which they train.
        batch: Rows of one device's batch.
        spare: Further rows to take completions from.
    """
    pool = [*rows, *spare]
    prompts = [tuple(row["prompt_ids"]) for row in pool]
    texts = [tuple(row["completion_ids"]) for row in pool]

    def fits(row: int, other: int) -> bool:
        return prompts[row] != prompts[other] and texts[row] != texts[other]

    found: list[list[int] | None] = []
    for start in range(0, len(rows), batch):
        own = range(start, min(start + batch, len(rows)))
        partners = _rotated(own, fits) or [
            next((other for other in _after(row, len(pool)) if fits(row, other)), None)
            for row in own
        ]
        found += [None if one is None else list(pool[one]["completion_ids"]) for one in partners]
    return found


def _rotated(own: range, fits: Callable[[int, int], bool]) -> list[int | None] | None:
    """Return the first rotation in which every row of a batch meets one that fits."""
    for step in range(1, len(own)):
        partners = [*own[-step:], *own[:-step]]
        if all(fits(row, other) for row, other in zip(own, partners, strict=True)):
            return [*partners]
    return None


def _after(row: int, n: int) -> Iterator[int]:
    """Yield all other places, from the next one on."""
    return ((row + step) % n for step in range(1, n))
