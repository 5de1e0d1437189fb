"""What people say a server's weights are, and how busy its engines and GPUs are."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One statement on SQLite and PostgreSQL; Alembic would build the table anew on SQLite.
    op.execute("ALTER TABLE engine ADD COLUMN model_name TEXT")
    op.execute("ALTER TABLE engine ADD COLUMN load JSON")
