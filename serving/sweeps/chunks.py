"""The chunks of a sweep's questions: run by this worker alone, or shared out among several.

Alone they are a list in memory. Shared, on PostgreSQL, they are rows that workers claim one after
the other (``db.workers.claims``): each has what it claimed to itself, until it ends or its lease
does.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from sqlalchemy.orm import Session

from db.cancelling import in_thread, regardless, until_stored
from db.database import Database
from db.workers.claims import (
    ChunkCounts,
    ClaimedChunk,
    SharedProgress,
    claim_chunk,
    give_back_chunks,
    next_pass,
    open_chunks,
    save_chunks,
    shared_progress,
)
from db.workers.live import count_free_for, live_workers
from serving.sweeps.expand import Chunk

CHUNK_SLOTS, CHUNK_QUESTIONS = 1_000, 500
"""A chunk of questions has about so many slots, and at most so many questions."""
SHARED_CHUNKS, SHARED_CHUNK_SLOTS = 64, 100
"""A sweep that may be shared has about so many chunks, but none of fewer slots: the last ones then
end at about the same time on all workers."""
LOOK_AGAIN_S = 0.5
"""How often it is looked whether other workers are through, or have left something."""
JOIN_WITHIN_S = 10.0
"""An idle worker has joined by then, and its heartbeat has said so."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Beside which other workers a sweep runs."""

    worker_id: int
    """This one, of several that the store may have: it claims what it samples."""
    job_id: int | None = None
    """The job whose chunks they share; None: this worker runs all of the sweep."""
    is_joined: bool = False
    """Another worker holds the job, and sees it to its end."""


class Chunks(Protocol):
    """The chunks of all passes of a sweep."""

    async def next_pass(self) -> int | None:
        """Return the pass to go on with; None when nothing is left to do here."""

    def may_have(self, number: int) -> bool:
        """Tell whether ``take`` might give another chunk of a pass."""

    async def take(self, number: int) -> Chunk | None:
        """Return the next chunk of a pass."""

    def end(self, number: int, chunk: Chunk) -> None:
        """Note that every slot of a chunk has come to its end, and is stored."""

    async def give_back(self, number: int) -> None:
        """Let chunks that were taken and not ended be begun anew, by whoever comes."""

    async def done_by_others(self) -> bool:
        """Wait while others work at what is left, where this one cannot; tell if all is done."""


def spans(n_questions: int, n_slots: int, *, is_shared: bool) -> list[ClaimedChunk]:
    """Return where chunks begin and how many questions they have."""
    wanted = CHUNK_SLOTS
    if is_shared:
        wanted = min(CHUNK_SLOTS, max(SHARED_CHUNK_SLOTS, n_slots // SHARED_CHUNKS))
    slots_each = max(1.0, n_slots / max(1, n_questions))
    size = max(1, min(CHUNK_QUESTIONS, int(wanted / slots_each)))
    return [
        ClaimedChunk(first, min(size, n_questions - first)) for first in range(0, n_questions, size)
    ]


class OwnChunks:
    """Chunks that this worker runs alone."""

    def __init__(
        self, question_ids: Sequence[int], chunks: Iterable[ClaimedChunk], n_passes: int
    ) -> None:
        ready = [_chunk(question_ids, one) for one in chunks]
        self._left = [deque(ready) for _ in range(n_passes)]
        self._held: list[set[Chunk]] = [set() for _ in range(n_passes)]

    async def next_pass(self) -> int | None:
        """Return the first pass that is not through."""
        return next((number for number, left in enumerate(self._left) if left), None)

    def may_have(self, number: int) -> bool:
        """Tell whether a pass has chunks that were not taken."""
        return bool(self._left[number])

    async def take(self, number: int) -> Chunk | None:
        """Return the next chunk of a pass, as new."""
        left = self._left[number].popleft()
        chunk = Chunk(left.question_ids, left.first)
        self._held[number].add(chunk)
        return chunk

    def end(self, number: int, chunk: Chunk) -> None:
        """Nobody else needs to know."""
        self._held[number].discard(chunk)

    async def give_back(self, number: int) -> None:
        """Put chunks before those that were not taken yet."""
        self._left[number].extendleft(self._held[number])
        self._held[number] = set()

    async def done_by_others(self) -> bool:
        """There are none."""
        return False


class SharedChunks:
    """Chunks that several workers claim."""

    def __init__(
        self,
        database: Database,
        sharing: Sharing,
        question_ids: Sequence[int],
        chunks: Sequence[ClaimedChunk],
        n_passes: int,
    ) -> None:
        assert sharing.job_id is not None
        self._database = database
        self._job_id, self._worker_id = sharing.job_id, sharing.worker_id
        self._is_joined = sharing.is_joined
        self._question_ids = question_ids
        self._held: list[set[Chunk]] = [set() for _ in range(n_passes)]
        self._ended: list[list[Chunk]] = [[] for _ in range(n_passes)]
        self._is_empty = [False] * n_passes
        self._saving = Lock()
        """Two threads that wrote the same rows at once could wait for each other."""
        if sharing.is_joined:
            return

        def write(session: Session) -> None:
            for number in range(n_passes):
                open_chunks(session, self._job_id, number, chunks)

        database.write_again(write)

    async def next_pass(self) -> int | None:
        """Return the first pass with a free chunk; the holder of the job waits for the others."""
        while True:
            number, is_ended = await asyncio.to_thread(self._look)
            if number is not None:
                self._is_empty[number] = False
                return number
            if is_ended or self._is_joined:
                return None
            await asyncio.sleep(LOOK_AGAIN_S)

    async def done_by_others(self) -> bool:
        """Wait as long as others are at the job, or could still come; a worker that joined leaves.

        Whoever is idle now has ``JOIN_WITHIN_S`` to join.
        """
        missed_at: float | None = None
        while not self._is_joined:
            is_ended, n_others, n_idle = await asyncio.to_thread(self._look_at_others)
            if is_ended:
                return True
            now = time.monotonic()
            missed_at = None if n_others else missed_at or now
            if missed_at is not None and not (n_idle and now - missed_at < JOIN_WITHIN_S):
                return False
            await asyncio.sleep(LOOK_AGAIN_S)
        return False

    def _look_at_others(self) -> tuple[bool, int, int]:
        """Tell whether all is done, and how many other workers are at the job, and at nothing."""
        with self._database.read() as session:
            others = [one for one in live_workers(session) if one.id != self._worker_id]
            return (
                shared_progress(session, self._job_id).is_ended,
                sum(self._job_id in one.job_ids for one in others),
                sum(not one.job_ids for one in others),
            )

    def _look(self) -> tuple[int | None, bool]:
        with self._database.read() as session:
            number = next_pass(session, self._job_id)
            return number, number is None and shared_progress(session, self._job_id).is_ended

    def may_have(self, number: int) -> bool:
        """Tell whether the last look found a chunk to claim, or one has ended since."""
        return not self._is_empty[number]

    async def take(self, number: int) -> Chunk | None:
        """Claim the next free chunk of a pass."""
        chunk = await in_thread(self._claim, number)
        self._is_empty[number] = chunk is None
        return chunk

    def _claim(self, number: int) -> Chunk | None:
        def claim(session: Session) -> ClaimedChunk | None:
            n_workers = count_free_for(session, self._job_id)
            return claim_chunk(session, self._job_id, number, self._worker_id, n_workers)

        self.save()
        claimed = self._database.write_again(claim)
        if claimed is None:
            return None
        chunk = _chunk(self._question_ids, claimed)
        self._held[number].add(chunk)  # at once: a taker that was cancelled gives it back
        return chunk

    def end(self, number: int, chunk: Chunk) -> None:
        """Have it written that a chunk is through."""
        self._held[number].discard(chunk)
        self._ended[number].append(chunk)
        self._is_empty[number] = False

    async def give_back(self, number: int) -> None:
        """Let chunks go, whatever happens meanwhile to the store or to whoever asks for it."""
        firsts = [chunk.first for chunk in self._held[number]]
        self._held[number] = set()
        await regardless(until_stored(self._database, self._give_back, number, firsts))

    def _give_back(self, number: int, firsts: Sequence[int]) -> None:
        self.save()
        if firsts:
            self._database.write_again(
                lambda session: give_back_chunks(
                    session, self._job_id, number, self._worker_id, firsts
                )
            )

    def save(self) -> SharedProgress:
        """Write how far this worker is with its chunks; return how far all are. Any thread."""
        with self._saving:
            ended = [[*chunks] for chunks in self._ended]
            held = [[*chunks] for chunks in self._held]
            progress = self._database.write_again(lambda session: self._write(session, ended, held))
            for chunks, written in zip(self._ended, ended, strict=True):
                del chunks[: len(written)]
        return progress

    def _write(
        self, session: Session, ended: Sequence[list[Chunk]], held: Sequence[list[Chunk]]
    ) -> SharedProgress:
        for all_of_pass, is_ended in ((ended, True), (held, False)):
            for number, chunks in enumerate(all_of_pass):
                counts = [_counts(chunk) for chunk in sorted(chunks, key=lambda one: one.first)]
                save_chunks(session, self._job_id, number, self._worker_id, counts, ended=is_ended)
        return shared_progress(session, self._job_id)


def _chunk(question_ids: Sequence[int], place: ClaimedChunk) -> Chunk:
    return Chunk(tuple(question_ids[place.first : place.first + place.size]), place.first)


def _counts(chunk: Chunk) -> ChunkCounts:
    return ChunkCounts(
        first=chunk.first,
        done=chunk.done,
        failed=chunk.failed,
        blocked=chunk.blocked,
        tokens=chunk.tokens,
    )
