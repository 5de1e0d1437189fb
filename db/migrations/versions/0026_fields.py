"""Questions keep the columns of their file that mean nothing to the program."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("question", sa.Column("fields", sa.Text(), nullable=True))
