"""Counts over very many rows, cached by this process: nobody waits twice for the same count.

A count is exact as long as its mark stands. While rows are still being added it may be a little
old: what took long to count is counted again only after twenty times as long, so that pages that
look every second do not keep the store busy.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Lock
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
_running: dict[Hashable, "Future[Any]"] = {}
_starting = Lock()


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
            return _counted(key, mark, lambda: count(own))

    with _starting:
        future = _running.get(key)
        # One that failed meanwhile is asked once more, so that it says why.
        if future is None or (future.done() and not future.exception()):
            future = _running[key] = _counter().submit(work)
    try:
        value = future.result(WAIT_S)
    except TimeoutError:
        return cast(_T, known.value) if known is not None else None
    finally:
        if future.done():
            _running.pop(key, None)
    return cast(_T, value)


def is_counted(session: Session, name: Hashable, count: Callable[[Session], object]) -> bool:
    """Tell whether ``count`` has run once in this process; as in `background_count`.

    For pages whose queries cache what they count: the first look waits no longer than others.
    """

    def run(own: Session) -> bool:
        count(own)
        return True

    return background_count(session, ("first", name), None, run) is not None


@cache
def _counter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="count")


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
