"""An event that ends a step of a dialogue refers to the step, and a step ends once."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None

EVENT = sa.table(
    "dialogue_event",
    sa.column("id", sa.Integer),
    sa.column("session_id", sa.Integer),
    sa.column("kind", sa.Text),
    sa.column("payload", sa.JSON),
    sa.column("step_id", sa.Integer),
)


def upgrade() -> None:
    # One statement on SQLite and PostgreSQL; Alembic would build the table anew on SQLite.
    op.execute(
        "ALTER TABLE dialogue_event ADD COLUMN step_id INTEGER"
        " CONSTRAINT fk_dialogue_event_step_id REFERENCES dialogue_event (id)"
    )
    connection = op.get_bind()
    columns = (EVENT.c.id, EVENT.c.session_id, EVENT.c.kind, EVENT.c.payload)
    events = connection.execute(sa.select(*columns).order_by(EVENT.c.id)).all()
    ends = _ends(events)
    if ends:
        connection.execute(
            sa.update(EVENT)
            .where(EVENT.c.id == sa.bindparam("end"))
            .values(step_id=sa.bindparam("step")),
            [{"end": end, "step": step} for step, end in ends.items()],
        )
    op.create_index("ix_dialogue_event_step_id", "dialogue_event", ["step_id"], unique=True)


def _ends(events: Any) -> dict[int, int]:
    """Return each step that has ended → the event that tells so.

    Of two pages that laid out one step at once the first counts; turns that ran by themselves
    ended with their last checkpoint.
    """
    known = {event.id for event in events}
    ends: dict[int, int] = {}
    turns: dict[int, int] = {}
    for event in events:
        step = (event.payload or {}).get("step")
        if isinstance(step, int) and step in known:
            ends.setdefault(step, event.id)
        elif event.kind == "turns":
            turns[event.session_id] = event.id
        elif event.kind == "checkpoint" and event.session_id in turns:
            ends[turns[event.session_id]] = event.id
    return ends
