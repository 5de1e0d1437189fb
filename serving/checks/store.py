"""Findings as rows of ``check_flag``: one of each name for a text, however often it is found."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.tables import CheckFlag
from serving.checks.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFinding:
    """A finding on a stored text; exactly one of the two ids is given."""

    finding: Finding
    variant_id: int | None = None
    answer_id: int | None = None


def store_findings(session: Session, findings: Iterable[TextFinding]) -> None:
    """Insert ``findings`` as flags; a flag that is there already stays as it is."""
    rows = [
        {
            "variant_id": found.variant_id,
            "answer_id": found.answer_id,
            "name": found.finding.name,
            "detail": found.finding.detail,
        }
        for found in findings
    ]
    if rows:
        session.flush()  # the rows below bypass the unit of work, which makes them quick
        session.connection().execute(_insert_new(session), rows)


def _insert_new(session: Session) -> Insert:
    dialect: Any = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement: Insert = dialect.insert(CheckFlag).on_conflict_do_nothing()
    return statement
