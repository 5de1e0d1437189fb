"""What tells a store apart from others, wherever its file lies."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.identity import short_hash
from db.tables import PromptFormat


def store_mark(session: Session) -> str | None:
    """Return 32 hexadecimal digits that stay with the store, and with copies of it.

    They come from the moment at which its first prompt format was stored; None before that.
    """
    born = session.scalar(select(func.min(PromptFormat.created_at)))
    return short_hash(born.isoformat()) if born else None
