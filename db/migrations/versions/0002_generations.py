"""What engines wrote: prompts, sweeps, generations, texts, checks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prompt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("token_ids", sa.LargeBinary(), nullable=True),
        sa.Column("n_tokens", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_prompt_content_hash")),
    )
    op.create_table(
        "sampling",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sampling")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_sampling_content_hash")),
    )
    op.create_table(
        "sweep",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("spec_hash", sa.String(length=32), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("n_reasoning_slots", sa.Integer(), nullable=False),
        sa.Column("n_answer_slots", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("active_s", sa.Double(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('planned', 'queued', 'running', 'done', 'cancelled', 'failed')",
            name=op.f("ck_sweep_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweep")),
    )
    op.create_index(op.f("ix_sweep_spec_hash"), "sweep", ["spec_hash"])

    op.create_table(
        "generation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slot_key", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("prompt_format_id", sa.Integer(), nullable=False),
        sa.Column("role_id", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("engine_id", sa.Integer(), nullable=True),
        sa.Column("sampling_id", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.Integer(), nullable=True),
        sa.Column("replicate", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("choice_index", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("engine_version", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('reasoning', 'answer', 'whole', 'questions')", name=op.f("ck_generation_kind")
        ),
        sa.CheckConstraint(
            "mode IN ('reasoning', 'supplied', 'vanilla', 'rationalise', 'ensemble')",
            name=op.f("ck_generation_mode"),
        ),
        sa.CheckConstraint("attempt >= 1 AND replicate >= 0", name=op.f("ck_generation_counts")),
        sa.CheckConstraint("ok = (error IS NULL)", name=op.f("ck_generation_error_if_failed")),
        sa.CheckConstraint("ok = (text IS NOT NULL)", name=op.f("ck_generation_text_if_ok")),
        sa.ForeignKeyConstraint(["engine_id"], ["engine.id"], name=op.f("fk_generation_engine_id")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_generation_model_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["prompt_format_id"], ["prompt_format.id"], name=op.f("fk_generation_prompt_format_id")
        ),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompt.id"], name=op.f("fk_generation_prompt_id")),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_generation_question_id")
        ),
        sa.ForeignKeyConstraint(["role_id"], ["role.id"], name=op.f("fk_generation_role_id")),
        sa.ForeignKeyConstraint(
            ["sampling_id"], ["sampling.id"], name=op.f("fk_generation_sampling_id")
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"],
            ["reasoning_variant.id"],
            name=op.f("fk_generation_variant_id"),
            use_alter=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation")),
        sa.UniqueConstraint("slot_key", "attempt", name=op.f("uq_generation_slot_key_attempt")),
    )
    op.create_index(op.f("ix_generation_model_version_id"), "generation", ["model_version_id"])
    op.create_index(op.f("ix_generation_question_id"), "generation", ["question_id"])
    op.create_index(op.f("ix_generation_variant_id"), "generation", ["variant_id"])
    op.create_index(
        "uq_generation_one_ok",
        "generation",
        ["slot_key"],
        unique=True,
        sqlite_where=sa.text("ok"),
        postgresql_where=sa.text("ok"),
    )

    op.create_table(
        "reasoning_variant",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=True),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(source = 'model') = (generation_id IS NOT NULL)",
            name=op.f("ck_reasoning_variant_model_generation"),
        ),
        sa.CheckConstraint(
            "source IN ('model', 'human', 'edited', 'imported', 'control')",
            name=op.f("ck_reasoning_variant_source"),
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["rater.id"], name=op.f("fk_reasoning_variant_author_id")
        ),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name=op.f("fk_reasoning_variant_generation_id")
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_reasoning_variant_question_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reasoning_variant")),
        sa.UniqueConstraint("generation_id", name=op.f("uq_reasoning_variant_generation_id")),
    )
    op.create_index(
        "ix_reasoning_variant_content", "reasoning_variant", ["question_id", "content_hash"]
    )
    op.create_index("ix_reasoning_variant_newest", "reasoning_variant", ["created_at", "id"])

    op.create_table(
        "sweep_generation",
        sa.Column("sweep_id", sa.Integer(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("made_here", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name=op.f("fk_sweep_generation_generation_id")
        ),
        sa.ForeignKeyConstraint(
            ["sweep_id"],
            ["sweep.id"],
            name=op.f("fk_sweep_generation_sweep_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sweep_id", "generation_id", name=op.f("pk_sweep_generation")),
    )
    op.create_index(
        op.f("ix_sweep_generation_generation_id"), "sweep_generation", ["generation_id"]
    )

    op.create_table(
        "answer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("generation_id", sa.Integer(), nullable=True),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(source = 'model') = (generation_id IS NOT NULL)",
            name=op.f("ck_answer_model_generation"),
        ),
        sa.CheckConstraint(
            "source IN ('model', 'human', 'edited', 'imported')", name=op.f("ck_answer_source")
        ),
        sa.ForeignKeyConstraint(["author_id"], ["rater.id"], name=op.f("fk_answer_author_id")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name=op.f("fk_answer_generation_id")
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["answer.id"], name=op.f("fk_answer_parent_id")),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_answer_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["reasoning_variant.id"], name=op.f("fk_answer_variant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer")),
        sa.UniqueConstraint("generation_id", name=op.f("uq_answer_generation_id")),
    )
    op.create_index("ix_answer_content", "answer", ["question_id", "content_hash"])
    op.create_index("ix_answer_newest", "answer", ["created_at", "id"])
    op.create_index(op.f("ix_answer_variant_id"), "answer", ["variant_id"])

    op.create_table(
        "variant_parent",
        sa.Column("variant_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["reasoning_variant.id"], name=op.f("fk_variant_parent_parent_id")
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"],
            ["reasoning_variant.id"],
            name=op.f("fk_variant_parent_variant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("variant_id", "parent_id", name=op.f("pk_variant_parent")),
    )
    op.create_index(op.f("ix_variant_parent_parent_id"), "variant_parent", ["parent_id"])

    op.create_table(
        "answer_score",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("answer_id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.Integer(), nullable=False),
        sa.Column("question_withheld", sa.Boolean(), nullable=False),
        sa.Column("log_prob", sa.Double(), nullable=False),
        sa.Column("n_tokens", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["answer_id"], ["answer.id"], name=op.f("fk_answer_score_answer_id")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_version.id"],
            name=op.f("fk_answer_score_model_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompt.id"], name=op.f("fk_answer_score_prompt_id")
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["reasoning_variant.id"], name=op.f("fk_answer_score_variant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_score")),
        sa.UniqueConstraint(
            "answer_id",
            "prompt_id",
            "model_version_id",
            name=op.f("uq_answer_score_answer_id_prompt_id_model_version_id"),
        ),
    )
    op.create_index(op.f("ix_answer_score_answer_id"), "answer_score", ["answer_id"])
    op.create_index(op.f("ix_answer_score_variant_id"), "answer_score", ["variant_id"])

    op.create_table(
        "check_flag",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("answer_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(variant_id IS NULL) <> (answer_id IS NULL)", name=op.f("ck_check_flag_one_target")
        ),
        sa.ForeignKeyConstraint(
            ["answer_id"], ["answer.id"], name=op.f("fk_check_flag_answer_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"],
            ["reasoning_variant.id"],
            name=op.f("fk_check_flag_variant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_check_flag")),
        sa.UniqueConstraint("answer_id", "name", name=op.f("uq_check_flag_answer_id_name")),
        sa.UniqueConstraint("variant_id", "name", name=op.f("uq_check_flag_variant_id_name")),
    )
    op.create_index(op.f("ix_check_flag_name"), "check_flag", ["name"])

    op.create_table(
        "sentence_use",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sentence_hash", sa.BigInteger(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("answer_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(variant_id IS NULL) <> (answer_id IS NULL)", name=op.f("ck_sentence_use_one_target")
        ),
        sa.ForeignKeyConstraint(
            ["answer_id"], ["answer.id"], name=op.f("fk_sentence_use_answer_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_sentence_use_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"],
            ["reasoning_variant.id"],
            name=op.f("fk_sentence_use_variant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sentence_use")),
    )
    op.create_index(op.f("ix_sentence_use_answer_id"), "sentence_use", ["answer_id"])
    op.create_index("ix_sentence_use_hash", "sentence_use", ["sentence_hash", "question_id"])
    op.create_index(op.f("ix_sentence_use_variant_id"), "sentence_use", ["variant_id"])
    if op.get_context().dialect.name != "sqlite":  # there the table was made with it
        op.create_foreign_key(
            op.f("fk_generation_variant_id"),
            "generation",
            "reasoning_variant",
            ["variant_id"],
            ["id"],
        )
