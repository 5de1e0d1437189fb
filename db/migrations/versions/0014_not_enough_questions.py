"""A round can end with the verdict that there were not enough questions."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

VERDICTS = "'keep', 'drop', 'branch', 'not_enough_questions'"


def upgrade() -> None:
    with op.batch_alter_table("round") as table:
        table.drop_constraint(op.f("ck_round_verdict"), type_="check")
        table.create_check_constraint(
            op.f("ck_round_verdict"), f"verdict IS NULL OR verdict IN ({VERDICTS})"
        )
