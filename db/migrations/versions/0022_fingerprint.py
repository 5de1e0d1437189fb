"""How likely a version finds a fixed text, which tells whether servers hold the same weights."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE model_version ADD COLUMN fingerprint JSON")
