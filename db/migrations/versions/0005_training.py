"""Datasets, training runs, proofs of merges, rounds."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=True),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('sft', 'dpo', 'kto')", name=op.f("ck_dataset_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("name", name=op.f("uq_dataset_name")),
    )
    op.create_table(
        "merge_proof",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("adapter_model_version_id", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_model_version_id"],
            ["model_version.id"],
            name=op.f("fk_merge_proof_adapter_model_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_merge_proof_model_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merge_proof")),
    )
    op.create_index(op.f("ix_merge_proof_model_version_id"), "merge_proof", ["model_version_id"])

    op.create_table(
        "training_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("base_model_version_id", sa.Integer(), nullable=False),
        sa.Column("adapter_model_version_id", sa.Integer(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("method IN ('sft', 'dpo', 'kto')", name=op.f("ck_training_run_method")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'cancelled', 'failed')",
            name=op.f("ck_training_run_state"),
        ),
        sa.ForeignKeyConstraint(
            ["adapter_model_version_id"],
            ["model_version.id"],
            name=op.f("fk_training_run_adapter_model_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["base_model_version_id"],
            ["model_version.id"],
            name=op.f("fk_training_run_base_model_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name=op.f("fk_training_run_dataset_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_run")),
    )
    op.create_index(op.f("ix_training_run_dataset_id"), "training_run", ["dataset_id"])

    op.create_table(
        "proof_check",
        sa.Column("proof_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("measured", sa.Double(), nullable=True),
        sa.Column("tolerance", sa.Double(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["proof_id"],
            ["merge_proof.id"],
            name=op.f("fk_proof_check_proof_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("proof_id", "name", name=op.f("pk_proof_check")),
    )
    op.create_table(
        "round",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("starts_from_id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=True),
        sa.Column("training_run_id", sa.Integer(), nullable=True),
        sa.Column("merged_model_version_id", sa.Integer(), nullable=True),
        sa.Column("sweep_id", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'waiting', 'running', 'done', 'failed')", name=op.f("ck_round_state")
        ),
        sa.CheckConstraint(
            "verdict IS NULL OR verdict IN ('keep', 'drop', 'branch')",
            name=op.f("ck_round_verdict"),
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_round_dataset_id")),
        sa.ForeignKeyConstraint(
            ["merged_model_version_id"],
            ["model_version.id"],
            name=op.f("fk_round_merged_model_version_id"),
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["round.id"], name=op.f("fk_round_parent_id")),
        sa.ForeignKeyConstraint(
            ["starts_from_id"], ["model_version.id"], name=op.f("fk_round_starts_from_id")
        ),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweep.id"], name=op.f("fk_round_sweep_id")),
        sa.ForeignKeyConstraint(
            ["training_run_id"], ["training_run.id"], name=op.f("fk_round_training_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_round")),
        sa.UniqueConstraint("name", name=op.f("uq_round_name")),
    )
    op.create_table(
        "training_metric",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["training_run.id"],
            name=op.f("fk_training_metric_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "name", "step", name=op.f("pk_training_metric")),
    )
    op.create_table(
        "dataset_row",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("answer_id", sa.Integer(), nullable=True),
        sa.Column("rejected_variant_id", sa.Integer(), nullable=True),
        sa.Column("rejected_answer_id", sa.Integer(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("label", sa.Boolean(), nullable=True),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.CheckConstraint("split IN ('train', 'held_out')", name=op.f("ck_dataset_row_split")),
        sa.ForeignKeyConstraint(
            ["answer_id"], ["answer.id"], name=op.f("fk_dataset_row_answer_id")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_dataset_row_dataset_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_dataset_row_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["rejected_answer_id"], ["answer.id"], name=op.f("fk_dataset_row_rejected_answer_id")
        ),
        sa.ForeignKeyConstraint(
            ["rejected_variant_id"],
            ["reasoning_variant.id"],
            name=op.f("fk_dataset_row_rejected_variant_id"),
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["reasoning_variant.id"], name=op.f("fk_dataset_row_variant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_row")),
        sa.UniqueConstraint(
            "dataset_id", "position", name=op.f("uq_dataset_row_dataset_id_position")
        ),
    )
    op.create_index(op.f("ix_dataset_row_question_id"), "dataset_row", ["question_id"])

    op.create_table(
        "dataset_row_rating",
        sa.Column("row_id", sa.Integer(), nullable=False),
        sa.Column("rating_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rating_id"], ["rating.id"], name=op.f("fk_dataset_row_rating_rating_id")
        ),
        sa.ForeignKeyConstraint(
            ["row_id"],
            ["dataset_row.id"],
            name=op.f("fk_dataset_row_rating_row_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("row_id", "rating_id", name=op.f("pk_dataset_row_rating")),
    )
    op.create_index(op.f("ix_dataset_row_rating_rating_id"), "dataset_row_rating", ["rating_id"])
