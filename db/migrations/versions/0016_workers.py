"""Several workers can share one store: who they are, and what each has claimed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("home", sa.Text(), nullable=False),
        sa.Column("job_ids", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
        sa.UniqueConstraint("host", "home", name=op.f("uq_worker_host_home")),
    )
    # One statement on SQLite and PostgreSQL; Alembic would build the tables anew on SQLite.
    for table in ("job", "engine"):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN worker_id INTEGER"
            f" CONSTRAINT fk_{table}_worker_id REFERENCES worker (id)"
        )
    op.create_table(
        "sweep_chunk",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("pass_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=True),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("blocked", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job.id"], name=op.f("fk_sweep_chunk_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"], ["worker.id"], name=op.f("fk_sweep_chunk_worker_id")
        ),
        sa.PrimaryKeyConstraint("job_id", "pass_number", "first", name=op.f("pk_sweep_chunk")),
    )
    op.create_index("ix_sweep_chunk_worker_id", "sweep_chunk", ["worker_id"])
    op.create_table(
        "slot_claim",
        sa.Column("slot_key", sa.String(32), nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["worker_id"], ["worker.id"], name=op.f("fk_slot_claim_worker_id")),
        sa.PrimaryKeyConstraint("slot_key", name=op.f("pk_slot_claim")),
    )
    op.create_index("ix_slot_claim_worker_id", "slot_claim", ["worker_id"])
