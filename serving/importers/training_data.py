"""Training examples to the store: what an import would bring, and the import, whole or not at all.

A row becomes a question with an imported reasoning and answer; a pair becomes a comparison that the
better text won; OK and not OK become ratings. Rules of datasets take them as they take others.

Two rules need all rows of all files: a raw prompt is parted where its question is known with a
context, and a held-out row is refused where its question trains as well. So rows wait in the spool.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.database import Database
from db.identity import question_hash, short_hash, text_hash
from db.rating.ratings import ensure_model_rater, ensure_rater, stored_name
from db.store.staging import import_lock, tidy_alone
from db.tables import Question, Rating
from serving.importers.plan import ImportPlan, imported_texts
from serving.importers.questions import (
    OnProgress,
    no_progress,
    read_files,
    refuse_problems,
    write_plan,
)
from serving.importers.source import ImportFile, ImportRow, Problem
from serving.importers.spool import BATCH, Spool, uncollected

_NOTHING_DONE = "Nothing was imported: correct the data, or import it without the rows named here."
_TRAINS_ALREADY = (
    "is held out in these files, and the store knows its question as one that may train; remove the"
    " row."
)
_BORDER = "\n\n"
_MAX_BORDERS = 20
"""A text of more paragraphs is looked at up to here."""

JudgedBy = Literal["person", "model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Who is to have said what pairs and labels say."""

    name: str = "imported"
    kind: JudgedBy = "person"

    def rater(self, session: Session) -> int:
        """Return the id of the judge as a rater, known or new.

        Raises:
            UsageError: The name cannot be one, or is taken by another kind of rater.
        """
        if self.kind == "model":
            return ensure_model_rater(session, self.name)
        return ensure_rater(session, self.name)

    def card(self, row: ImportRow) -> str:
        """Return what stands for a judgement: who said what of which words."""
        rows = [one for one in (row, row.rejected) if one is not None]
        words = [text_hash(text or "") for one in rows for text in (one.reasoning, one.output)]
        facts = (stored_name(self.name), row.scope, str(row.label), _hash(row), *words)
        return f"import-{short_hash(*facts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleCounts:
    """What an import brings that the store does not have; ``rows`` and below count the files."""

    questions: int = 0
    reasonings: int = 0
    answers: int = 0
    comparisons: int = 0
    labels: int = 0
    """OK and not OK."""
    rows: int = 0
    """Rows that were understood."""
    held_out: int = 0
    """Of these, rows whose question never trains."""
    pairs: int = 0
    """Of these, rows with a better and a worse text."""
    judged: int = 0
    """Of these, rows with OK or not OK."""
    left_out: int = 0
    """Rows that are of no kind that is imported; the notes say which."""
    errors: int = 0

    @property
    def brings(self) -> int:
        """How much is new."""
        return self.questions + self.reasonings + self.answers + self.comparisons + self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplePreview:
    """What an import would do."""

    counts: ExampleCounts
    sample: tuple[ImportRow, ...]
    """The first rows."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def preview_examples(
    database: Database,
    files: Sequence[ImportFile],
    judge: Judge,
    *,
    n_sample: int = 200,
    on_progress: OnProgress = no_progress,
) -> ExamplePreview:
    """Return what importing these files would bring; writes nothing."""
    with Spool(database) as spool:
        plan = ImportPlan(database, spool, held_out_conflict=(None, _TRAINS_ALREADY))
        return _Examples(database, plan, judge, n_sample).read(files, on_progress)


def import_examples(
    database: Database,
    files: Sequence[ImportFile],
    *,
    judge: Judge,
    tags: Iterable[str] = (),
    skip_errors: bool = False,
    on_progress: OnProgress = no_progress,
) -> ExamplePreview:
    """Import training examples, all of them at once or none; return what that brought.

    They are written as ``import_questions`` writes. The same files again bring nothing.

    Raises:
        ImportRefused: There are problems and ``skip_errors`` is not set. Nothing was written.
        ImportRuns: Another import is under way.
        UsageError: The judge's name cannot be one.
    """
    with import_lock(database), Spool(database) as spool:
        tidy_alone(database)
        conflict = (None, _TRAINS_ALREADY)
        plan = ImportPlan(database, spool, extra_tags=tags, held_out_conflict=conflict)
        done = _Examples(database, plan, judge).read(files, on_progress)
        refuse_problems(done.problems, _NOTHING_DONE, skip_errors=skip_errors)
        _add_judged_texts(database, spool)
        write_plan(database, plan, on_progress, rater=judge.rater)
        return done


class _Examples:
    """The rows of a training set on their way into a plan, with what was judged of them."""

    def __init__(
        self, database: Database, plan: ImportPlan, judge: Judge, n_sample: int = 0
    ) -> None:
        self._database, self._plan, self._judge = database, plan, judge
        self._spool = plan.spool
        self._n_sample = n_sample
        self._sample: list[ImportRow] = []
        self._counts: Counter[str] = Counter()

    def read(self, files: Sequence[ImportFile], on_progress: OnProgress) -> ExamplePreview:
        """Take all rows of ``files`` into the plan; return what they bring."""
        for number, file in enumerate(files):
            self._stage(number, file, on_progress)
        self._part_known_contexts()
        notes: list[str] = []
        for number, file in enumerate(files):
            planned = replace(file, rows=self._staged(number, file, files), total=0)
            read_files(self._plan, [planned], on_progress)
            notes += [f"{file.name}: {note}" if len(files) > 1 else note for note in file.notes]
        plan = self._plan
        judged = "SELECT count(*) FROM judgement WHERE is_pair = ?"
        counts = ExampleCounts(
            questions=plan.n_questions,
            reasonings=plan.n_variants,
            answers=plan.n_answers,
            comparisons=self._spool.first(judged, (True,)),
            labels=self._spool.first(judged, (False,)),
            left_out=sum(file.left_out.total() for file in files),
            errors=plan.n_errors,
            **self._counts,
        )
        return ExamplePreview(
            counts=counts,
            sample=tuple(self._sample),
            problems=tuple(plan.problems),
            notes=tuple(notes),
        )

    def _stage(self, number: int, file: ImportFile, on_progress: OnProgress) -> None:
        """Put the rows of a file into the spool."""
        for n_batch, rows in enumerate(_uncollected(chunks(file.rows, BATCH)), start=1):
            places = ((number, row.line, _hash(row)) for row in rows)
            kinds = ((bool(row.held_out), row.is_raw, _dumped(row)) for row in rows)
            staged = [(None, *place, *kind) for place, kind in zip(places, kinds, strict=True)]
            self._spool.insert("staged", staged)
            borders = [(key,) for row in rows if row.is_raw for key in _partings(row)]
            self._spool.insert("border", borders)
            if file.total:
                on_progress("reading", file.done, file.total)
            else:
                on_progress("reading", n_batch * BATCH, 0)

    def _part_known_contexts(self) -> None:
        """Give back their contexts to raw prompts, where files or store have the question with one.

        A chat prompt without a reasoning is the question and its context with a blank line between
        them; nothing else can tell it from a question of two paragraphs.
        """
        known = {key for (key,) in self._spool.select(_KNOWN_BORDERS)}
        for rows in self._spool.batches("SELECT content_hash FROM border"):
            keys = [key for (key,) in rows]
            found = select(Question.content_hash).where(Question.content_hash.in_(keys))
            with self._database.read() as session:
                known.update(session.scalars(found))
        if not known:
            return
        raw = "SELECT n, row FROM staged WHERE is_raw AND n > ? ORDER BY n LIMIT ?"
        last = 0
        while rows := list(self._spool.select(raw, (last, BATCH))):
            last = rows[-1][0]
            parted = ((n, _parted(_loaded(data), known)) for n, data in rows)
            changed = [(_dumped(row), _hash(row), n) for n, row in parted if row is not None]
            self._spool.change("UPDATE staged SET row = ?, content_hash = ? WHERE n = ?", changed)

    def _staged(
        self, number: int, file: ImportFile, files: Sequence[ImportFile]
    ) -> Iterator[ImportRow]:
        """Yield the rows of a file, the worse texts of a pair as a row of their own."""
        for some in self._spool.batches(_STAGED, (number,)):
            rows = []
            for data, train_file_n, train_line in some:
                row = _loaded(data)
                if train_file_n is None:
                    rows.append(row)
                    continue
                train = files[train_file_n]
                place = f"{train.name}, {train.unit} {train_line}"
                what = f"is held out, and its question also trains ({place}); take one out."
                file.refuse(row.line, None, what)
            self._note(file, rows)
            for row in rows:
                yield row
                if row.rejected is not None:
                    yield row.rejected

    def _note(self, file: ImportFile, rows: Sequence[ImportRow]) -> None:
        """Count rows, and note what is judged of them and not in the store yet."""
        self._sample += rows[: self._n_sample - len(self._sample)]
        self._counts["rows"] += len(rows)
        self._counts["held_out"] += sum(bool(row.held_out) for row in rows)
        self._counts["pairs"] += sum(row.rejected is not None for row in rows)
        self._counts["judged"] += sum(row.label is not None for row in rows)
        cards = {self._judge.card(row): row for row in rows if row.is_judged}
        if not cards:
            return
        with self._database.read() as session:
            for card in session.scalars(select(Rating.card_id).where(Rating.card_id.in_(cards))):
                del cards[card]
        judged = [_judgement(card, row, Path(file.name).name) for card, row in cards.items()]
        self._spool.insert("judgement", judged)


_KNOWN_BORDERS = """
SELECT content_hash FROM border
WHERE content_hash IN (SELECT content_hash FROM staged WHERE NOT is_raw)
"""
_STAGED = """
SELECT s.row, t.file_n, t.line FROM staged s LEFT JOIN staged t ON t.n = (
    SELECT min(n) FROM staged WHERE content_hash = s.content_hash AND NOT held_out
) AND s.held_out WHERE s.file_n = ? ORDER BY s.n
"""
"""Rows of a file; held-out ones with the place where their question trains."""


def _hash(row: ImportRow) -> str:
    return question_hash(row.text, row.context, row.role)


_NAMES = tuple(one.name for one in fields(ImportRow) if one.name not in ("tags", "rejected"))
_values_of = attrgetter(*_NAMES)


def _dumped(row: ImportRow) -> str:
    worse = row.rejected and (row.rejected.reasoning, row.rejected.output)
    return json.dumps([row.tags, worse, *_values_of(row)])


def _loaded(data: str) -> ImportRow:
    tags, worse, *values = json.loads(data)
    row = ImportRow(**dict(zip(_NAMES, values, strict=True)), tags=tuple(tags))
    if worse is not None:
        row.rejected = replace(row, reasoning=worse[0], output=worse[1])
    return row


def _judgement(card: str, row: ImportRow, file: str) -> tuple[object, ...]:
    worse = _text_hashes(row.rejected) if row.rejected is not None else (None, None)
    facts = (card, _hash(row), row.scope, row.label, file)
    return (None, *facts, *_text_hashes(row), row.rejected is not None, *worse)


def _text_hashes(row: ImportRow) -> tuple[str | None, str | None]:
    texts = (row.reasoning, row.output)
    variant, answer = (None if text is None else text_hash(text) for text in texts)
    return variant, answer


def _partings(row: ImportRow) -> dict[str, tuple[str, str]]:
    """Return the hash of each question that a text may be, with its text and context."""
    parts = row.text.split(_BORDER)
    found = {}
    for place in range(1, min(len(parts), _MAX_BORDERS)):
        text, context = _BORDER.join(parts[:place]), _BORDER.join(parts[place:])
        found[question_hash(text, context, row.role)] = (text, context)
    return found


def _parted(row: ImportRow, known: set[str]) -> ImportRow | None:
    """Return a raw row with its question and context apart; None where neither is known."""
    found = next((parts for key, parts in _partings(row).items() if key in known), None)
    if found is None:
        return None
    text, context = found
    worse = row.rejected and replace(row.rejected, text=text, context=context)
    return replace(row, text=text, context=context, rejected=worse, is_raw=False)


def _uncollected(batches: Iterator[list[ImportRow]]) -> Iterator[list[ImportRow]]:
    while True:
        with uncollected():
            if (rows := next(batches, None)) is None:
                return
        yield rows


def _add_judged_texts(database: Database, spool: Spool) -> None:
    """Add the texts of judged questions that the store has to ``spool``, by their negated ids."""
    for rows in spool.batches(_JUDGED_KNOWN):
        with database.read() as session:
            variants, answers = imported_texts(session, [-n for (n,) in rows])
        spool.insert("variant", [(-n, -question, key, None) for n, question, key in variants])
        spool.insert(
            "answer",
            [
                (-n, -question, variant and -variant, None, key, None)
                for n, question, variant, key in answers
            ],
        )


_JUDGED_KNOWN = """
SELECT DISTINCT q.n FROM judgement j JOIN question q ON q.content_hash = j.question_hash
WHERE q.n < 0
"""
