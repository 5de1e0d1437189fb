"""Dialogues by meaning: themes, trees of questions, and the events, which are only added."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from db.errors import UsageError, existing
from db.store.archive import in_use
from db.tables import Dialogue, DialogueEvent, DialogueNode, Rater, Theme
from db.tables.base import as_row


@dataclass(frozen=True, slots=True, kw_only=True)
class ThemeRow:
    """What a dialogue is about."""

    id: int
    name: str
    concept: str
    goal: str
    opposing_goal: str | None
    audience: str | None
    points_of_view: tuple[str, ...]
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkedFrom:
    """Where a dialogue was forked from."""

    dialogue_id: int
    name: str
    node_id: int
    number: int
    """Of the question, from 1, as lists and reports count them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueRow:
    """One dialogue; safe to use after the session is closed."""

    id: int
    theme: ThemeRow
    name: str
    state: str
    """``open``, ``paused`` or ``closed``."""
    settings: Mapping[str, Any]
    archived_at: datetime | None
    forked_from: ForkedFrom | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueSummary:
    """One dialogue in a list."""

    id: int
    name: str
    theme: str
    language: str | None
    state: str
    n_nodes: int
    n_answered: int
    forked_from: ForkedFrom | None
    archived_at: datetime | None
    created_at: datetime
    changed_at: datetime
    """When the last thing happened in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One question in the tree of a dialogue."""

    id: int
    dialogue_id: int
    question_id: int
    parent_id: int | None
    position: int
    state: str
    """``open``, ``answered``, ``parked`` or ``rejected``."""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """A decision or a step to be added."""

    dialogue_id: int
    kind: str
    node_id: int | None = None
    answer_id: int | None = None
    variant_id: int | None = None
    question_id: int | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    rater_id: int | None = None
    automatic: bool = False
    step_id: int | None = None
    """The event that began the step whose end this one tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow(NewEvent):
    """A decision or a step."""

    id: int
    rater: str | None
    created_at: datetime


def create_dialogue(
    session: Session,
    theme_id: int,
    name: str,
    settings: Mapping[str, Any],
    *,
    forked_from_node_id: int | None = None,
) -> int:
    """Store a new dialogue without questions and return its id."""
    row = Dialogue(
        theme_id=theme_id,
        name=name,
        settings=dict(settings),
        forked_from_node_id=forked_from_node_id,
    )
    session.add(row)
    session.flush()
    return row.id


def get_dialogue(session: Session, dialogue_id: int) -> DialogueRow:
    """Return one dialogue with its theme.

    Raises:
        UsageError: There is none with this id.
    """
    missing = f"There is no dialogue {dialogue_id}; `q2q dialogue show` lists them all."
    row = existing(session.get(Dialogue, dialogue_id), missing)
    theme = _theme(session.get_one(Theme, row.theme_id))
    forked_from = _forks(session, row.id).get(row.id)
    return as_row(DialogueRow, row, theme=theme, forked_from=forked_from)


def _forks(session: Session, dialogue_id: int | None = None) -> dict[int, ForkedFrom]:
    """Return where dialogues that are forks began, by dialogue; of one or of all."""
    fork, parent = aliased(Dialogue), aliased(Dialogue)
    query = (
        select(fork.id, parent.id, parent.name, DialogueNode.id, DialogueNode.position)
        .join(DialogueNode, DialogueNode.id == fork.forked_from_node_id)
        .join(parent, parent.id == DialogueNode.dialogue_id)
    )
    if dialogue_id is not None:
        query = query.where(fork.id == dialogue_id)
    return {
        one: ForkedFrom(dialogue_id=parent_id, name=name, node_id=node_id, number=position + 1)
        for one, parent_id, name, node_id, position in session.execute(query)
    }


def list_dialogues(session: Session, *, archived: bool | None = False) -> list[DialogueSummary]:
    """Return the dialogues in use, those archived, or all (None).

    The one that something happened in last comes first.
    """
    nodes = (
        select(
            DialogueNode.dialogue_id,
            func.count().label("n"),
            func.count().filter(DialogueNode.state == "answered").label("answered"),
        )
        .group_by(DialogueNode.dialogue_id)
        .subquery()
    )
    last = (
        select(DialogueEvent.dialogue_id, func.max(DialogueEvent.created_at).label("at"))
        .group_by(DialogueEvent.dialogue_id)
        .subquery()
    )
    rows = session.execute(
        select(Dialogue, Theme.name, Theme.language, nodes.c.n, nodes.c.answered, last.c.at)
        .join(Theme, Theme.id == Dialogue.theme_id)
        .outerjoin(nodes, nodes.c.dialogue_id == Dialogue.id)
        .outerjoin(last, last.c.dialogue_id == Dialogue.id)
        .where(in_use(Dialogue, archived))
    )
    forks = _forks(session)
    found = [
        as_row(
            DialogueSummary,
            row,
            theme=theme,
            language=language,
            n_nodes=n or 0,
            n_answered=answered or 0,
            forked_from=forks.get(row.id),
            changed_at=at or row.created_at,
        )
        for row, theme, language, n, answered, at in rows
    ]
    return sorted(found, key=lambda one: (one.changed_at, one.id), reverse=True)


def set_dialogue_state(session: Session, dialogue_id: int, state: str) -> None:
    """Open, pause or close a dialogue."""
    session.get_one(Dialogue, dialogue_id).state = state
    session.flush()


def change_settings(session: Session, dialogue_id: int, settings: Mapping[str, Any]) -> None:
    """Replace the settings of a dialogue; what was written under the old ones stays as it is."""
    session.get_one(Dialogue, dialogue_id).settings = dict(settings)
    session.flush()


def add_node(
    session: Session,
    dialogue_id: int,
    question_id: int,
    parent_id: int | None = None,
    *,
    state: str = "open",
) -> int:
    """Add a question to the tree and return the node's id."""
    last = session.scalar(
        select(func.max(DialogueNode.position)).where(DialogueNode.dialogue_id == dialogue_id)
    )
    node = DialogueNode(
        dialogue_id=dialogue_id,
        question_id=question_id,
        parent_id=parent_id,
        position=0 if last is None else last + 1,
        state=state,
    )
    session.add(node)
    session.flush()
    return node.id


def get_node(session: Session, dialogue_id: int, node_id: int) -> NodeRow:
    """Return one node of a dialogue.

    Raises:
        UsageError: The dialogue has no such node.
    """
    row = session.get(DialogueNode, node_id)
    if row is None or row.dialogue_id != dialogue_id:
        raise UsageError(
            "The dialogue {dialogue_id} has no question with the number {node_id}.",
            dialogue_id=dialogue_id,
            node_id=node_id,
        )
    return as_row(NodeRow, row)


def read_nodes(session: Session, dialogue_id: int) -> list[NodeRow]:
    """Return the nodes of a dialogue in the order in which they were made."""
    rows = session.scalars(
        select(DialogueNode)
        .where(DialogueNode.dialogue_id == dialogue_id)
        .order_by(DialogueNode.position)
    )
    return [as_row(NodeRow, row) for row in rows]


def change_node(
    session: Session, node_id: int, *, state: str | None = None, question_id: int | None = None
) -> None:
    """Set what a node is now; how it came to be so is told by the events."""
    row = session.get_one(DialogueNode, node_id)
    row.state = state or row.state
    row.question_id = question_id or row.question_id
    session.flush()


def add_event(session: Session, new: NewEvent) -> int:
    """Add a decision or a step and return its id."""
    row = DialogueEvent(**asdict(new))
    session.add(row)
    session.flush()
    return row.id


def read_events(
    session: Session,
    dialogue_id: int,
    *,
    node_id: int | None = None,
    kinds: Sequence[str] = (),
) -> list[EventRow]:
    """Return what happened in a dialogue, or at one node of it, oldest first."""
    query = _events().where(DialogueEvent.dialogue_id == dialogue_id)
    if node_id is not None:
        query = query.where(DialogueEvent.node_id == node_id)
    if kinds:
        query = query.where(DialogueEvent.kind.in_(kinds))
    return _event_rows(session, query)


def read_open_steps(session: Session, kinds: Sequence[str]) -> list[EventRow]:
    """Return the events of ``kinds`` in all dialogues whose end no other event tells."""
    end = aliased(DialogueEvent)
    open_steps = _events().outerjoin(end, end.step_id == DialogueEvent.id)
    return _event_rows(session, open_steps.where(DialogueEvent.kind.in_(kinds), end.id.is_(None)))


def _events() -> Select[DialogueEvent, str]:
    by = Rater.id == DialogueEvent.rater_id
    return select(DialogueEvent, Rater.name).outerjoin(Rater, by).order_by(DialogueEvent.id)


def _event_rows(session: Session, query: Select[DialogueEvent, str]) -> list[EventRow]:
    return [as_row(EventRow, row, rater=rater) for row, rater in session.execute(query)]


def has_ended(session: Session, step_id: int) -> bool:
    """Tell whether an event tells the end of a step."""
    query = select(DialogueEvent.id).where(DialogueEvent.step_id == step_id)
    return session.scalar(query) is not None


FIELDS = ("concept", "goal", "opposing_goal", "audience", "points_of_view", "language")


def save_theme(session: Session, name: str, values: Mapping[str, Any]) -> int:
    """Store a theme and return its id; the same theme again is stored once.

    Args:
        session: Of an open write transaction.
        name: What lists call it; each theme has its own.
        values: ``FIELDS``.

    Raises:
        UsageError: Another theme of this name has dialogues already.
    """
    own = {field: values.get(field) for field in FIELDS}
    own["points_of_view"] = list(own["points_of_view"] or ())
    known = session.scalar(select(Theme).where(Theme.name == name))
    if known is None:
        known = Theme(name=name, **own)
        session.add(known)
        session.flush()
        return known.id
    if any(getattr(known, field) != value for field, value in own.items()):
        used = session.scalar(select(Dialogue.id).where(Dialogue.theme_id == known.id).limit(1))
        if used is not None:
            raise UsageError(
                "There is a theme {name!r} that says something else, and dialogue {used} is about"
                " it; give the changed theme another name.",
                name=name,
                used=used,
            )
        for field, value in own.items():
            setattr(known, field, value)
        session.flush()
    return known.id


def list_themes(session: Session) -> list[ThemeRow]:
    """Return all themes by name."""
    return [_theme(row) for row in session.scalars(select(Theme).order_by(Theme.name))]


def _theme(row: Theme) -> ThemeRow:
    return as_row(ThemeRow, row, points_of_view=tuple(row.points_of_view))
