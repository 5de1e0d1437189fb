"""Search terms of texts that hold unseen signs: such a sign no longer parts a word."""

import sqlalchemy as sa
from alembic import op

from db.search import UNSEEN, terms

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXTS = {
    "question": "SELECT id, text || '\n' || context FROM question",
    "variant": "SELECT id, text FROM reasoning_variant",
    "answer": "SELECT id, text FROM answer",
}


def upgrade() -> None:
    connection = op.get_bind()
    for kind, statement in TEXTS.items():
        rows = [
            {"kind": kind, "text_id": text_id, "terms": " ".join(terms(value))}
            for text_id, value in connection.execute(sa.text(statement))
            if not value.isascii() and UNSEEN.search(value)
        ]
        if rows:
            connection.execute(
                sa.text(
                    "UPDATE search_text SET terms = :terms"
                    " WHERE kind = :kind AND text_id = :text_id"
                ),
                rows,
            )
