"""Things are archived instead of deleted; questions of dialogues wait outside the pool."""

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
