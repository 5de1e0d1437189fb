"""The words of every text, for search in any language; see ``db.search``."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class SearchText(Base):
    """The search terms of one text. Full-text indexes of both databases read this table."""

    __tablename__ = "search_text"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """``question``, ``variant`` or ``answer``."""
    text_id: Mapped[int]
    terms: Mapped[str]
    """Words in lower case, and character pairs of Japanese and Chinese, separated by spaces."""

    __table_args__ = (Index("uq_search_text_target", "kind", "text_id", unique=True),)
