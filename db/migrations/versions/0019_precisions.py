"""A model version says in which precision its weights are served; precisions are compared."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_version", sa.Column("precision", sa.Text(), nullable=True))
    op.execute("UPDATE model_version SET precision = 'bf16' WHERE kind <> 'declared'")
    # Written out: in this form both stores take it, and SQLite without copying the table.
    op.execute(
        "ALTER TABLE model_version ADD COLUMN stored_id INTEGER"
        " CONSTRAINT fk_model_version_stored_id REFERENCES model_version (id)"
    )
    op.create_table(
        "precision_comparison",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("reference_id", sa.Integer(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [column], ["model_version.id"], name=op.f(f"fk_precision_comparison_{column}")
            )
            for column in ("model_version_id", "reference_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_precision_comparison")),
    )
    op.create_index(
        op.f("ix_precision_comparison_model_version_id"),
        "precision_comparison",
        ["model_version_id"],
    )
