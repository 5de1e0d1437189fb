"""How far a run is: counts by chunk of questions, so that a chunk can be begun again."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from db.failures import group_reasons

RATE_WINDOW_S = 15.0
MOST_ERRORS = 200
"""Sentences that a run keeps of those for which slots failed; the store has them all."""


@dataclass(slots=True)
class Tally:
    """Slots that came to an end."""

    done: int = 0
    failed: int = 0
    blocked: int = 0

    def add(self, other: "Tally") -> None:
        """Add ``other`` to this."""
        self.done += other.done
        self.failed += other.failed
        self.blocked += other.blocked


@dataclass(slots=True, eq=False)
class Chunk:
    """Some questions that are opened together."""

    question_ids: tuple[int, ...]
    pending: int = 1
    """Slots on their way, and one while it is being opened."""
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a run reports, at most twice a second."""

    done: int
    failed: int
    blocked: int
    total: int
    tokens_per_second: float
    """Over the last seconds."""
    in_flight: int
    """Slots sent and not yet answered."""
    eta_s: float | None
    """Seconds left at the present pace; None while it is not known."""
    message: str
    """What the run does now."""
    failure: str | None = None
    """The commonest reason for which slots failed in this run."""


class ChunkSource:
    """The questions of a sweep, some at a time, in order; chunks can be given back."""

    def __init__(self, question_ids: Sequence[int], size: int) -> None:
        self._ids = question_ids
        self._size = size
        self._next = 0
        self._again: deque[tuple[int, ...]] = deque()

    def take(self) -> Chunk | None:
        """Return the next chunk; None when there is no more."""
        if self._again:
            return Chunk(self._again.popleft())
        ids = tuple(self._ids[self._next : self._next + self._size])
        self._next += self._size
        return Chunk(ids) if ids else None

    def give_back(self, chunks: Iterable[Chunk]) -> None:
        """Take back chunks that were not brought to an end, to be opened once more."""
        self._again.extend(chunk.question_ids for chunk in chunks)


class Board:
    """The counts of a whole run, over all its passes and restarts."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.settled = Tally()
        self.message = "starting"
        self.completion_tokens = 0
        """Written in this run, as far as servers tell."""
        self.is_length_told = False
        """Some server told the length of a text."""
        self.recorded = 0
        """Slots brought to an end in this run."""
        self.errors: Counter[str] = Counter()
        """Why slots failed in this run."""
        self._marks: deque[tuple[float, int, int]] = deque()

    def note_failure(self, error: str) -> None:
        """Remember why a slot failed."""
        if error in self.errors or len(self.errors) < MOST_ERRORS:
            self.errors[error] += 1

    def progress(self, open_chunks: Iterable[Chunk], in_flight: int) -> Progress:
        """Return the figures now."""
        total = Tally()
        total.add(self.settled)
        for chunk in open_chunks:
            total.add(chunk.tally)
        tokens_rate, slot_rate = self._rates()
        left = self.cells - total.done - total.failed - total.blocked
        return Progress(
            done=total.done,
            failed=total.failed,
            blocked=total.blocked,
            total=self.cells,
            tokens_per_second=tokens_rate,
            in_flight=in_flight,
            eta_s=left / slot_rate if slot_rate > 0 else None,
            message=self.message,
            failure=next((one.error for one in group_reasons(self.errors.items())), None),
        )

    def _rates(self) -> tuple[float, float]:
        """Return tokens and slots a second over the last stretch."""
        now = time.monotonic()
        self._marks.append((now, self.completion_tokens, self.recorded))
        while now - self._marks[0][0] > RATE_WINDOW_S:
            self._marks.popleft()
        since, tokens, slots = self._marks[0]
        seconds = now - since
        if seconds < 0.2:
            return 0.0, 0.0
        return (self.completion_tokens - tokens) / seconds, (self.recorded - slots) / seconds
