"""One page of a long list, with a count that stays cheap however long the list is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

T = TypeVar("T")

COUNT_LIMIT = 5_000
"""Rows are counted up to here; nobody pages further, a filter is the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some rows of a list, and how many there are."""

    rows: tuple[T, ...]
    total: int
    """All rows, at most ``COUNT_LIMIT``."""
    page: int
    """Counted from 1."""
    page_size: int

    @property
    def n_pages(self) -> int:
        """Pages of the list; an empty list has one."""
        return max(1, ceil(self.total / self.page_size))

    @property
    def is_capped(self) -> bool:
        """True where there may be more rows than ``total``."""
        return self.total >= COUNT_LIMIT


def page_of_keys(
    session: Session, keys: Select[*tuple[Any, ...]], page: int, page_size: int
) -> tuple[Sequence[Any], int, int]:
    """Return the rows of one page of ``keys``, the capped count, and the page they are on.

    Counting and finding cost the same scan, so they share it. A page beyond the end, as an old
    address may name it, gives the last one.
    """
    limited = keys.limit(COUNT_LIMIT).subquery()
    counted = select(limited, func.count().over().label("total")).limit(page_size)
    page = min(max(1, page), ceil(COUNT_LIMIT / page_size))
    rows = session.execute(counted.offset((page - 1) * page_size)).all()
    if not rows and page > 1:
        first = session.execute(counted.limit(1)).first()
        page = ceil(first.total / page_size) if first else 1
        rows = session.execute(counted.offset((page - 1) * page_size)).all()
    return rows, rows[0].total if rows else 0, page
