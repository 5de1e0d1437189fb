"""What sweeps may spend and have spent, and which models of a server are used, at what price."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("engine", sa.Column("offers", sa.JSON()))
    op.add_column("sweep", sa.Column("max_tokens", sa.BigInteger()))
    op.add_column("sweep", sa.Column("max_cost", sa.Double()))
    for name, kind in (("spent_tokens", sa.BigInteger()), ("spent_cost", sa.Double())):
        op.add_column("sweep", sa.Column(name, kind, server_default="0", nullable=False))
