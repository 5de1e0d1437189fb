"""What an import would change: its rows compared with each other and with the store, in a spool."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from db.database import Database
from db.identity import question_hash, text_hash
from serving.importers.changes import (
    DETAILS,
    AnswerKey,
    QuestionChange,
    add_stored_facts,
    chunks,
    conflict_of,
    merge,
    stored_questions,
)
from serving.importers.rows import ImportRow
from serving.importers.source import Problem, problem_at
from serving.importers.spool import BATCH, Spool, uncollected

Outcome = Literal["added", "updated", "skipped"]


class RowFile(Protocol):
    """A file of questions; problems and notes are complete once all rows were taken."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def unit(self) -> str:
        """What its lines are called."""
        ...

    @property
    def rows(self) -> Iterable[ImportRow]:
        """Its good rows."""
        ...

    @property
    def problems(self) -> Sequence[Problem]:
        """What is wrong with the others."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the reader did without being asked."""
        ...


@dataclass(slots=True)
class _Batch:
    """Rows for the tables of the spool."""

    questions: list[tuple[object, ...]] = field(default_factory=list)
    gained: list[tuple[object, ...]] = field(default_factory=list)
    tags: list[tuple[int, str]] = field(default_factory=list)
    variants: list[tuple[object, ...]] = field(default_factory=list)
    answers: list[tuple[object, ...]] = field(default_factory=list)

    def write(self, spool: Spool) -> None:
        """Put everything into the spool."""
        spool.insert("question", self.questions)
        spool.change(
            "UPDATE question SET reference_answer = ?, category = ?, language = ?,"
            " external_id = ?, gains = 1 WHERE n = ?",
            self.gained,
        )
        spool.insert("tag", self.tags)
        spool.insert("variant", self.variants)
        spool.insert("answer", self.answers)


class ImportPlan:
    """All changes of some files, in the order of their rows, in a spool."""

    def __init__(
        self,
        database: Database,
        spool: Spool,
        *,
        extra_tags: Iterable[str] = (),
        n_sample: int = 0,
    ) -> None:
        self.spool = spool
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.outcomes: Counter[Outcome] = Counter()
        self.sample: list[tuple[ImportRow, Outcome]] = []
        """The first rows and what would become of them."""
        self.n_questions = self.n_variants = self.n_answers = 0
        """New ones."""
        self.n_errors = 0
        """Rows that have problems; a problem of a whole file counts as one."""
        self._n_positions = 0
        self._n_sample = n_sample
        self._database = database
        self._extra = tuple(dict.fromkeys(extra_tags))

    def add(self, file: RowFile) -> Iterator[int]:
        """Take all rows of a file; yields how many were taken, from time to time."""
        own: list[Problem] = []
        n_rows = 0
        batches = chunks(file.rows, BATCH)
        while True:
            with uncollected():
                rows = next(batches, None)
                if rows is None:
                    break
                self._add_rows(file, rows, own)
            n_rows += len(rows)
            yield n_rows
        own = [*file.problems, *own]
        lines = [problem.line for problem in own]
        self.n_errors += len({line for line in lines if line is not None}) + lines.count(None)
        self.problems += own
        self.notes += file.notes

    def _add_rows(self, file: RowFile, rows: Sequence[ImportRow], own: list[Problem]) -> None:
        hashes = [question_hash(row.text, row.context, row.role) for row in rows]
        known = self._known(set(hashes))
        n_times = Counter(hashes)
        touched: dict[str, QuestionChange] = {}
        batch = _Batch()
        for row, content_hash in zip(rows, hashes, strict=True):
            change = known.get(content_hash)
            if change is None and n_times[content_hash] == 1:  # most rows of most files
                self._put_new(batch, row, content_hash)
                self._count(row, "added")
                continue
            is_new = change is None
            if change is None:
                change = known[content_hash] = self._new_change(row, content_hash)
            if conflict := conflict_of(change, row):
                own.append(problem_at(file.name, file.unit, row.line, *conflict))
                continue
            if change.is_new and content_hash not in touched:
                change.position = self._next_position()
            touched[content_hash] = change
            is_changed = merge(change, row, (*row.tags, *self._extra))
            self._count(row, "added" if is_new else "updated" if is_changed else "skipped")
        for change in touched.values():
            self._put_change(batch, change)
        batch.write(self.spool)

    def _count(self, row: ImportRow, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
        if len(self.sample) < self._n_sample:
            self.sample.append((row, outcome))

    def _next_position(self) -> int:
        self._n_positions += 1
        return self._n_positions

    def _put_new(self, batch: _Batch, row: ImportRow, content_hash: str) -> None:
        """Add a question that comes once in its batch, and what comes with it."""
        n = self.n_questions = self.n_questions + 1
        asked = (n, self._next_position(), content_hash, row.text, row.context, row.role)
        details = (row.reference_answer, row.category, row.language, row.external_id)
        batch.questions.append((*asked, *details, row.held_out, False))
        if row.tags or self._extra:
            batch.tags += [(n, name) for name in dict.fromkeys((*row.tags, *self._extra))]
        variant_n: int | None = None
        variant_hash: str | None = None
        if row.reasoning:
            variant_hash = text_hash(row.reasoning)
            variant_n = self._put_variant(batch, n, variant_hash, row.reasoning)
        if row.output:
            key = (variant_hash, text_hash(row.output))
            self._put_answer(batch, n, variant_n, key, row.output)

    def _put_variant(self, batch: _Batch, question_n: int, content_hash: str, text: str) -> int:
        self.n_variants += 1
        batch.variants.append((self.n_variants, question_n, content_hash, text))
        return self.n_variants

    def _put_answer(
        self, batch: _Batch, question_n: int, variant_n: int | None, key: AnswerKey, text: str
    ) -> None:
        self.n_answers += 1
        batch.answers.append((self.n_answers, question_n, variant_n, *key, text))

    def _put_change(self, batch: _Batch, change: QuestionChange) -> None:
        """Add what a question gains that comes again, or that the store has."""
        n = change.n
        details = [getattr(change, name) for name in DETAILS]
        if change.is_new:
            asked = (change.content_hash, change.text, change.context, change.role)
            position, held_out = change.position, change.held_out
            batch.questions.append((n, position, *asked, *details, held_out, change.gains))
        elif change.gains:
            batch.gained.append((*details, n))
        batch.tags += [(n, name) for name in change.new_tags]
        for content_hash, text in change.new_variants.items():
            change.variants[content_hash] = self._put_variant(batch, n, content_hash, text)
        for key, text in change.new_answers.items():
            variant_n = change.variants[key[0]] if key[0] else None
            self._put_answer(batch, n, variant_n, key, text)

    def _new_change(self, row: ImportRow, content_hash: str) -> QuestionChange:
        self.n_questions += 1
        return QuestionChange(
            content_hash,
            self.n_questions,
            row.text,
            row.context,
            row.role,
            row.reference_answer,
            row.category,
            row.language,
            row.external_id,
            row.held_out,
        )

    def _known(self, hashes: set[str]) -> dict[str, QuestionChange]:
        """Return those that the store has or that earlier rows have brought."""
        spooled = {change.content_hash: change for change in self._spooled(hashes)}
        rest = hashes - spooled.keys()
        with self._database.read() as session:
            stored = {change.content_hash: change for change in stored_questions(session, rest)}
            of_store = [one for one in (*spooled.values(), *stored.values()) if one.n < 0]
            add_stored_facts(session, of_store)
        self._add_spooled_facts(spooled.values())
        return spooled | stored

    def _spooled(self, hashes: set[str]) -> Iterator[QuestionChange]:
        found = self.spool.among(
            "SELECT content_hash, n, text, context, role, reference_answer, category, language,"
            " external_id, held_out FROM question WHERE content_hash IN",
            hashes,
        )
        for values in found:
            change = QuestionChange(*values)
            change.is_new = False
            yield change

    def _add_spooled_facts(self, changes: Iterable[QuestionChange]) -> None:
        by_n = {change.n: change for change in changes}
        if not by_n:
            return
        spool = self.spool
        for n, name in spool.among("SELECT question_n, name FROM tag WHERE question_n IN", by_n):
            by_n[n].tags.add(name)
        for n, content_hash, variant_n in spool.among(
            "SELECT question_n, content_hash, n FROM variant WHERE question_n IN", by_n
        ):
            by_n[n].variants[content_hash] = variant_n
        for n, variant_hash, content_hash in spool.among(
            "SELECT question_n, variant_hash, content_hash FROM answer WHERE question_n IN", by_n
        ):
            by_n[n].answers.add((variant_hash, content_hash))
