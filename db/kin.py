"""What lineage is made of: related things in groups, each group read in a fixed number of queries.

A thing is named in few words, cut by the store; a long line of edits is followed to its end.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, func, literal, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.identity import LETTERS

KinKind = Literal[
    "question", "variant", "answer", "generation", "model", "sweep", "prompt", "person", "rating",
    "dataset", "training_run", "round", "dialogue",
]  # fmt: skip

MOST_KIN = 25
"""Listed of one group; all are counted."""
MOST_STEPS = 1_000
"""A line is followed so far; it ends by itself, unless the store holds a circle."""
LABEL = 120
"""Characters of a text that name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """One related thing."""

    kind: KinKind
    id: int
    label: str
    """Its name, or its first words."""
    steps: int = 1
    """How far away on a line of edits or models."""
    detail: str | None = None
    """A code that says more: a source, a move, a state, an outcome."""

    @property
    def ref(self) -> str | None:
        """Its short name, e.g. ``v12``; None for what has none."""
        return f"{self.kind[0]}{self.id}" if self.kind in LETTERS.values() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KinGroup:
    """Things that are related in one way."""

    relation: str
    """E.g. ``made_from`` or ``answers``; a word of the catalogue."""
    kin: tuple[Kin, ...]
    """At most ``MOST_KIN``."""
    total: int


def first_words(column: InstrumentedAttribute[Any]) -> ColumnElement[str]:
    """Return the SQL of the first words of a text; the rest is never read."""
    return func.coalesce(func.substr(column, 1, LABEL), "").label("label")


def group(
    session: Session, relation: str, kind: KinKind, query: Select[*tuple[Any, ...]]
) -> KinGroup | None:
    """Return what ``query`` finds; None where it finds nothing.

    Args:
        session: Of the store.
        relation: Its name.
        kind: Of what is found.
        query: Selects ``id`` and ``label``, and ``steps`` or ``detail`` where there are any, in
            order.
    """
    rows = session.execute(query.limit(MOST_KIN)).all()
    if not rows:
        return None
    total = len(rows)
    if total == MOST_KIN:
        ids = query.order_by(None).with_only_columns(query.selected_columns["id"])
        total = session.scalar(select(func.count()).select_from(ids.subquery())) or 0
    kin = tuple(Kin(kind=kind, **row._asdict()) for row in rows)
    return KinGroup(relation=relation, kin=kin, total=total)


def line(
    start_id: int,
    from_: InstrumentedAttribute[Any],
    to: InstrumentedAttribute[Any],
    within: ColumnElement[bool] | None = None,
) -> Any:
    """Return the subquery (``id``, ``steps``) of all that lies on the line from ``start_id``.

    Args:
        start_id: Where it begins; itself not on it.
        from_: Column of one end of each step.
        to: Column of its other end, of the same table.
        within: What all steps must meet as well, so that an index can be used.
    """
    within = true() if within is None else within
    first = select(to.label("id"), literal(1).label("steps"))
    walk = first.where(from_ == start_id, to.is_not(None), within).cte("line", recursive=True)
    onward = select(to, walk.c.steps + 1).where(
        from_ == walk.c.id, to.is_not(None), walk.c.steps < MOST_STEPS, within
    )
    walk = walk.union(onward)
    nearest = select(walk.c.id, func.min(walk.c.steps).label("steps"))
    return nearest.group_by(walk.c.id).subquery()
