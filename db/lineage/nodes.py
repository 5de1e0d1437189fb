"""What lineage is made of: related things in groups, each group read in a fixed number of queries.

A thing is named by its first words, cut by the store; a long line of edits is followed to its end.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Select, func, literal, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.identity import LETTERS
from db.tables import (
    Answer,
    Dataset,
    Dialogue,
    Generation,
    ModelVersion,
    Prompt,
    Question,
    Rater,
    Rating,
    ReasoningVariant,
    Round,
    Sweep,
    TrainingRun,
)

NodeKind = Literal[
    "question", "variant", "answer", "generation", "model", "sweep", "prompt", "person", "rating",
    "dataset", "training_run", "round", "dialogue",
]  # fmt: skip

MAX_NODES = 25
"""Listed of one group; all are counted."""
MAX_STEPS = 1_000
"""A line is followed so far; it ends by itself, unless the store holds a circle."""
MAX_LABEL = 120
"""Characters of a text that name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageNode:
    """One related thing."""

    kind: NodeKind
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
class LineageGroup:
    """Things that are related in one way."""

    relation: str
    """E.g. ``made_from`` or ``answers``; a word of the catalogue."""
    nodes: tuple[LineageNode, ...]
    """At most ``MAX_NODES``."""
    total: int


class Relation(NamedTuple):
    """Things that are related in one way, yet to be read."""

    name: str
    kind: NodeKind
    query: Select[*tuple[Any, ...]]
    """``id`` and ``label``, and ``steps`` or ``detail`` where there are any, in order."""

    def read(self, session: Session) -> LineageGroup | None:
        """Return what there is; None where there is nothing."""
        rows = session.execute(self.query.limit(MAX_NODES)).all()
        if not rows:
            return None
        total = len(rows)
        if total == MAX_NODES:
            ids = self.query.order_by(None).with_only_columns(self.query.selected_columns["id"])
            total = session.scalar(select(func.count()).select_from(ids.subquery())) or 0
        nodes = tuple(LineageNode(kind=self.kind, **row._asdict()) for row in rows)
        return LineageGroup(relation=self.name, nodes=nodes, total=total)


def _beginning(column: InstrumentedAttribute[Any]) -> ColumnElement[str]:
    """Return the SQL of the beginning of a text; the rest is never read."""
    return func.coalesce(func.substr(column, 1, MAX_LABEL), "")


_NAMED: dict[NodeKind, tuple[Any, Any, Any]] = {
    "question": (Question.id, _beginning(Question.text), None),
    "variant": (
        ReasoningVariant.id,
        _beginning(ReasoningVariant.text),
        ReasoningVariant.source,
    ),
    "answer": (Answer.id, _beginning(Answer.text), Answer.source),
    "generation": (Generation.id, _beginning(Generation.text), Generation.kind),
    "model": (ModelVersion.id, ModelVersion.name, ModelVersion.kind),
    "sweep": (Sweep.id, Sweep.name, Sweep.purpose),
    "prompt": (Prompt.id, _beginning(Prompt.text), None),
    "person": (Rater.id, Rater.name, None),
    "rating": (Rating.id, Rating.axis, Rating.outcome),
    "dataset": (Dataset.id, Dataset.name, Dataset.kind),
    "training_run": (TrainingRun.id, TrainingRun.method, TrainingRun.state),
    "round": (Round.id, Round.name, func.coalesce(Round.verdict, Round.state)),
    "dialogue": (Dialogue.id, Dialogue.name, Dialogue.state),
}
"""Each kind's id, label and detail."""


def related(
    name: str, kind: NodeKind, *where: ColumnElement[bool], is_newest_first: bool = False
) -> Relation:
    """Return the relation to the things of ``kind`` that meet ``where``."""
    key, label, detail = _NAMED[kind]
    columns = [key, label.label("label")]
    if detail is not None:
        columns.append(detail.label("detail"))
    query = select(*columns).where(*where)
    return Relation(name, kind, query.order_by(key.desc() if is_newest_first else key))


def find_named(session: Session, query: str) -> list[LineageGroup]:
    """Return what has all words of ``query`` in its name, in any case, a group a kind.

    Sweeps that pages ran by themselves, for an edit or a turn, have no names that people gave.
    """
    words = query.split()
    if not words:
        return []
    named: dict[NodeKind, tuple[Any, ColumnElement[bool]]] = {
        "sweep": (Sweep.name, Sweep.purpose == "sweep"),
        "dialogue": (Dialogue.name, true()),
        "dataset": (Dataset.name, true()),
        "model": (ModelVersion.name, true()),
        "round": (Round.name, true()),
    }
    found = []
    for kind, (name, within) in named.items():
        conditions = [name.icontains(word, autoescape=True) for word in words]
        found.append(related("names", kind, within, *conditions, is_newest_first=True))
    return [group for relation in found if (group := relation.read(session)) is not None]


def related_in_line(
    name: str,
    kind: NodeKind,
    start_id: int,
    from_: InstrumentedAttribute[Any],
    to: InstrumentedAttribute[Any],
    within: ColumnElement[bool] | None = None,
) -> Relation:
    """Return the relation to all things of ``kind`` on the line from ``start_id``, nearest first.

    Args:
        name: Of the relation.
        kind: What lies on the line.
        start_id: Where it begins; itself not on it.
        from_: Column of one end of each step.
        to: Column of its other end, of the same table.
        within: What all steps must meet as well, so that an index can be used.
    """
    within = true() if within is None else within
    first = select(to.label("id"), literal(1).label("steps"))
    walk = first.where(from_ == start_id, to.is_not(None), within).cte("line", recursive=True)
    onward = select(to, walk.c.steps + 1).where(
        from_ == walk.c.id, to.is_not(None), walk.c.steps < MAX_STEPS, within
    )
    walk = walk.union(onward)
    nearest = select(walk.c.id, func.min(walk.c.steps).label("steps"))
    line = nearest.group_by(walk.c.id).subquery()
    key = _NAMED[kind][0]
    query = related(name, kind).query.add_columns(line.c.steps).join(line, line.c.id == key)
    return Relation(name, kind, query.order_by(None).order_by(line.c.steps, key))
