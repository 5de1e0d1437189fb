"""The words of every text, with a full-text index of each kind of database."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FTS5 = """
CREATE VIRTUAL TABLE search_index USING fts5(
    kind, terms, content='search_text', content_rowid='id', prefix='1',
    tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* P* S* C*'"
)
"""

TRIGGERS = (
    """
    CREATE TRIGGER search_text_added AFTER INSERT ON search_text BEGIN
        INSERT INTO search_index(rowid, kind, terms) VALUES (new.id, new.kind, new.terms);
    END
    """,
    """
    CREATE TRIGGER search_text_removed AFTER DELETE ON search_text BEGIN
        INSERT INTO search_index(search_index, rowid, kind, terms)
        VALUES ('delete', old.id, old.kind, old.terms);
    END
    """,
    """
    CREATE TRIGGER search_text_changed AFTER UPDATE ON search_text BEGIN
        INSERT INTO search_index(search_index, rowid, kind, terms)
        VALUES ('delete', old.id, old.kind, old.terms);
        INSERT INTO search_index(rowid, kind, terms) VALUES (new.id, new.kind, new.terms);
    END
    """,
)

TSVECTOR = """
ALTER TABLE search_text ADD COLUMN search_vector tsvector
    GENERATED ALWAYS AS (to_tsvector('simple', terms)) STORED
"""


def upgrade() -> None:
    op.create_table(
        "search_text",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text_id", sa.Integer(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_text")),
    )
    op.create_index("uq_search_text_target", "search_text", ["kind", "text_id"], unique=True)
    if op.get_context().dialect.name == "sqlite":
        for statement in (FTS5, *TRIGGERS):
            op.execute(statement)
    else:
        op.execute(TSVECTOR)
        op.execute("CREATE INDEX search_index ON search_text USING gin (search_vector)")
