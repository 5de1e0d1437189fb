"""Ratings, their axes and queues."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rating_axis",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "scope IN ('reasoning', 'answer', 'whole', 'question')",
            name=op.f("ck_rating_axis_scope"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rating_axis")),
        sa.UniqueConstraint("scope", "name", name=op.f("uq_rating_axis_scope_name")),
    )
    op.create_table(
        "rating_queue",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "scope IN ('reasoning', 'answer', 'whole', 'question')",
            name=op.f("ck_rating_queue_scope"),
        ),
        sa.CheckConstraint("way IN ('pair', 'single', 'table')", name=op.f("ck_rating_queue_way")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rating_queue")),
    )
    op.create_table(
        "queue_item",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("queue_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("answer_id", sa.Integer(), nullable=True),
        sa.Column("other_variant_id", sa.Integer(), nullable=True),
        sa.Column("other_answer_id", sa.Integer(), nullable=True),
        sa.Column("repeat_of_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["answer_id"], ["answer.id"], name=op.f("fk_queue_item_answer_id")),
        sa.ForeignKeyConstraint(
            ["other_answer_id"], ["answer.id"], name=op.f("fk_queue_item_other_answer_id")
        ),
        sa.ForeignKeyConstraint(
            ["other_variant_id"],
            ["reasoning_variant.id"],
            name=op.f("fk_queue_item_other_variant_id"),
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_queue_item_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["queue_id"],
            ["rating_queue.id"],
            name=op.f("fk_queue_item_queue_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repeat_of_id"], ["queue_item.id"], name=op.f("fk_queue_item_repeat_of_id")
        ),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["reasoning_variant.id"], name=op.f("fk_queue_item_variant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_item")),
        sa.UniqueConstraint("queue_id", "position", name=op.f("uq_queue_item_queue_id_position")),
    )
    op.create_table(
        "queue_item_state",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("rater_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("draft", sa.JSON(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending', 'draft', 'submitted', 'skipped', 'discarded')",
            name=op.f("ck_queue_item_state_state"),
        ),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["queue_item.id"],
            name=op.f("fk_queue_item_state_item_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["rater_id"], ["rater.id"], name=op.f("fk_queue_item_state_rater_id")
        ),
        sa.PrimaryKeyConstraint("item_id", "rater_id", name=op.f("pk_queue_item_state")),
    )
    op.create_index(op.f("ix_queue_item_state_rater_id"), "queue_item_state", ["rater_id"])

    op.create_table(
        "rating",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rater_id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("answer_id", sa.Integer(), nullable=True),
        sa.Column("other_question_id", sa.Integer(), nullable=True),
        sa.Column("other_variant_id", sa.Integer(), nullable=True),
        sa.Column("other_answer_id", sa.Integer(), nullable=True),
        sa.Column("axis", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("swapped", sa.Boolean(), nullable=True),
        sa.Column("answer_seen", sa.Boolean(), nullable=False),
        sa.Column("sampler", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("queue_item_id", sa.Integer(), nullable=True),
        sa.Column("card_id", sa.Text(), nullable=False),
        sa.Column("undoes_id", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(scope = 'question' AND variant_id IS NULL AND answer_id IS NULL)"
            " OR (scope = 'reasoning' AND variant_id IS NOT NULL AND answer_id IS NULL)"
            " OR (scope IN ('answer', 'whole') AND answer_id IS NOT NULL)",
            name=op.f("ck_rating_target_fits_scope"),
        ),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('a', 'b', 'tie', 'both_bad')",
            name=op.f("ck_rating_outcome"),
        ),
        sa.CheckConstraint(
            "scope IN ('reasoning', 'answer', 'whole', 'question')", name=op.f("ck_rating_scope")
        ),
        sa.CheckConstraint(
            "(outcome IS NULL) = (other_question_id IS NULL AND other_variant_id IS NULL"
            " AND other_answer_id IS NULL)",
            name=op.f("ck_rating_comparison_has_two"),
        ),
        sa.CheckConstraint(
            "undoes_id IS NOT NULL OR value IS NOT NULL OR outcome IS NOT NULL"
            " OR label IS NOT NULL",
            name=op.f("ck_rating_says_something"),
        ),
        sa.ForeignKeyConstraint(["answer_id"], ["answer.id"], name=op.f("fk_rating_answer_id")),
        sa.ForeignKeyConstraint(
            ["other_answer_id"], ["answer.id"], name=op.f("fk_rating_other_answer_id")
        ),
        sa.ForeignKeyConstraint(
            ["other_question_id"], ["question.id"], name=op.f("fk_rating_other_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["other_variant_id"], ["reasoning_variant.id"], name=op.f("fk_rating_other_variant_id")
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["question.id"], name=op.f("fk_rating_question_id")
        ),
        sa.ForeignKeyConstraint(
            ["queue_item_id"], ["queue_item.id"], name=op.f("fk_rating_queue_item_id")
        ),
        sa.ForeignKeyConstraint(["rater_id"], ["rater.id"], name=op.f("fk_rating_rater_id")),
        sa.ForeignKeyConstraint(["undoes_id"], ["rating.id"], name=op.f("fk_rating_undoes_id")),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["reasoning_variant.id"], name=op.f("fk_rating_variant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rating")),
        sa.UniqueConstraint("card_id", name=op.f("uq_rating_card_id")),
        sa.UniqueConstraint("undoes_id", name=op.f("uq_rating_undoes_id")),
    )
    op.create_index(op.f("ix_rating_answer_id"), "rating", ["answer_id"])
    op.create_index(op.f("ix_rating_other_answer_id"), "rating", ["other_answer_id"])
    op.create_index(op.f("ix_rating_other_variant_id"), "rating", ["other_variant_id"])
    op.create_index(op.f("ix_rating_question_id"), "rating", ["question_id"])
    op.create_index(op.f("ix_rating_queue_item_id"), "rating", ["queue_item_id"])
    op.create_index(op.f("ix_rating_rater_id"), "rating", ["rater_id"])
    op.create_index("ix_rating_rater_newest", "rating", ["rater_id", "id"])
    op.create_index(op.f("ix_rating_variant_id"), "rating", ["variant_id"])
