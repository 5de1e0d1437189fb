"""Things are archived instead of deleted, questions wait outside the pool, sweeps keep to a budget.

Questions keep the columns of their file that mean nothing to the program."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

ARCHIVABLE = (
    "question", "sweep", "rating_queue", "rater", "dialogue_session", "dataset", "training_run",
    "model_version",
)  # fmt: skip


def upgrade() -> None:
    for table in ARCHIVABLE:
        op.add_column(table, sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "question", sa.Column("in_pool", sa.Boolean(), server_default=sa.true(), nullable=False)
    )
    # What a dialogue hung under its first question was never brought in by anyone.
    op.execute(
        "UPDATE question SET in_pool = false WHERE parent_id IS NOT NULL"
        " AND coalesce(move, '') <> 'edit' AND id IN"
        " (SELECT question_id FROM dialogue_node WHERE parent_id IS NOT NULL)"
    )
    op.drop_index("ix_question_newest", table_name="question")
    false = "false" if op.get_bind().dialect.name == "postgresql" else "0"
    for name, where in {
        "newest": "archived_at IS NULL",
        "archived": "archived_at IS NOT NULL",
        "proposed": f"in_pool IS {false}",
    }.items():
        condition = sa.text(where)
        op.create_index(
            f"ix_question_{name}",
            "question",
            [sa.text("created_at DESC"), sa.text("id DESC")],
            sqlite_where=condition,
            postgresql_where=condition,
        )
    op.add_column("question", sa.Column("fields", sa.Text(), nullable=True))
    op.add_column("engine", sa.Column("offers", sa.JSON()))
    op.add_column("sweep", sa.Column("max_tokens", sa.BigInteger()))
    op.add_column("sweep", sa.Column("max_cost", sa.Double()))
    for name, kind in (("spent_tokens", sa.BigInteger()), ("spent_cost", sa.Double())):
        op.add_column("sweep", sa.Column(name, kind, server_default="0", nullable=False))
