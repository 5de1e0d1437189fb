"""Whose cards are whose, verdicts on what raters disagree about, indexes of tags and notes."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    settled: sa.Column[bool] = sa.Column(
        "is_adjudication", sa.Boolean(), server_default=sa.false(), nullable=False
    )
    op.add_column("rating", settled)
    op.create_index(
        "ix_rating_adjudications",
        "rating",
        ["question_id"],
        sqlite_where=sa.text("is_adjudication = 1"),
        postgresql_where=sa.text("is_adjudication"),
    )
    for name, column, rows in (
        ("ix_rating_tags", "label", sa.text("axis = 'tag'")),
        ("ix_rating_notes", "question_id", sa.text("note IS NOT NULL")),
    ):
        op.create_index(name, "rating", [column], sqlite_where=rows, postgresql_where=rows)
    op.create_table(
        "queue_assignment",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("rater_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["queue_item.id"],
            name=op.f("fk_queue_assignment_item_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["rater_id"], ["rater.id"], name=op.f("fk_queue_assignment_rater_id")
        ),
        sa.PrimaryKeyConstraint("item_id", "rater_id", name=op.f("pk_queue_assignment")),
    )
    op.create_index(op.f("ix_queue_assignment_rater_id"), "queue_assignment", ["rater_id"])
