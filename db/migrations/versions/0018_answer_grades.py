"""Questions say how their answers are checked; answers have grades."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("question", sa.Column("answer_check", sa.Text(), nullable=True))
    op.create_table(
        "answer_grade",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("answer_id", sa.Integer(), nullable=False),
        sa.Column("answer_check", sa.Text(), nullable=False),
        sa.Column("check_key", sa.String(32), nullable=False),
        sa.Column("correct", sa.Boolean(), nullable=True),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["answer_id"],
            ["answer.id"],
            name=op.f("fk_answer_grade_answer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_grade")),
    )
    op.create_index("ix_answer_grade_answer_id", "answer_grade", ["answer_id"])
    op.create_index(
        "uq_answer_grade_current",
        "answer_grade",
        ["answer_id"],
        unique=True,
        sqlite_where=sa.text("is_current"),
        postgresql_where=sa.text("is_current"),
    )
