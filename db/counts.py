"""What takes long to count or compute, in the background, and cached: nobody waits twice for it.

A count is exact as long as its mark stands. While rows are still being added it may be a little
old: what took long to count is counted again only after twenty times as long, so that pages that
look every second do not keep the store busy.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any, Final, TypeVar, cast

from sqlalchemy.orm import Session

QUICK_S: Final = 0.05
"""What takes no longer is counted anew whenever anything changed."""
REST: Final = 20
"""How many times longer than its counting a count may be shown while rows are added."""
MAX_COUNTS: Final = 2_000
WAIT_S: Final = 0.15
"""A page waits no longer for a count that is made in the background."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Count:
    mark: Hashable
    value: Any
    counted_at: float
    took_s: float


_cache: dict[Hashable, _Count] = {}
_running: dict[Hashable, tuple[Hashable, "Future[Any]"]] = {}
"""By key: the mark, and what computes it now or failed to."""
_starting = Lock()
_counting = Lock()
"""Held by the one thing that keeps the store busy."""


def cached_count(
    session: Session,
    name: Hashable,
    mark: Hashable,
    count: Callable[[], _T],
    *,
    is_moving: bool = False,
) -> _T:
    """Return what ``count`` returns for ``name`` as of ``mark``, from the cache where it is known.

    Args:
        session: Of the store that is counted; counts of other stores are kept apart.
        name: What is counted.
        mark: Changes with the rows that are counted.
        count: Counts them.
        is_moving: Rows are being added, so that an older count does for a while.
    """
    key = _key(session, name)
    known = _cache.get(key)
    if known is not None and (known.mark == mark or (is_moving and _is_young(known))):
        return cast(_T, known.value)
    return _counted(key, mark, count)


def background_count(
    session: Session, name: Hashable, mark: Hashable, count: Callable[[Session], _T]
) -> _T | None:
    """Return the same from a thread that has time: at once, or an older count meanwhile.

    Args:
        session: Of the store that is counted.
        name: What is counted.
        mark: Changes with the rows that are counted.
        count: Counts them, with a session of its own.

    Returns:
        None while the first count takes longer than a page waits.
    """
    key = _key(session, name)
    known = _cache.get(key)
    if known is not None and (known.mark == mark or _is_young(known)):
        return cast(_T, known.value)
    bind = session.get_bind()

    def work() -> _T:
        with Session(bind) as own:
            return count(own)

    counting = start(key, mark, work, in_turn=True)
    try:
        return counting.result(WAIT_S)
    except TimeoutError:
        return cast(_T, known.value) if known is not None else None
    finally:
        if counting.done():  # one that failed is counted anew at the next look
            _running.pop(key, None)


def is_counted(session: Session, name: Hashable, count: Callable[[Session], object]) -> bool:
    """Tell whether ``count`` has run once in this process; as in `background_count`.

    For pages whose queries cache what they count: the first look waits no longer than others.
    """

    def run(own: Session) -> bool:
        count(own)
        return True

    return background_count(session, ("first", name), None, run) is not None


def cached(key: Hashable) -> Any | None:
    """Return what was last computed for ``key`` in this process."""
    known = _cache.get(key)
    return None if known is None else known.value


def start(
    key: Hashable, mark: Hashable, compute: Callable[[], _T], *, in_turn: bool = False
) -> "Future[_T]":
    """Have the value for ``key`` as of ``mark`` computed by a thread, and cached.

    What is under way for the key, whatever its mark, is waited for first; what failed for the same
    mark is not tried again.

    Args:
        key: What is computed.
        mark: Changes with all that it depends on.
        compute: Computes it.
        in_turn: It keeps the store busy: one such thing at a time.
    """
    with _starting:
        of, running = _running.get(key, (None, None))
        if running is not None and (not running.done() or (of == mark and running.exception())):
            return running
        future: Future[_T] = Future()
        _running[key] = mark, future
    # No pool: its threads would be waited for at the end of the process.
    Thread(
        target=_run, args=(future, key, mark, compute, in_turn), name="count", daemon=True
    ).start()
    return future


def _run(
    future: "Future[_T]",
    key: Hashable,
    mark: Hashable,
    compute: Callable[[], _T],
    in_turn: bool,
) -> None:
    try:
        with _counting if in_turn else nullcontext():
            future.set_result(_counted(key, mark, compute))
    except BaseException as error:  # whoever asks for the value is told
        future.set_exception(error)


def _key(session: Session, name: Hashable) -> Hashable:
    return str(session.get_bind().engine.url), name


def _is_young(known: _Count) -> bool:
    age = time.monotonic() - known.counted_at
    return known.took_s > QUICK_S and age < REST * known.took_s


def _counted(key: Hashable, mark: Hashable, count: Callable[[], _T]) -> _T:
    now = time.monotonic()
    value = count()
    if len(_cache) >= MAX_COUNTS:
        _cache.pop(next(iter(_cache)), None)
    _cache[key] = _Count(mark, value, time.monotonic(), time.monotonic() - now)
    return value
