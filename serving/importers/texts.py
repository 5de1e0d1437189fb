"""Imported reasonings and answers are checked before anything is written, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.tables import ReasoningVariant
from serving.checks import CheckContext, check_answer, check_reasoning
from serving.checks.sentences import hashed_sentences
from serving.importers.boilerplate import find_boilerplate
from serving.importers.spool import Spool

_VARIANTS = """
SELECT v.n, v.question_n, v.text, q.text, q.context, q.reference_answer, q.role, q.language
FROM variant v JOIN question q ON q.n = v.question_n ORDER BY v.n
"""
_ANSWERS = """
SELECT a.n, a.question_n, a.variant_n, a.text, v.text, q.text, q.context, q.reference_answer,
    q.role, q.language
FROM answer a JOIN question q ON q.n = a.question_n LEFT JOIN variant v ON v.n = a.variant_n
ORDER BY a.n
"""


def check_texts(database: Database, spool: Spool) -> Iterator[int]:
    """Add what the checks find to ``spool``; yields how many texts were checked, now and then."""
    n_checked = 0
    for rows in spool.batches(_VARIANTS):
        _check_variants(spool, rows)
        n_checked += len(rows)
        yield n_checked
    for rows in spool.batches(_ANSWERS):
        with database.read() as session:
            _check_answers(spool, rows, _known_reasonings(session, rows))
        n_checked += len(rows)
        yield n_checked
    with database.read() as session:
        find_boilerplate(session, spool)


def _check_variants(spool: Spool, rows: Sequence[Any]) -> None:
    flags: list[tuple[Any, ...]] = []
    uses: list[tuple[Any, ...]] = []
    for n, question_n, text, *asked in rows:
        for finding in check_reasoning(text, _context(*asked)):
            flags.append((n, None, finding.name, finding.detail))
        uses += [(key, question_n, n, None) for key in hashed_sentences(text)]
    spool.insert("flag", flags)
    spool.insert("sentence", uses)


def _check_answers(spool: Spool, rows: Sequence[Any], known: dict[int, str]) -> None:
    flags: list[tuple[Any, ...]] = []
    uses: list[tuple[Any, ...]] = []
    for n, question_n, variant_n, text, reasoning, *asked in rows:
        if reasoning is None and variant_n is not None:
            reasoning = known.get(-variant_n)
        for finding in check_answer(text, _context(*asked), reasoning):
            flags.append((None, n, finding.name, finding.detail))
            if finding.name == "answer_leak":  # what one gives away, the other holds
                flags.append((variant_n, None, finding.name, finding.detail))
        uses += [(key, question_n, None, n) for key in hashed_sentences(text)]
    spool.insert("flag", flags)
    spool.insert("sentence", uses)


def _known_reasonings(session: Session, rows: Sequence[Any]) -> dict[int, str]:
    """Return the reasonings of the store that answers stand under, by id."""
    ids = {-row[2] for row in rows if row[2] is not None and row[2] < 0}
    if not ids:
        return {}
    found = select(ReasoningVariant.id, ReasoningVariant.text).where(ReasoningVariant.id.in_(ids))
    return dict(session.execute(found).all())


def _context(
    question: str, context: str, reference: str | None, role: str, language: str | None
) -> CheckContext:
    return CheckContext(
        question=question,
        context=context,
        reference_answer=reference,
        role=role,
        language=language,
    )
