"""What an import would change: its rows compared with each other and with the store, in a spool."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import select_among
from db.database import Database
from db.hidden import is_hidden
from db.identity import question_hash, text_hash
from db.tables import Answer, QuestionTag, ReasoningVariant, Tag
from serving.importers.examples import ImportRow
from serving.importers.source import Problem, problem_at
from serving.importers.spool import BATCH, Spool, uncollected

_CHUNK = 5_000
_T = TypeVar("_T")

AnswerKey = tuple[str | None, str]
"""Hash of the reasoning that an answer stands under, or None, and hash of the answer."""
DETAILS = ("reference_answer", "category", "language", "external_id")
"""What a known question can gain; a value that it has stays."""


@dataclass(slots=True)
class QuestionChange:
    """One question of the files and what they add to it."""

    content_hash: str
    n: int
    """Its number in the spool; the id with a minus of one that the store has already."""
    text: str
    context: str
    role: str
    reference_answer: str | None = None
    category: str | None = None
    language: str | None = None
    external_id: str | None = None
    held_out: bool | None = None
    is_new: bool = True
    """The spool does not hold it yet."""
    position: int = 0
    """Its place among the questions of the files."""
    gains: bool = False
    """It gains one of its details after it was stored or spooled."""
    tags: set[str] = field(default_factory=set)
    """Tags it has already."""
    new_tags: dict[str, None] = field(default_factory=dict)
    variants: dict[str, int | None] = field(default_factory=dict)
    """Hash of each imported reasoning → its number, None where it is new."""
    answers: set[AnswerKey] = field(default_factory=set)
    new_variants: dict[str, str] = field(default_factory=dict)
    """Hash → text of the reasonings that are new."""
    new_answers: dict[AnswerKey, str] = field(default_factory=dict)


def conflict_of(change: QuestionChange, row: ImportRow) -> tuple[str, str] | None:
    """Say which value of ``row`` contradicts what is known; such values are never overwritten."""
    known, given = change.reference_answer, row.reference_answer
    if known and given and known != given and text_hash(known) != text_hash(given):
        return "reference_answer", (
            f"the question is known with the reference answer {known[:60]!r}; make the two equal "
            "or leave this one empty."
        )
    if row.held_out is not None and row.held_out != bool(change.held_out):
        return "held_out", (
            "the question is known, and whether it is held out was fixed when it came in; leave "
            "this value empty."
        )
    return None


def merge(change: QuestionChange, row: ImportRow, tags: Sequence[str]) -> bool:
    """Add what ``row`` has beyond ``change``; tell whether that was anything."""
    n_before = _size(change)
    gains = False
    for name in DETAILS:
        value = getattr(row, name)
        if value and not getattr(change, name):
            setattr(change, name, value)
            gains = change.gains = True
    for tag in tags:
        if tag not in change.tags:
            change.new_tags[tag] = None
    variant_hash = text_hash(row.reasoning) if row.reasoning else None
    if variant_hash and row.reasoning and variant_hash not in change.variants:
        change.variants[variant_hash] = None
        change.new_variants[variant_hash] = row.reasoning
    if row.output:
        key = (variant_hash, text_hash(row.output))
        if key not in change.answers:
            change.answers.add(key)
            change.new_answers[key] = row.output
    return gains or _size(change) != n_before


def _size(change: QuestionChange) -> int:
    return len(change.new_tags) + len(change.new_variants) + len(change.new_answers)


def stored_questions(session: Session, hashes: Iterable[str]) -> Iterator[QuestionChange]:
    """Yield the questions of these hashes that the store has."""
    for content_hash, question_id, *rest in select_among(session, _STORED, list(hashes)):
        if not is_hidden(session, "question", question_id):
            yield QuestionChange(content_hash, -question_id, *rest)


_STORED = """
SELECT content_hash, id, text, context, role, reference_answer, category, language, external_id,
    held_out
FROM question WHERE content_hash IN"""


def add_stored_facts(session: Session, changes: Sequence[QuestionChange]) -> None:
    """Give questions of the store their tags, imported reasonings and imported answers."""
    by_id = {-change.n: change for change in changes}
    if not by_id:
        return
    tags = _tags_of(session, by_id)
    variants, answers = _imported_texts(session, by_id)
    for question_id, change in by_id.items():
        change.tags |= tags[question_id]
        change.variants |= variants[question_id]
        change.answers |= answers[question_id]


def _tags_of(session: Session, ids: Iterable[int]) -> Mapping[int, set[str]]:
    tags: defaultdict[int, set[str]] = defaultdict(set)
    rows = session.execute(
        select(QuestionTag.question_id, Tag.name).join(Tag).where(QuestionTag.question_id.in_(ids))
    )
    for question_id, name in rows:
        tags[question_id].add(name)
    return tags


def _imported_texts(
    session: Session, ids: Iterable[int]
) -> tuple[Mapping[int, dict[str, int | None]], Mapping[int, set[AnswerKey]]]:
    """Return question id → imported reasonings, and question id → imported answers."""
    variants: defaultdict[int, dict[str, int | None]] = defaultdict(dict)
    answers: defaultdict[int, set[AnswerKey]] = defaultdict(set)
    hash_of: dict[int | None, str] = {}
    for variant_id, question_id, content_hash in session.execute(
        select(
            ReasoningVariant.id, ReasoningVariant.question_id, ReasoningVariant.content_hash
        ).where(ReasoningVariant.question_id.in_(ids), ReasoningVariant.source == "imported")
    ):
        variants[question_id][content_hash] = -variant_id
        hash_of[variant_id] = content_hash
    for question_id, parent_id, content_hash in session.execute(
        select(Answer.question_id, Answer.variant_id, Answer.content_hash).where(
            Answer.question_id.in_(ids), Answer.source == "imported"
        )
    ):
        answers[question_id].add((hash_of.get(parent_id), content_hash))
    return variants, answers


def chunks(items: Iterable[_T], size: int = _CHUNK) -> Iterator[list[_T]]:
    """Yield ``items`` in lists of at most ``size``, so that a statement stays within its limits."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


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
