"""Counts over very many rows, remembered by this process: nobody waits twice for the same count.

A count is exact as long as its mark stands. While rows are still being added it may be a little
old: what took long to count is counted again only after twenty times as long, so that pages that
look every second do not keep the store busy.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from sqlalchemy.orm import Session

QUICK_S: Final = 0.05
"""What takes no longer is counted anew whenever anything changed."""
REST: Final = 20
"""How many times longer than its counting a count may be shown while rows are added."""
MOST: Final = 2_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Tally:
    mark: Hashable
    value: Any
    counted_at: float
    took_s: float


_tallies: dict[Hashable, _Tally] = {}


def remembered(
    session: Session,
    name: Hashable,
    mark: Hashable,
    count: Callable[[], _T],
    *,
    is_moving: bool = False,
) -> _T:
    """Return what ``count`` returns for ``name`` as of ``mark``, from memory where it is known.

    Args:
        session: Of the store that is counted; counts of other stores are kept apart.
        name: What is counted.
        mark: Changes with the rows that are counted.
        count: Counts them.
        is_moving: Rows are being added, so that an older count does for a while.
    """
    key = (str(session.get_bind().engine.url), name)
    known = _tallies.get(key)
    now = time.monotonic()
    if known is not None:
        is_young = known.took_s > QUICK_S and now - known.counted_at < REST * known.took_s
        if known.mark == mark or (is_moving and is_young):
            return cast(_T, known.value)
    value = count()
    if len(_tallies) >= MOST:
        _tallies.pop(next(iter(_tallies)), None)
    _tallies[key] = _Tally(mark, value, time.monotonic(), time.monotonic() - now)
    return value
