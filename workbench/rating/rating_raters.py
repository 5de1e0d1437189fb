"""Who rates in a file: people and models stay what they are, in the file and in the store."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.tables import Rater
from workbench.rating.rating_fields import RaterKind, RatingFields, RowRefusedError

_REMEDY = "people and models are never mixed: correct rater_kind, or give another name."


class Raters:
    """Remembers what each rater of a file is, and what the store knows."""

    def __init__(self, session: Session) -> None:
        self._known = dict(session.execute(select(Rater.name, Rater.kind)).all())
        self._lines: dict[str, tuple[RaterKind, int]] = {}

    def check(self, said: RatingFields, line: int, *, is_told: bool) -> None:
        """Refuse a rater who is of another kind elsewhere.

        Raises:
            RowRefusedError: In the store, or in an earlier line, the name is of another kind.
        """
        name, kind = said.rater, said.rater_kind
        column = "rater_kind" if is_told else "rater"
        known = self._known.get(name, kind)
        if known != kind:
            raise RowRefusedError(
                column, f"makes {name!r} a {kind}, who is a {known} in the store; {_REMEDY}"
            )
        first, at = self._lines.setdefault(name, (kind, line))
        if first != kind:
            raise RowRefusedError(
                column, f"makes {name!r} a {kind}, who is a {first} in line {at}; {_REMEDY}"
            )
