"""Imports write in short transactions, and nobody sees their rows before the last one."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# FTS5 writes its index to disk after each statement that a trigger adds to: an import adds its
# terms in bulk by itself, which takes a third of the time.
ADDED = """
CREATE TRIGGER search_text_added AFTER INSERT ON search_text
WHEN new.kind <> 'staged' AND NOT EXISTS (
    SELECT 1 FROM staged_range
    WHERE table_name = 'search_text' AND new.id BETWEEN first_id AND last_id
)
BEGIN
    INSERT INTO search_index(rowid, kind, terms) VALUES (new.id, new.kind, new.terms);
END
"""
REMOVED = """
CREATE TRIGGER search_text_removed AFTER DELETE ON search_text WHEN old.kind <> 'staged' BEGIN
    INSERT INTO search_index(search_index, rowid, kind, terms)
    VALUES ('delete', old.id, old.kind, old.terms);
END
"""


def upgrade() -> None:
    op.create_table(
        "staged_range",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("last_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", name=op.f("pk_staged_range")),
    )
    op.create_table(
        "pending_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Integer(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_change")),
    )
    if op.get_context().dialect.name == "sqlite":
        for name, statement in (("added", ADDED), ("removed", REMOVED)):
            op.execute(f"DROP TRIGGER search_text_{name}")
            op.execute(statement)
