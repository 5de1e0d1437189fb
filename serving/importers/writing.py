"""From the spool to the store: short transactions, nothing to be seen before the last one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.bulk import chunks, driver_time, insert_tuples
from db.database import Database, ShortTransactions
from db.errors import Q2QError, UsageError, require_room
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
from serving.importers.plan import DETAILS, ImportPlan
from serving.importers.spool import uncollected

_BATCH = 1_000
_GROWTH = 3
"""Bytes that a store grows by for each byte of a spool: texts, search terms, indexes."""
_NEW_FLAG = "coalesce(variant_n, answer_n) > 0"
FirstIds = dict[str, int]
"""Table → the id that the import's first row in it gets."""


@dataclass(frozen=True, slots=True)
class _Step:
    """Rows of one table: what selects them from the spool, as the store takes them."""

    table: str
    columns: tuple[str, ...]
    select: str
    constants: tuple[Any, ...] = ()
    """Values of the last columns."""
    searched: TextKind | None = None
    """Its rows are found by their ``text`` (and ``context``)."""
    n_searched_before: int = 0


class StoreWriter:
    """Writes the plan of an import. Hold the import lock."""

    def __init__(
        self,
        database: Database,
        plan: ImportPlan,
        source: str,
        rater: Callable[[Session], int] | None = None,
    ) -> None:
        """``rater`` finds or makes who judged, where the plan holds judgements."""
        self._database, self._plan, self._source = database, plan, source
        self._spool = plan.spool
        self._rater = rater
        self._first: FirstIds = {}
        self._n_done = 0
        self.counts = self._counts()

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
                for step in self._begin(short.open()):
                    for _ in self._run(short, step):
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

    def question_ids(self) -> Iterator[int]:
        """Return the ids of the questions of the files, new and known, in their order."""
        found = f"SELECT {self._id('question', 'n')} FROM question ORDER BY position"
        return (question_id for (question_id,) in self._spool.select(found))

    def _take_back(self) -> None:
        self._spool.close()  # a full disk has room again
        with suppress(Q2QError):  # nobody sees it, and the next import or start removes it
            take_back(self._database)

    def _counts(self) -> dict[str, int]:
        count, plan = self._spool.first, self._plan
        found = {
            "question": plan.n_questions,
            "reasoning_variant": plan.n_variants,
            "answer": plan.n_answers,
            "search_text": plan.n_questions + plan.n_variants + plan.n_answers,
            "check_flag": count("SELECT max(rowid) FROM flag"),
            "sentence_use": count("SELECT max(rowid) FROM sentence"),
            "rating": count("SELECT max(n) FROM judgement"),
        }
        return {name: number for name, number in found.items() if number}

    def _begin(self, session: Session) -> list[_Step]:
        """Keep the ids of the import; return what is to be written."""
        before = side_rows(session)
        names = [name for (name,) in self._spool.select("SELECT DISTINCT name FROM tag")]
        self._spool.insert("tag_id", list(_tag_ids(session, names).items()))
        is_judged = self._rater is not None and "rating" in self.counts
        rater_id = self._rater(session) if self._rater is not None and is_judged else None
        note_side_rows(session, before)
        now = driver_time(session, utc_now())
        self._first = reserve(session, self.counts, rater_id)
        steps = [*self._new_texts(now), *self._findings(), *self._changes()]
        return [*steps, self._ratings(rater_id, now)] if is_judged else steps

    def _run(self, short: ShortTransactions, step: _Step) -> Iterator[None]:
        for rows in self._spool.batches(step.select, size=_BATCH):
            with uncollected():
                found = _searched(step, rows, self._first)
                new = [(*row, *step.constants) for row in rows] if step.constants else rows
                session = short.open()
                insert_tuples(session, step.table, step.columns, new)
                if found:
                    add_terms(session, found)
            self._n_done += len(rows)
            short.rest()
            yield

    def _new_texts(self, now: Any) -> Iterator[_Step]:
        n_questions = self._plan.n_questions
        asked_id = self._id("question", "question_n")
        asked = ("content_hash", "text", "context", "role", *DETAILS)
        for value, held_out in (("IS NULL", None), ("= 1", True), ("= 0", False)):
            yield _Step(
                "question",
                ("id", *asked, "held_out", "source", "created_at"),
                f"SELECT {self._id('question', 'n')}, {', '.join(asked)} FROM question"
                f" WHERE n > 0 AND held_out {value} ORDER BY n",
                (held_out, self._source, now),
                "question",
            )
        yield _Step(
            "question_tag",
            ("question_id", "tag_id"),
            f"SELECT {asked_id}, id FROM tag JOIN tag_id USING (name) WHERE question_n > 0",
        )
        yield _Step(
            "reasoning_variant",
            ("id", "question_id", "content_hash", "text", "source", "created_at"),
            f"SELECT {self._id('reasoning_variant', 'n')}, {asked_id}, content_hash, text"
            " FROM variant WHERE n > 0 ORDER BY n",
            ("imported", now),
            "variant",
            n_questions,
        )
        variant_id = self._id("reasoning_variant", "variant_n")
        yield _Step(
            "answer",
            ("id", "question_id", "content_hash", "text", "variant_id", "source", "created_at"),
            f"SELECT {self._id('answer', 'n')}, {asked_id}, content_hash, text, {variant_id}"
            " FROM answer WHERE n > 0 ORDER BY n",
            ("imported", now),
            "answer",
            n_questions + self._plan.n_variants,
        )

    def _findings(self) -> Iterator[_Step]:
        texts = f"{self._id('reasoning_variant', 'variant_n')}, {self._id('answer', 'answer_n')}"
        yield _Step(
            "check_flag",
            ("id", "variant_id", "answer_id", "name", "detail"),
            f"SELECT {self._id('check_flag', 'rowid')}, {texts}, name, detail"
            f" FROM flag WHERE {_NEW_FLAG}",
        )
        asked = self._id("question", "question_n")
        yield _Step(
            "sentence_use",
            ("id", "sentence_hash", "question_id", "variant_id", "answer_id"),
            f"SELECT {self._id('sentence_use', 'rowid')}, sentence_hash, {asked}, {texts}"
            " FROM sentence",
        )

    def _changes(self) -> Iterator[_Step]:
        """Yield what texts of the store gain, which waits for the publication."""
        details = ", ".join(f"'{name}', nullif({name}, '')" for name in DETAILS)
        for rows in (
            # a merge patch holds no null
            f"SELECT 'details', -n, json_patch('{{}}', json_object({details})) FROM question"
            " WHERE n < 0 AND gains ORDER BY position",
            "SELECT 'tag', -question_n, json_object('tag_id', id) FROM tag JOIN tag_id USING (name)"
            " WHERE question_n < 0",
            "SELECT iif(variant_n IS NULL, 'answer_flag', 'variant_flag'),"
            " -coalesce(variant_n, answer_n), json_object('name', name, 'detail', detail)"
            f" FROM flag WHERE NOT {_NEW_FLAG}",
        ):
            yield _Step("pending_change", ("kind", "row_id", "payload"), rows)

    def _ratings(self, rater_id: int | None, now: Any) -> _Step:
        """Return what was judged of texts that are stored; not blind, as nobody knows."""
        ids = ", ".join(
            self._id(table, column)
            for table, column in (
                ("rating", "judgement_n"),
                ("question", "question_n"),
                ("reasoning_variant", "variant_n"),
                ("answer", "answer_n"),
                ("question", "iif(is_pair, question_n, NULL)"),
                ("reasoning_variant", "worse_variant_n"),
                ("answer", "worse_answer_n"),
            )
        )
        return _Step(
            "rating",
            (
                *("id", "question_id", "variant_id", "answer_id"),
                *("other_question_id", "other_variant_id", "other_answer_id"),
                *("scope", "axis", "value", "outcome", "sampler", "card_id"),
                *("rater_id", "blind", "answer_seen", "created_at"),
            ),
            f"SELECT {ids}, scope, iif(is_pair, 'preference', 'ok'),"
            " iif(is_pair, NULL, CAST(label AS REAL)), iif(is_pair, 'a', NULL),"
            f" 'import ' || file, card FROM ({_JUDGED_TEXTS}) ORDER BY judgement_n",
            (rater_id, False, False, now),
        )

    def _id(self, table: str, number: str) -> str:
        """Return the expression of a row's id; of one of the store, its number is that, negated."""
        before = self._first.get(table, 1) - 1
        return f"CASE WHEN {number} < 0 THEN -{number} ELSE {before} + {number} END"


def _searched(
    step: _Step, rows: Sequence[Any], first: FirstIds
) -> list[tuple[int, TextKind, int, str]]:
    """Return the search texts of new rows, whose ids follow each other as theirs do."""
    if step.searched is None:
        return []
    places = [step.columns.index(name) for name in ("text", "context") if name in step.columns]
    offset = first["search_text"] + step.n_searched_before - first[step.table]
    return [
        (offset + row[0], step.searched, row[0], " ".join(terms("\n".join(row[i] for i in places))))
        for row in rows
    ]


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


_JUDGED_TEXTS = """
SELECT j.n AS judgement_n, j.card, j.scope, j.label, j.file, j.is_pair, q.n AS question_n,
    v.n AS variant_n, a.n AS answer_n, w.n AS worse_variant_n, b.n AS worse_answer_n
FROM judgement j JOIN question q ON q.content_hash = j.question_hash
LEFT JOIN variant v ON v.question_n = q.n AND v.content_hash = j.variant_hash
LEFT JOIN answer a ON a.question_n = q.n AND a.variant_n IS v.n
    AND a.content_hash = j.answer_hash AND j.scope <> 'reasoning'
LEFT JOIN variant w ON w.question_n = q.n AND w.content_hash = j.worse_variant_hash
LEFT JOIN answer b ON b.question_n = q.n AND b.variant_n IS w.n
    AND b.content_hash = j.worse_answer_hash AND j.scope <> 'reasoning'
WHERE (v.n IS NULL) = (j.variant_hash IS NULL) AND (a.n IS NULL) = (j.scope = 'reasoning')
    AND (w.n IS NULL) = (j.worse_variant_hash IS NULL)
    AND (NOT j.is_pair OR (b.n IS NULL) = (j.scope = 'reasoning'))
"""
"""Judgements whose texts are there; those of rows with a problem are not."""
