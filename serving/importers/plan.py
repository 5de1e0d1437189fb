"""What an import would change: its rows compared with each other and with the store, in a spool."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks, select_among
from db.database import Database
from db.identity import question_hash, text_hash
from db.tables import Answer, QuestionTag, ReasoningVariant, Tag
from db.tables.work import is_hidden
from serving.importers.source import ImportFile, ImportRow, Problem, problem_at
from serving.importers.spool import BATCH, Spool, uncollected

Outcome = Literal["added", "updated", "skipped"]
Conflict = tuple[str | None, str]
"""The field of a row that contradicts what is known, and what to do."""
DETAILS = ("reference_answer", "answer_check", "category", "language", "external_id", "fields")
"""What a known question can gain; a value that it has stays."""
_ASKED = ("content_hash", "n", "text", "context", "role", *DETAILS, "held_out")
HELD_OUT_FIXED: Conflict = (
    "held_out",
    "the question is known, and whether it is held out was fixed when it came in; leave this value"
    " empty.",
)


@dataclass(slots=True)
class QuestionChange:
    """One question of the files and what is known of it."""

    content_hash: str
    n: int
    """Its number in the spool; the id with a minus of one that the store has already."""
    text: str
    context: str
    role: str
    reference_answer: str | None = None
    answer_check: str | None = None
    category: str | None = None
    language: str | None = None
    external_id: str | None = None
    fields: str | None = None
    held_out: bool | None = None
    is_new: bool = True
    """The spool does not hold it yet."""
    gains: bool = False
    """It gains one of its details after it was stored or spooled."""
    tags: set[str] = field(default_factory=set)
    variants: dict[str, int] = field(default_factory=dict)
    """Hash of each imported reasoning → its number."""
    answers: set[tuple[str | None, str]] = field(default_factory=set)
    """Hash of the reasoning of each imported answer, or None, and hash of the answer."""


@dataclass(slots=True)
class _SpoolRows:
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
            f"UPDATE question SET {', '.join(f'{name} = ?' for name in DETAILS)}, gains = 1"
            " WHERE n = ?",
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
        answer_check: str | None = None,
        n_sample: int = 0,
        held_out_conflict: Conflict = HELD_OUT_FIXED,
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
        self._answer_check = answer_check
        """Of questions that have a reference answer, or gain one, and say nothing themselves."""
        self._extra = tuple(dict.fromkeys(extra_tags))
        self._held_out_conflict = held_out_conflict

    def add(self, file: ImportFile) -> Iterator[int]:
        """Take all rows of a file; yields how many were taken, from time to time."""
        own: list[Problem] = []
        n_rows = 0
        batches = chunks(file.rows, BATCH)
        while True:
            with uncollected():
                if (rows := next(batches, None)) is None:
                    break
                self._add_rows(file, rows, own)
            n_rows += len(rows)
            yield n_rows
        own = [*file.problems, *own]
        lines = [problem.line for problem in own]
        self.n_errors += len({line for line in lines if line is not None}) + lines.count(None)
        self.problems += own
        self.notes += file.notes

    def _add_rows(self, file: ImportFile, rows: Sequence[ImportRow], own: list[Problem]) -> None:
        self._choose_checks(rows)
        hashes = [question_hash(row.text, row.context, row.role) for row in rows]
        known = self._known(set(hashes))
        touched: dict[str, int] = {}
        batch = _SpoolRows()
        for row, content_hash in zip(rows, hashes, strict=True):
            change = known.get(content_hash)
            outcome: Outcome = "added" if change is None else "skipped"
            if change is None:
                change = known[content_hash] = self._new_question(row, content_hash)
            elif conflict := self._conflict(change, row):
                own.append(problem_at(file.name, file.unit, row.line, *conflict))
                continue
            if content_hash not in touched:
                self._n_positions += change.is_new
                touched[content_hash] = self._n_positions
            if self._merge(batch, change, row) and outcome == "skipped":
                outcome = "updated"
            self.outcomes[outcome] += 1
            if len(self.sample) < self._n_sample:
                self.sample.append((row, outcome))
        for content_hash, position in touched.items():
            change = known[content_hash]
            details = [getattr(change, name) for name in DETAILS]
            if change.is_new:
                asked = (content_hash, change.text, change.context, change.role)
                row_end = (change.held_out, change.gains)
                batch.questions.append((change.n, position, *asked, *details, *row_end))
            elif change.gains:
                batch.gained.append((*details, change.n))
        batch.write(self.spool)

    def _choose_checks(self, rows: Sequence[ImportRow]) -> None:
        for row in rows:
            if row.reference_answer and row.answer_check is None:
                row.answer_check = self._answer_check

    def _new_question(self, row: ImportRow, content_hash: str) -> QuestionChange:
        self.n_questions += 1
        details = (row.reference_answer, row.answer_check, row.category, row.language)
        asked = (row.text, row.context, row.role)
        return QuestionChange(
            content_hash,
            self.n_questions,
            *asked,
            *details,
            row.external_id,
            row.fields,
            row.held_out,
        )

    def _conflict(self, change: QuestionChange, row: ImportRow) -> Conflict | None:
        """Say which value of ``row`` contradicts what is known; that is never overwritten."""
        known, given = change.reference_answer, row.reference_answer
        if known and given and known != given and text_hash(known) != text_hash(given):
            return "reference_answer", (
                f"the question is known with the reference answer {known[:60]!r}; make the two"
                " equal or leave this one empty."
            )
        if row.held_out is not None and row.held_out != bool(change.held_out):
            return self._held_out_conflict
        return None

    def _merge(self, batch: _SpoolRows, change: QuestionChange, row: ImportRow) -> bool:
        """Add what ``row`` has beyond ``change``; tell whether that was anything."""
        n_before = len(batch.tags) + len(batch.variants) + len(batch.answers)
        gains = False
        for name in DETAILS:
            if not getattr(change, name) and (value := getattr(row, name)):
                setattr(change, name, value)
                gains = change.gains = True
        n = change.n
        for tag in (*row.tags, *self._extra):
            if tag not in change.tags:
                change.tags.add(tag)
                batch.tags.append((n, tag))
        variant_hash: str | None = None
        if row.reasoning:
            variant_hash = text_hash(row.reasoning)
            if variant_hash not in change.variants:
                self.n_variants += 1
                change.variants[variant_hash] = self.n_variants
                batch.variants.append((self.n_variants, n, variant_hash, row.reasoning))
        if row.output:
            key = (variant_hash, text_hash(row.output))
            if key not in change.answers:
                self.n_answers += 1
                change.answers.add(key)
                variant_n = change.variants[variant_hash] if variant_hash else None
                batch.answers.append((self.n_answers, n, variant_n, *key, row.output))
        return gains or len(batch.tags) + len(batch.variants) + len(batch.answers) != n_before

    def _known(self, hashes: set[str]) -> dict[str, QuestionChange]:
        """Return those that the store has or that earlier rows have brought."""
        among = self.spool.among
        rows = among(f"SELECT {', '.join(_ASKED)} FROM question WHERE content_hash IN", hashes)
        found = {one[0]: QuestionChange(*one) for one in rows}
        for change in found.values():
            change.is_new = False
        with self._database.read() as session:
            stored = select_among(session, _STORED, list(hashes - found.keys()))
            for content_hash, question_id, *rest in stored:
                if not is_hidden(session, "question", question_id):
                    found[content_hash] = QuestionChange(content_hash, -question_id, *rest)
            _add_stored_facts(session, [one for one in found.values() if one.n < 0])
        by_n = {one.n: one for one in found.values() if not one.is_new}
        for n, name in among("SELECT question_n, name FROM tag WHERE question_n IN", by_n):
            by_n[n].tags.add(name)
        variants = "SELECT question_n, content_hash, n FROM variant WHERE question_n IN"
        for n, content_hash, variant_n in among(variants, by_n):
            by_n[n].variants[content_hash] = variant_n
        answers = "SELECT question_n, variant_hash, content_hash FROM answer WHERE question_n IN"
        for n, variant_hash, content_hash in among(answers, by_n):
            by_n[n].answers.add((variant_hash, content_hash))
        return found


_STORED = f"""
SELECT {", ".join(_ASKED).replace(" n,", " id,")} FROM question WHERE content_hash IN"""


def _add_stored_facts(session: Session, changes: Sequence[QuestionChange]) -> None:
    """Give questions of the store their tags, imported reasonings and imported answers."""
    by_id = {-change.n: change for change in changes}
    if not by_id:
        return
    tags = select(QuestionTag.question_id, Tag.name).join(Tag)
    for question_id, name in session.execute(tags.where(QuestionTag.question_id.in_(by_id))):
        by_id[question_id].tags.add(name)
    variants, answers = imported_texts(session, by_id)
    hash_of: dict[int | None, str] = {}
    for variant_id, question_id, content_hash in variants:
        by_id[question_id].variants[content_hash] = -variant_id
        hash_of[variant_id] = content_hash
    for _, question_id, parent_id, content_hash in answers:
        by_id[question_id].answers.add((hash_of.get(parent_id), content_hash))


def imported_texts(
    session: Session, ids: Iterable[int]
) -> tuple[Sequence[tuple[int, int, str]], Sequence[tuple[int, int, int | None, str]]]:
    """Return the imported reasonings and answers of questions of the store.

    Returns:
        (id, id of the question, hash) of each reasoning, and (id, id of the question, id of the
        reasoning, hash) of each answer.
    """
    variant, answer = ReasoningVariant, Answer
    variants = select(variant.id, variant.question_id, variant.content_hash).where(
        variant.question_id.in_(ids), variant.source == "imported"
    )
    answers = select(answer.id, answer.question_id, answer.variant_id, answer.content_hash).where(
        answer.question_id.in_(ids), answer.source == "imported"
    )
    return (
        [(one[0], one[1], one[2]) for one in session.execute(variants)],
        [(one[0], one[1], one[2], one[3]) for one in session.execute(answers)],
    )
