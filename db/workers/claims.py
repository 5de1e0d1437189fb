"""What workers of one PostgreSQL store have claimed: chunks of a sweep, and single slots.

A claim is good as long as its worker's heartbeat is fresh (``db.workers.live``); then anybody may
take it over. Chunks share a sweep out; claims on slots keep two sweeps, or two workers, from
sampling one slot at the same time. All statements may run beside others (``Database.write``).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil

from sqlalchemy import (
    ColumnElement,
    String,
    and_,
    cast,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from db.bulk import insert_missing
from db.tables import Generation, Job, SlotClaim, SweepChunk, Worker
from db.workers.leases import is_live


@dataclass(frozen=True, slots=True)
class ClaimedChunk:
    """Questions of a sweep that a worker has claimed, by their places in the plan."""

    first: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkCounts:
    """How far a chunk is."""

    first: int
    done: int
    failed: int
    blocked: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedProgress:
    """How far a sweep is that several workers run."""

    done: int
    failed: int
    blocked: int
    tokens: int
    """Of texts written in this run."""
    n_workers: int
    """Workers that hold chunks now."""
    is_ended: bool
    """Every chunk has come to its end."""


def open_chunks(
    session: Session, job_id: int, pass_number: int, chunks: Iterable[ClaimedChunk]
) -> None:
    """Write the chunks of one pass, unless another worker has written them."""
    rows = [
        {"job_id": job_id, "pass_number": pass_number, "first": one.first, "size": one.size}
        for one in chunks
    ]
    insert_missing(session, SweepChunk, rows)


def claim_chunk(
    session: Session, job_id: int, pass_number: int, worker_id: int, n_workers: int
) -> ClaimedChunk | None:
    """Make a worker the holder of the next free chunk of a pass.

    None where none is free, or where the worker has its share of those that are left: one part in
    ``n_workers`` (guided self-scheduling), so that one with much room does not take all at once.

    Args:
        session: One that writes; the row is locked, and rows that others lock are passed by.
        job_id: The job that runs the sweep.
        pass_number: The pass.
        worker_id: Who claims.
        n_workers: Workers that could have chunks of the job now.
    """
    n_left, n_own = session.execute(
        select(func.count(), func.count().filter(SweepChunk.worker_id == worker_id)).where(
            SweepChunk.job_id == job_id, SweepChunk.pass_number == pass_number, ~SweepChunk.ended
        )
    ).one()
    if n_own >= ceil(n_left / max(1, n_workers)):
        return None
    query = (
        select(SweepChunk)
        .where(
            SweepChunk.job_id == job_id,
            SweepChunk.pass_number == pass_number,
            _is_claimable(),
        )
        .order_by(SweepChunk.first)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    chunk = session.scalar(query)
    if chunk is None:
        return None
    chunk.worker_id = worker_id
    chunk.done = chunk.failed = chunk.blocked = chunk.tokens = 0
    return ClaimedChunk(chunk.first, chunk.size)


def next_pass(session: Session, job_id: int) -> int | None:
    """Return the first pass that has a free chunk; None where none has."""
    query = select(func.min(SweepChunk.pass_number)).where(
        SweepChunk.job_id == job_id, _is_claimable()
    )
    return session.scalar(query)


def has_free_chunks(job_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Return the condition that a job has chunks that a worker could claim now."""
    query = select(SweepChunk.first).where(SweepChunk.job_id == job_id, _is_claimable())
    return query.correlate(Job).exists()


def _is_claimable() -> ColumnElement[bool]:
    """Not ended, with no live holder, and through all earlier passes: a later one needs them."""
    live = select(Worker.id).where(is_live())
    earlier = aliased(SweepChunk)
    is_waiting = (
        select(earlier.first)
        .where(
            earlier.job_id == SweepChunk.job_id,
            earlier.first == SweepChunk.first,
            earlier.pass_number < SweepChunk.pass_number,
            ~earlier.ended,
        )
        .exists()
    )
    is_free = or_(SweepChunk.worker_id.is_(None), SweepChunk.worker_id.not_in(live))
    return and_(~SweepChunk.ended, is_free, ~is_waiting)


def save_chunks(
    session: Session,
    job_id: int,
    pass_number: int,
    worker_id: int,
    counts: Sequence[ChunkCounts],
    *,
    ended: bool = False,
) -> None:
    """Write how far chunks are that ``worker_id`` holds; those that it lost are left alone."""
    for one in counts:
        session.execute(
            update(SweepChunk)
            .where(_held(job_id, pass_number, worker_id), SweepChunk.first == one.first)
            .values(asdict(one) | {"ended": ended})
        )


def give_back_chunks(
    session: Session, job_id: int, pass_number: int, worker_id: int, firsts: Collection[int]
) -> None:
    """Let chunks go that did not come to their end."""
    session.execute(
        update(SweepChunk)
        .where(
            _held(job_id, pass_number, worker_id), SweepChunk.first.in_(firsts), ~SweepChunk.ended
        )
        .values(worker_id=None, done=0, failed=0, blocked=0, tokens=0)
    )


def _held(job_id: int, pass_number: int, worker_id: int) -> ColumnElement[bool]:
    return and_(
        SweepChunk.job_id == job_id,
        SweepChunk.pass_number == pass_number,
        SweepChunk.worker_id == worker_id,
    )


def shared_progress(session: Session, job_id: int) -> SharedProgress:
    """Return how far all workers together are with a job's chunks."""
    counts = session.execute(
        select(
            func.coalesce(func.sum(SweepChunk.done), 0),
            func.coalesce(func.sum(SweepChunk.failed), 0),
            func.coalesce(func.sum(SweepChunk.blocked), 0),
            func.coalesce(func.sum(SweepChunk.tokens), 0),
            func.count().filter(~SweepChunk.ended),
        ).where(SweepChunk.job_id == job_id)
    ).one()
    working = (
        select(func.count(SweepChunk.worker_id.distinct()))
        .join(Worker, Worker.id == SweepChunk.worker_id)
        .where(SweepChunk.job_id == job_id, ~SweepChunk.ended, is_live())
    )
    return SharedProgress(
        done=int(counts[0]),
        failed=int(counts[1]),
        blocked=int(counts[2]),
        tokens=int(counts[3]),
        n_workers=session.execute(working).scalar_one(),
        is_ended=counts[4] == 0,
    )


def forget_chunks(session: Session, job_id: int) -> None:
    """Remove the chunks of a job that has ended."""
    session.execute(delete(SweepChunk).where(SweepChunk.job_id == job_id))


def claim_slots(session: Session, worker_id: int, keys: Collection[str]) -> set[str]:
    """Claim slots; return those that ``worker_id`` has now. Slots with a good text need no claim.

    Look for texts afterwards: a slot that is not among these has one, or is another worker's.
    """
    key = func.unnest(cast(list(keys), ARRAY(String))).column_valued("key")
    has_text = select(Generation.id).where(Generation.slot_key == key, Generation.ok).exists()
    wanted = (
        select(key, literal(worker_id))
        .where(~has_text)
        .order_by(key)  # always in one order: two workers never wait for each other
    )
    claims = insert(SlotClaim).from_select(["slot_key", "worker_id"], wanted)
    is_free = SlotClaim.worker_id.not_in(select(Worker.id).where(is_live()))
    claimed = claims.on_conflict_do_update(
        index_elements=[SlotClaim.slot_key],
        set_={"worker_id": claims.excluded.worker_id},
        where=or_(SlotClaim.worker_id == claims.excluded.worker_id, is_free),
    ).returning(SlotClaim.slot_key)
    return set(session.scalars(claimed))


def release_slots(session: Session, worker_id: int, keys: Collection[str]) -> None:
    """Let slots go, sampled or not."""
    if keys:
        session.execute(
            text(
                "DELETE FROM slot_claim WHERE worker_id = :worker"
                " AND slot_key = ANY(CAST(:keys AS varchar[]))"
            ),
            {"worker": worker_id, "keys": list(keys)},
        )


def drop_claims(session: Session, worker_id: int) -> None:
    """Free all that a worker has claimed, when it begins or ends."""
    session.execute(delete(SlotClaim).where(SlotClaim.worker_id == worker_id))
    session.execute(
        update(SweepChunk)
        .where(SweepChunk.worker_id == worker_id, ~SweepChunk.ended)
        .values(worker_id=None, done=0, failed=0, blocked=0, tokens=0)
    )
