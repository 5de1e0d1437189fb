"""Errors may be followed by what they are made of; the view of generations leaves that out."""

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing: views are drawn anew with each revision."""
