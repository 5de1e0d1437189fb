"""A rating keeps how its axis was worded when it was given."""

import sqlalchemy as sa
from alembic import op

from db.identity import json_hash

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

AXIS = sa.table(
    "rating_axis",
    sa.column("scope", sa.Text()),
    sa.column("name", sa.Text()),
    sa.column("definition", sa.JSON()),
    sa.column("definition_hash", sa.String(32)),
    sa.column("created_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    stored = op.get_bind().execute(sa.select(AXIS.c.scope, AXIS.c.name, AXIS.c.definition)).all()
    op.drop_table("rating_axis")
    op.create_table(
        "rating_axis",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("definition_hash", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "scope IN ('reasoning', 'answer', 'whole', 'question')",
            name=op.f("ck_rating_axis_scope"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rating_axis")),
        sa.UniqueConstraint(
            "scope",
            "name",
            "definition_hash",
            name=op.f("uq_rating_axis_scope_name_definition_hash"),
        ),
    )
    now = sa.func.current_timestamp()
    for scope, name, definition in stored:
        values = {"scope": scope, "name": name, "definition": definition}
        hashed = json_hash(definition)
        op.execute(AXIS.insert().values(**values, definition_hash=hashed, created_at=now))
    # With its reference: SQLite adds none later without writing the whole table anew.
    op.execute(
        "ALTER TABLE rating ADD COLUMN axis_id INTEGER"
        " CONSTRAINT fk_rating_axis_id REFERENCES rating_axis (id)"
    )
