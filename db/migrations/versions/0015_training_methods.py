"""A run can train by any method that the product has; the store does not list them."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("training_run") as table:
        table.drop_constraint(op.f("ck_training_run_method"), type_="check")
