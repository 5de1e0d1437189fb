"""Full-text search in any language: words, and pairs of characters where words have no spaces.

Terms are made here, so that SQLite's FTS5 and PostgreSQL's ``simple`` configuration index the
same: words in lower case, and the overlapping pairs of each run of Japanese, Chinese, Korean or
Thai. A run ends with its last character alone; hence every character begins exactly one term,
and a query of one character is a query for terms that begin with it.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Integer, bindparam, func, select, text
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import TextualSelect

from db.bulk import insert_tuples
from db.tables.work import hidden

TextKind = Literal["question", "variant", "answer"]

EVERY_HIT = 2**31 - 1
"""No store holds more texts."""
MAX_TERMS = 10_000
"""Terms kept of one text; PostgreSQL holds at most 1 MiB of them."""
MAX_WORD = 24
"""Characters kept of one word."""

# Scripts written without spaces: kana, Han, bopomofo, Hangul, Thai, Lao, Burmese, Khmer.
_UNSPACED = (
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff\u3105-\u312f\u1100-\u11ff\uac00-\ud7af"
    "\u0e01-\u0e3a\u0e40-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3"
)
# Vowel signs and accents that belong to the word they stand in, though they are no letters.
_MARKS = "\u0300-\u036f\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
# What Unicode calls default ignorable: variation selectors, joiners, soft hyphens, direction marks.
# They are not seen and must not part a word; who types the word does not type them.
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_TERM = re.compile(f"([{_UNSPACED}]+)|((?:[^\\W_{_UNSPACED}]|[{_MARKS}])+)")

_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}


@dataclass(frozen=True, slots=True)
class _Phrase:
    """Terms that must follow each other; the last may be the beginning of a longer one."""

    terms: tuple[str, ...]
    is_open: bool


def terms(value: str) -> list[str]:
    """Return the search terms of a text in their order."""
    if value.isascii():  # several times faster; most texts
        return [word[:MAX_WORD] for word in value.translate(_ASCII).split()][:MAX_TERMS]
    found: list[str] = []
    for match in _TERM.finditer(_folded(value)):
        run, word = match.groups()
        found.extend(_pairs(run) if run else (word[:MAX_WORD],))
        if len(found) >= MAX_TERMS:
            break
    return found[:MAX_TERMS]


def index_texts(session: Session, kind: TextKind, rows: Iterable[tuple[int, str]]) -> None:
    """Make texts findable, given as (id, text); indexing one again changes nothing."""
    values = [(kind, text_id, " ".join(terms(value))) for text_id, value in rows]
    insert_tuples(session, "search_text", ("kind", "text_id", "terms"), values, _INDEX_AGAIN)


def add_terms(session: Session, rows: Sequence[tuple[int, TextKind, int, str]]) -> None:
    """Add search texts whose ids an import keeps, given as (id, kind, id of the text, terms).

    Call it last in a transaction: FTS5 writes what it has gathered before each other statement.
    """
    insert_tuples(session, "search_text", ("id", "kind", "text_id", "terms"), rows)
    if session.get_bind().dialect.name == "sqlite":
        columns = ("rowid", "kind", "terms")
        insert_tuples(session, "search_index", columns, [(row[0], row[1], row[3]) for row in rows])


def search_ids(session: Session, kind: TextKind, query: str, limit: int = EVERY_HIT) -> list[int]:
    """Return ids of the texts of ``kind`` that hold all of ``query``, newest first.

    Anything may be typed: signs are ignored, and what holds no word finds nothing.
    """
    found = matching(session, kind, query, limit)
    return [] if found is None else list(session.scalars(found))


def matching(
    session: Session, kind: TextKind, query: str, limit: int | None = None
) -> TextualSelect | None:
    """Return the select of the ids of such texts, in any order; None if it can find nothing.

    Args:
        session: Of the store to be searched; what nobody may see yet is not found.
        kind: Which texts.
        query: What was typed.
        limit: Only so many, the newest, in this order. It saves time where nothing else narrows
            the list; other conditions must see every hit, or they lose those beyond it.
    """
    phrases = _phrases(query)
    if not phrases:
        return None
    if session.get_bind().dialect.name == "sqlite":
        sought = f"kind : {kind} AND terms : ({_fts5(phrases)})"
        values: dict[str, str | int] = {"sought": sought}
        clause, newest = _FTS5, "f.rowid"
    else:
        values = {"kind": kind, "sought": _tsquery(phrases)}
        clause, newest = _TSQUERY, "id"
    if unseen := hidden(session).get("search_text"):
        values["first"], values["last"] = unseen
        clause += f" AND {newest} NOT BETWEEN :first AND :last"
    if limit is not None:
        values["limit"] = limit
        clause += f" ORDER BY {newest} DESC LIMIT :limit"
    # Unique names: one statement may search for two kinds.
    return (
        text(clause)
        .bindparams(*[bindparam(name, values[name], unique=True) for name in values])
        .columns(text_id=Integer)
    )


def has_more_hits(session: Session, kind: TextKind, query: str, limit: int) -> bool:
    """Return whether more than ``limit`` texts of ``kind`` hold all of ``query``."""
    found = matching(session, kind, query, limit + 1)
    if found is None:
        return False
    n_hits = session.scalar(select(func.count()).select_from(found.subquery()))
    return (n_hits or 0) > limit


def _folded(value: str) -> str:
    """Return ``value`` with full-width, half-width and capital forms made one, nothing unseen."""
    return unicodedata.normalize("NFKC", UNSEEN.sub("", value)).casefold()


def _pairs(run: str) -> list[str]:
    return [run[start : start + 2] for start in range(len(run))]


def _phrases(query: str) -> list[_Phrase]:
    """Return one phrase for each part of ``query`` between spaces."""
    found: list[_Phrase] = []
    parts = _folded(query).split()
    for part in parts:
        matches = list(_TERM.finditer(part))
        if not matches:
            continue
        phrase: list[str] = []
        for match in matches:
            run, word = match.groups()
            phrase.extend(_pairs(run) if run else (word[:MAX_WORD],))
        run = matches[-1][1]
        if run and len(run) > 1:
            phrase.pop()  # the text may go on after the last character
        is_typed = not run and part is parts[-1]  # a word that may still be being typed
        found.append(_Phrase(tuple(phrase), is_open=is_typed or len(run or "") == 1))
    return found


def _fts5(phrases: list[_Phrase]) -> str:
    """Return the phrases in FTS5's language; terms hold no sign that means anything there."""
    return " AND ".join(
        '"' + " ".join(phrase.terms) + '"' + ("*" if phrase.is_open else "") for phrase in phrases
    )


def _tsquery(phrases: list[_Phrase]) -> str:
    """Return the phrases in the language of ``to_tsquery``."""
    return " & ".join(
        "(" + " <-> ".join(f"'{term}'" for term in phrase.terms) + (":*" * phrase.is_open) + ")"
        for phrase in phrases
    )


_INDEX_AGAIN = (
    " ON CONFLICT (kind, text_id) DO UPDATE SET terms = excluded.terms"
    " WHERE search_text.terms <> excluded.terms"
)

_FTS5 = (
    "SELECT s.text_id FROM search_index f JOIN search_text s ON s.id = f.rowid"
    " WHERE search_index MATCH :sought"
)

_TSQUERY = (
    "SELECT text_id FROM search_text WHERE kind = :kind"
    " AND search_vector @@ to_tsquery('simple', :sought)"
)
