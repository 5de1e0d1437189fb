"""From the spool to the store: short transactions, nothing to be seen before the last one."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.bulk import driver_time, insert_tuples
from db.database import Database, ShortTransactions
from db.errors import Q2QError, UsageError, require_room
from db.rating.ratings import NewRating, insert_ratings
from db.search import TextKind, add_terms, terms
from db.store.staging import (
    apply_pending,
    apply_some,
    note_side_rows,
    publish,
    reserve,
    side_rows,
    take_back,
)
from db.tables import Tag, utc_now
from serving.importers.plan import DETAILS, ImportPlan, chunks
from serving.importers.spool import Spool, uncollected

_BATCH = 1_000
_GROWTH = 3
"""Bytes that a store grows by for each byte of a spool: texts, search terms, indexes."""
_NEW_FLAG = "coalesce(variant_n, answer_n) > 0"


class StoredIds:
    """The ids that an import's rows have in the store."""

    def __init__(self, first: dict[str, int]) -> None:
        self._first = first

    def of(self, table: str, n: int) -> int:
        """Return the id of the row with a number; a row of the store has its id with a minus."""
        return self._first[table] + n - 1 if n > 0 else -n

    def maybe(self, table: str, n: int | None) -> int | None:
        """Return the same; None for no row."""
        return None if n is None else self.of(table, n)


class Judgements:
    """What an import says of its texts: ratings by one rater, new or known."""

    def __init__(
        self,
        count: int,
        rater: Callable[[Session], int],
        ratings: Callable[[StoredIds, int], Iterable[NewRating]],
    ) -> None:
        self.count, self.rater, self.ratings = count, rater, ratings


class StoreWriter:
    """Writes the plan of an import. Hold the import lock."""

    def __init__(
        self,
        database: Database,
        plan: ImportPlan,
        source: str,
        judgements: Judgements | None = None,
    ) -> None:
        self._database, self._plan, self._source = database, plan, source
        self._judgements = judgements
        self._spool: Spool = plan.spool
        self._n_done = 0
        self._tag_ids: dict[str, int] = {}
        self._rater_id = 0
        self.counts = self._counts()
        self.ids = StoredIds({})
        """Complete once writing has begun."""
        self._now: Any = None

    @property
    def n_rows(self) -> int:
        """Rows to be written."""
        return sum(self.counts.values())

    def write(self, on_written: Callable[[int], None]) -> None:
        """Write everything; ``on_written`` is told how many rows were, now and then.

        Raises:
            Q2QError: It could not be written; then nothing was.
        """
        require_room(self._database.path, _GROWTH * self._spool.n_bytes)
        is_published = False
        try:
            with ShortTransactions(self._database) as short:
                for _ in self._stage(short):
                    on_written(self._n_done)
                publish(short.open())
                apply_some(short.open())
            is_published = True
        except IntegrityError as error:
            raise UsageError(
                "Somebody has added one of these questions to the store while they were being"
                " imported; nothing was imported: import the file again."
            ) from error
        finally:
            if not is_published:
                self._take_back()
        with suppress(KeyboardInterrupt):  # it is imported; the next start would go on with this
            apply_pending(self._database)

    def _take_back(self) -> None:
        self._spool.close()  # a full disk has room again
        try:
            take_back(self._database)
        except Q2QError:
            return  # nobody sees it, and the next import or start removes it

    def _counts(self) -> dict[str, int]:
        count = self._spool.first
        n_questions, n_variants = self._plan.n_questions, self._plan.n_variants
        n_answers = self._plan.n_answers
        found = {
            "question": n_questions,
            "reasoning_variant": n_variants,
            "answer": n_answers,
            "search_text": n_questions + n_variants + n_answers,
            "check_flag": count(f"SELECT count(*) FROM flag WHERE {_NEW_FLAG}"),
            "sentence_use": count("SELECT count(*) FROM sentence"),
            "rating": self._judgements.count if self._judgements else 0,
        }
        return {name: number for name, number in found.items() if number}

    def _stage(self, short: ShortTransactions) -> Iterator[None]:
        ids = self._begin(short.open())
        for work, statement in (
            (self._questions, _QUESTIONS),
            (self._variants, _VARIANTS),
            (self._answers, _ANSWERS),
            (self._flags, f"SELECT * FROM flag WHERE {_NEW_FLAG}"),
            (self._sentences, "SELECT * FROM sentence"),
            (self._known_details, _KNOWN_DETAILS),
            (self._known_tags, "SELECT question_n, name FROM tag WHERE question_n < 0"),
            (self._known_flags, f"SELECT * FROM flag WHERE NOT {_NEW_FLAG}"),
        ):
            n_before = 0
            for rows in self._spool.batches(statement, _BATCH):
                with uncollected():
                    work(short, ids, rows, n_before)
                n_before += len(rows)
                self._n_done += len(rows)
                short.rest()
                yield
        yield from self._ratings(short, ids)

    def _begin(self, session: Session) -> StoredIds:
        before = side_rows(session)
        names = [name for (name,) in self._spool.select("SELECT DISTINCT name FROM tag")]
        self._tag_ids = _tag_ids(session, names)
        if self._judgements is not None:
            self._rater_id = self._judgements.rater(session)
        note_side_rows(session, before)
        self._now = driver_time(session, utc_now())
        self.ids = StoredIds(reserve(session, self.counts, self._rater_id))
        return self.ids

    def _questions(
        self, short: ShortTransactions, ids: StoredIds, rows: Sequence[Any], _: int
    ) -> None:
        first, last = rows[0][0], rows[-1][0]
        new = [
            (
                ids.of("question", n),
                *values,
                None if held_out is None else bool(held_out),
                self._source,
                self._now,
            )
            for n, *values, held_out in rows
        ]
        found = self._spool.select(
            "SELECT question_n, name FROM tag WHERE question_n BETWEEN ? AND ?", (first, last)
        )
        tags = [(ids.of("question", n), self._tag_ids[name]) for n, name in found]
        texts = [(n, f"{text}\n{context}".strip()) for n, _, text, context, *_ in rows]
        searched = self._searched(ids, "question", "question", texts, 0)
        session = short.open()
        insert_tuples(session, "question", _QUESTION_COLUMNS, new)
        insert_tuples(session, "question_tag", ("question_id", "tag_id"), tags)
        add_terms(session, searched)

    def _variants(
        self, short: ShortTransactions, ids: StoredIds, rows: Sequence[Any], _: int
    ) -> None:
        new = [
            (
                ids.of("reasoning_variant", n),
                ids.of("question", question_n),
                content_hash,
                text,
                "imported",
                self._now,
            )
            for n, question_n, content_hash, text in rows
        ]
        texts = [(n, text) for n, _, _, text in rows]
        offset = self._plan.n_questions
        searched = self._searched(ids, "reasoning_variant", "variant", texts, offset)
        session = short.open()
        insert_tuples(session, "reasoning_variant", _VARIANT_COLUMNS, new)
        add_terms(session, searched)

    def _answers(
        self, short: ShortTransactions, ids: StoredIds, rows: Sequence[Any], _: int
    ) -> None:
        new = [
            (
                ids.of("answer", n),
                ids.of("question", question_n),
                ids.maybe("reasoning_variant", variant_n),
                content_hash,
                text,
                "imported",
                self._now,
            )
            for n, question_n, variant_n, content_hash, text in rows
        ]
        texts = [(row[0], row[-1]) for row in rows]
        offset = self._plan.n_questions + self._plan.n_variants
        searched = self._searched(ids, "answer", "answer", texts, offset)
        session = short.open()
        insert_tuples(session, "answer", _ANSWER_COLUMNS, new)
        add_terms(session, searched)

    def _searched(
        self,
        ids: StoredIds,
        table: str,
        kind: TextKind,
        texts: Sequence[tuple[int, str]],
        offset: int,
    ) -> list[tuple[int, TextKind, int, str]]:
        return [
            (ids.of("search_text", offset + n), kind, ids.of(table, n), " ".join(terms(text)))
            for n, text in texts
        ]

    def _flags(
        self, short: ShortTransactions, ids: StoredIds, rows: Sequence[Any], n_before: int
    ) -> None:
        new = [
            (
                ids.of("check_flag", n),
                ids.maybe("reasoning_variant", variant_n),
                ids.maybe("answer", answer_n),
                name,
                detail,
            )
            for n, (variant_n, answer_n, name, detail) in enumerate(rows, n_before + 1)
        ]
        insert_tuples(
            short.open(), "check_flag", ("id", "variant_id", "answer_id", "name", "detail"), new
        )

    def _sentences(
        self, short: ShortTransactions, ids: StoredIds, rows: Sequence[Any], n_before: int
    ) -> None:
        new = [
            (
                ids.of("sentence_use", n),
                key,
                ids.of("question", question_n),
                ids.maybe("reasoning_variant", variant_n),
                ids.maybe("answer", answer_n),
            )
            for n, (key, question_n, variant_n, answer_n) in enumerate(rows, n_before + 1)
        ]
        columns = ("id", "sentence_hash", "question_id", "variant_id", "answer_id")
        insert_tuples(short.open(), "sentence_use", columns, new)

    def _known_details(
        self, short: ShortTransactions, _: StoredIds, rows: Sequence[Any], __: int
    ) -> None:
        self._wait(
            short,
            [
                ("details", -n, {k: v for k, v in zip(DETAILS, values, strict=True) if v})
                for n, *values in rows
            ],
        )

    def _known_tags(
        self, short: ShortTransactions, _: StoredIds, rows: Sequence[Any], __: int
    ) -> None:
        self._wait(short, [("tag", -n, {"tag_id": self._tag_ids[name]}) for n, name in rows])

    def _known_flags(
        self, short: ShortTransactions, _: StoredIds, rows: Sequence[Any], __: int
    ) -> None:
        self._wait(
            short,
            [
                (
                    "answer_flag" if variant_n is None else "variant_flag",
                    -(answer_n if variant_n is None else variant_n),
                    {"name": name, "detail": detail},
                )
                for variant_n, answer_n, name, detail in rows
            ],
        )

    def _wait(
        self, short: ShortTransactions, changes: Sequence[tuple[str, int, dict[str, Any]]]
    ) -> None:
        rows = [(kind, row_id, json.dumps(payload)) for kind, row_id, payload in changes]
        insert_tuples(short.open(), "pending_change", ("kind", "row_id", "payload"), rows)

    def _ratings(self, short: ShortTransactions, ids: StoredIds) -> Iterator[None]:
        if self._judgements is None:
            return
        n_before = 0
        for some in chunks(self._judgements.ratings(ids, self._rater_id), _BATCH):
            insert_ratings(short.open(), some, first_id=ids.of("rating", n_before + 1))
            n_before += len(some)
            self._n_done += len(some)
            short.rest()
            yield


def _tag_ids(session: Session, names: Iterable[str]) -> dict[str, int]:
    """Return the id of each tag; tags that are new are made."""
    ids: dict[str, int] = {}
    for chunk in chunks(names):
        known = select(Tag.name, Tag.id).where(Tag.name.in_(chunk))
        ids |= dict(session.execute(known).all())
        missing = [{"name": name} for name in chunk if name not in ids]
        if missing:
            made = session.execute(insert(Tag).returning(Tag.name, Tag.id), missing)
            ids |= dict(made.all())
    return ids


_QUESTIONS = """
SELECT n, content_hash, text, context, role, reference_answer, category, language, external_id,
    held_out
FROM question WHERE n > 0 ORDER BY n
"""
_QUESTION_COLUMNS = (
    *("id", "content_hash", "text", "context", "role", "reference_answer", "category", "language"),
    *("external_id", "held_out", "source", "created_at"),
)
_VARIANTS = "SELECT n, question_n, content_hash, text FROM variant ORDER BY n"
_VARIANT_COLUMNS = ("id", "question_id", "content_hash", "text", "source", "created_at")
_ANSWERS = "SELECT n, question_n, variant_n, content_hash, text FROM answer ORDER BY n"
_ANSWER_COLUMNS = (
    *("id", "question_id", "variant_id", "content_hash", "text", "source", "created_at"),
)
_KNOWN_DETAILS = (
    f"SELECT n, {', '.join(DETAILS)} FROM question WHERE n < 0 AND gains ORDER BY position"
)
