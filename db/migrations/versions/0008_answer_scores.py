"""Scores of answers tell their format and role, and why a pair has no score."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

REFERENCES = {
    "answer_id": "answer",
    "variant_id": "reasoning_variant",
    "prompt_format_id": "prompt_format",
    "role_id": "role",
    "model_version_id": "model_version",
    "prompt_id": "prompt",
}


def upgrade() -> None:
    # No version before this one wrote a score, so that there are no rows to keep.
    op.drop_table("answer_score")
    op.create_table(
        "answer_score",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("answer_id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("prompt_format_id", sa.Integer(), nullable=False),
        sa.Column("role_id", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.Integer(), nullable=True),
        sa.Column("question_withheld", sa.Boolean(), nullable=False),
        sa.Column("log_prob", sa.Double(), nullable=True),
        sa.Column("n_tokens", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(error IS NULL) = (log_prob IS NOT NULL)",
            name=op.f("ck_answer_score_score_or_error"),
        ),
        sa.CheckConstraint(
            "(log_prob IS NULL) = (n_tokens IS NULL)",
            name=op.f("ck_answer_score_tokens_if_scored"),
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_answer_score_{column}")
            )
            for column, table in REFERENCES.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_score")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_answer_score_answer_id"), "answer_score", ["answer_id"])
    op.create_index(op.f("ix_answer_score_variant_id"), "answer_score", ["variant_id"])
    at = ["prompt_format_id", "role_id", "model_version_id", "question_withheld"]
    op.create_index(
        "uq_answer_score_under", "answer_score", ["answer_id", "variant_id", *at], unique=True
    )
    without = sa.text("variant_id IS NULL")
    op.create_index(
        "uq_answer_score_without",
        "answer_score",
        ["answer_id", *at],
        unique=True,
        sqlite_where=without,
        postgresql_where=without,
    )
