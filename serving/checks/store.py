"""Findings in the store, and the check that needs it: sentences under many different questions.

Every use of a sentence is a row of ``sentence_use`` until the sentence is known to be boilerplate;
from then on its uses are flagged at once and need no row, so that the table and the cost of a
commit stay small however often a sentence comes.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import TextClause, select, text
from sqlalchemy.orm import Session

from db.bulk import chunks, insert_missing, insert_tuples
from db.tables import CheckFlag, SentenceUse
from db.tables.work import hidden
from serving.checks.text import Finding, hashed_sentences


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
    session.flush()  # the rows bypass the unit of work, which makes them quick
    insert_missing(session, CheckFlag, rows)


MIN_QUESTIONS = 5
"""A sentence under so many different questions is boilerplate."""

_CHUNK = 512
SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class NewText:
    """A reasoning or an answer that was just stored; exactly one of the two ids is given."""

    question_id: int
    text: str
    variant_id: int | None = None
    answer_id: int | None = None


def note_sentences(session: Session, texts: Sequence[NewText]) -> list[TextFinding]:
    """Record the sentences of ``texts`` and return every text that is now to be flagged.

    Call it once for each text, in the transaction that stores it. Returned are the new texts that
    hold boilerplate and, when a sentence has just become boilerplate, the earlier texts that hold
    it. A text can be returned in several calls; ``store_findings`` keeps one flag.
    """
    sentences = [hashed_sentences(new.text) for new in texts]
    shown = {key: sentence for hashes in sentences for key, sentence in hashes.items()}
    if not shown:
        return []
    known = questions_by_sentence(session, shown)
    settled = {key for key, questions in known.items() if len(questions) >= MIN_QUESTIONS}
    _insert_uses(session, texts, sentences, settled)
    for new, hashes in zip(texts, sentences, strict=True):
        for key in hashes:
            known[key].add(new.question_id)
    risen = {key for key, questions in known.items() if len(questions) >= MIN_QUESTIONS} - settled
    found = {
        (new.variant_id, new.answer_id): key
        for new, hashes in zip(texts, sentences, strict=True)
        for key in hashes
        if key in settled
    }
    for variant_id, answer_id, key in uses_of(session, risen):
        found.setdefault((variant_id, answer_id), key)
    return [
        TextFinding(
            variant_id=variant_id,
            answer_id=answer_id,
            finding=Finding("boilerplate", shown[key][:SHOWN_CHARS]),
        )
        for (variant_id, answer_id), key in found.items()
    ]


def questions_by_sentence(session: Session, keys: Iterable[int]) -> defaultdict[int, set[int]]:
    """Return up to ``MIN_QUESTIONS`` questions under which each sentence stands."""
    questions: defaultdict[int, set[int]] = defaultdict(set)
    for chunk in chunks(sorted(keys), _CHUNK):
        n_places = 1 << (len(chunk) - 1).bit_length()
        padded = chunk + chunk[:1] * (n_places - len(chunk))
        first, last = hidden(session).get("sentence_use", (0, 0))
        parameters = {f"key{place}": key for place, key in enumerate(padded)}
        parameters |= {"first": first, "last": last}
        for key, question_id in session.execute(_walk(n_places), parameters):
            questions[key].add(question_id)
    return questions


@cache
def _walk(n_places: int) -> TextClause:
    """Return the query for so many sentences, always the same object and so compiled once.

    It steps from one question to the next larger in the index, so that a sentence with a million
    uses costs as little as one with five.
    """
    places = ", ".join(f"(CAST(:key{place} AS BIGINT))" for place in range(n_places))
    return text(
        f"WITH RECURSIVE wanted (sentence) AS (VALUES {places}),"
        " walk (sentence, question_id, position) AS ("
        " SELECT sentence, (SELECT min(question_id) FROM sentence_use"
        "  WHERE sentence_hash = wanted.sentence"
        "  AND id NOT BETWEEN :first AND :last), 1 FROM wanted"
        " UNION ALL"
        " SELECT sentence, (SELECT min(question_id) FROM sentence_use"
        "  WHERE sentence_hash = walk.sentence AND question_id > walk.question_id"
        "  AND id NOT BETWEEN :first AND :last), position + 1"
        f" FROM walk WHERE question_id IS NOT NULL AND position < {MIN_QUESTIONS})"
        " SELECT sentence, question_id FROM walk WHERE question_id IS NOT NULL"
    )


def _insert_uses(
    session: Session,
    texts: Sequence[NewText],
    sentences: Sequence[dict[int, str]],
    settled: set[int],
) -> None:
    rows = [
        (key, new.question_id, new.variant_id, new.answer_id)
        for new, hashes in zip(texts, sentences, strict=True)
        for key in hashes
        if key not in settled
    ]
    session.flush()  # the rows bypass the unit of work, which makes them quick
    columns = ("sentence_hash", "question_id", "variant_id", "answer_id")
    insert_tuples(session, "sentence_use", columns, rows)


def uses_of(session: Session, keys: set[int]) -> list[tuple[int | None, int | None, int]]:
    """Return (id of the reasoning, id of the answer, sentence) for each use of these sentences."""
    uses: list[tuple[int | None, int | None, int]] = []
    for chunk in chunks(sorted(keys), _CHUNK):
        rows = session.execute(
            select(SentenceUse.variant_id, SentenceUse.answer_id, SentenceUse.sentence_hash).where(
                SentenceUse.sentence_hash.in_(chunk)
            )
        )
        uses.extend((variant_id, answer_id, key) for variant_id, answer_id, key in rows)
    return uses
