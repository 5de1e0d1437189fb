"""Rows of datasets have scores by model; a round keeps what its figures came to."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "row_score",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("row_id", sa.Integer(), nullable=False),
        sa.Column("prompt_format_id", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("log_prob", sa.Double(), nullable=True),
        sa.Column("n_tokens", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(error IS NULL) = (log_prob IS NOT NULL)", name=op.f("ck_row_score_score_or_error")
        ),
        sa.CheckConstraint(
            "(log_prob IS NULL) = (n_tokens IS NULL)", name=op.f("ck_row_score_tokens_if_scored")
        ),
        sa.ForeignKeyConstraint(
            ["row_id"],
            ["dataset_row.id"],
            name=op.f("fk_row_score_row_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["prompt_format_id"], ["prompt_format.id"], name=op.f("fk_row_score_prompt_format_id")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_row_score_model_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_row_score")),
        sa.UniqueConstraint(
            "row_id",
            "prompt_format_id",
            "model_version_id",
            name=op.f("uq_row_score_row_id_prompt_format_id_model_version_id"),
        ),
    )
    op.add_column("round", sa.Column("findings", sa.JSON(), nullable=True))
