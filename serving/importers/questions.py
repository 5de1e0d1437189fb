"""Rows to the store: a preview, and the import itself, whole or not at all.

Reasonings and answers are checked before anything is written, batch by batch; so are sentences that
stand under many questions, of the import and of the store.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.questions import take_into_pool
from db.store.staging import import_lock, tidy_alone
from db.tables import ReasoningVariant, SentenceUse
from serving.checks import CheckContext, check_answer, check_reasoning
from serving.checks.store import (
    MIN_QUESTIONS,
    SHOWN_CHARS,
    questions_by_sentence,
    uses_of,
)
from serving.checks.text import hashed_sentences
from serving.correctness import parse_answer_check
from serving.correctness.store import grade_checked
from serving.importers.plan import ImportPlan, Outcome
from serving.importers.source import ImportFile, ImportRefused, ImportRow, Problem
from serving.importers.spool import Spool
from serving.importers.writing import StoreWriter

_ASKED = ("question", "context", "reference_answer", "role", "language")
_VARIANTS = """
SELECT NULL, v.question_n, v.n, v.text, NULL, q.text, q.context, q.reference_answer, q.role,
    q.language
FROM variant v JOIN question q ON q.n = v.question_n WHERE v.n > 0 ORDER BY v.n
"""
_ANSWERS = """
SELECT a.n, a.question_n, a.variant_n, a.text, v.text, q.text, q.context, q.reference_answer,
    q.role, q.language
FROM answer a JOIN question q ON q.n = a.question_n LEFT JOIN variant v ON v.n = a.variant_n
WHERE a.n > 0 ORDER BY a.n
"""


def check_texts(database: Database, spool: Spool) -> Iterator[int]:
    """Add what the checks find to ``spool``; yields how many texts were checked, now and then."""
    n_checked = 0
    for rows in spool.batches(_VARIANTS):
        _note_findings(spool, rows, {})
        n_checked += len(rows)
        yield n_checked
    for rows in spool.batches(_ANSWERS):
        with database.read() as session:
            _note_findings(spool, rows, _known_reasonings(session, rows))
        n_checked += len(rows)
        yield n_checked
    with database.read() as session:
        find_boilerplate(session, spool)


def _note_findings(spool: Spool, rows: Sequence[Any], known: Mapping[int, str]) -> None:
    """Check reasonings (rows without ``answer_n``) or answers, with ``known`` reasonings."""
    flags: list[tuple[Any, ...]] = []
    uses: list[tuple[Any, ...]] = []
    for answer_n, question_n, variant_n, text, reasoning, *asked in rows:
        ctx = CheckContext(**dict(zip(_ASKED, asked, strict=True)))
        if answer_n is None:
            own, findings = (variant_n, None), check_reasoning(text, ctx)
        else:
            if reasoning is None and variant_n is not None:
                reasoning = known.get(-variant_n)
            own, findings = (None, answer_n), check_answer(text, ctx, reasoning)
        for finding in findings:
            flags.append((*own, finding.name, finding.detail))
            if answer_n is not None and finding.name == "answer_leak":
                flags.append((variant_n, None, finding.name, finding.detail))  # what it gives away
        uses += [(key, question_n, *own) for key in hashed_sentences(text)]
    spool.insert("flag", flags)
    spool.insert("sentence", uses)


def _known_reasonings(session: Session, rows: Sequence[Any]) -> dict[int, str]:
    """Return the reasonings of the store that answers stand under, by id."""
    ids = {-row[2] for row in rows if row[2] is not None and row[2] < 0}
    if not ids:
        return {}
    found = select(ReasoningVariant.id, ReasoningVariant.text).where(ReasoningVariant.id.in_(ids))
    return dict(session.execute(found).all())


_OFTEN = f"""
INSERT OR IGNORE INTO boilerplate SELECT sentence_hash, NULL FROM sentence
GROUP BY sentence_hash HAVING count(DISTINCT question_n) >= {MIN_QUESTIONS}
"""
_FLAGS = """
INSERT OR IGNORE INTO flag
SELECT s.variant_n, s.answer_n, 'boilerplate', b.detail
FROM sentence s JOIN boilerplate b USING (sentence_hash) ORDER BY s.rowid
"""
_NEEDLESS = f"""
DELETE FROM sentence WHERE sentence_hash = ? AND rowid NOT IN (
    SELECT min(rowid) FROM sentence WHERE sentence_hash = ? GROUP BY question_n
    LIMIT {MIN_QUESTIONS}
)
"""
"""As many uses as tell that it is boilerplate are kept; more would only cost."""


def find_boilerplate(session: Session, spool: Spool) -> None:
    """Flag the texts of ``spool``, and earlier ones of the store, that hold such sentences."""
    spool.change("CREATE INDEX sentence_hash ON sentence (sentence_hash, question_n)")
    spool.change(_OFTEN)
    settled = _compare_with_store(session, spool)
    found = [key for (key,) in spool.select("SELECT sentence_hash FROM boilerplate")]
    details = [(_sentence(spool, key)[:SHOWN_CHARS], key) for key in found]
    spool.change("UPDATE boilerplate SET detail = ? WHERE sentence_hash = ?", details)
    spool.change(_FLAGS)
    risen = {key: detail for detail, key in details if key not in settled}
    spool.insert(
        "flag",
        [
            (variant_id and -variant_id, answer_id and -answer_id, "boilerplate", risen[key])
            for variant_id, answer_id, key in uses_of(session, set(risen))
        ],
    )
    spool.change("DELETE FROM sentence WHERE sentence_hash = ?", [(key,) for key in settled])
    spool.change(_NEEDLESS, [(key, key) for key in risen])


def _compare_with_store(session: Session, spool: Spool) -> set[int]:
    """Note what is boilerplate together with the store; return what the store knew to be so."""
    if session.scalar(select(SentenceUse.id).limit(1)) is None:
        return set()
    settled: set[int] = set()
    often: set[int] = set()
    for keys in _shared_keys(session, spool):
        for key, questions in questions_by_sentence(session, keys).items():
            own = spool.select(
                "SELECT DISTINCT question_n FROM sentence WHERE sentence_hash = ? LIMIT ?",
                (key, MIN_QUESTIONS),
            )
            if len(questions) >= MIN_QUESTIONS:
                settled.add(key)
            if len({-one for one in questions} | {n for (n,) in own}) >= MIN_QUESTIONS:
                often.add(key)
    spool.insert("boilerplate", [(key, None) for key in often])
    return settled


def _shared_keys(session: Session, spool: Spool) -> Iterator[list[int]]:
    """Yield the sentences that the store has as well, in batches."""
    for rows in spool.batches("SELECT DISTINCT sentence_hash FROM sentence"):
        keys = [key for (key,) in rows]
        found = select(SentenceUse.sentence_hash).where(SentenceUse.sentence_hash.in_(keys))
        if shared := list(session.scalars(found.distinct())):
            yield shared


def _sentence(spool: Spool, key: int) -> str:
    """Return a sentence as one of its texts has it."""
    text = spool.first(
        "SELECT coalesce(v.text, a.text) FROM sentence s LEFT JOIN variant v ON v.n = s.variant_n"
        " LEFT JOIN answer a ON a.n = s.answer_n WHERE s.sentence_hash = ? LIMIT 1",
        (key,),
    )
    return hashed_sentences(text)[key]


NOTHING_DONE = "Nothing was imported: correct the file, or import it without the rows named here."

Phase = Literal["reading", "checking", "writing"]
OnProgress = Callable[[Phase, int, int], None]
"""Told how far an import is: its phase, what is done and of how much (0: not known)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What an import would do; each row of the files counts once in the first four numbers."""

    added: int
    """Rows that bring a question the store does not have."""
    updated: int
    """Rows that give a known question a tag, category, language, reference answer or text."""
    skipped: int
    """Rows that bring nothing new."""
    errors: int
    """Rows that are left out because of a problem."""
    variants: int
    answers: int
    sample: tuple[tuple[ImportRow, Outcome], ...]
    """The first rows and what would become of them."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary(ImportPreview):
    """What an import did."""

    question_ids: tuple[int, ...]
    """The questions of the files, new and known, in their order."""


def no_progress(phase: Phase, done: int, total: int) -> None:
    """Tell nobody how far an import is."""


def preview(
    database: Database,
    *files: ImportFile,
    n_sample: int = 20,
    on_progress: OnProgress = no_progress,
) -> ImportPreview:
    """Return what importing ``files`` would do, without doing it."""
    with Spool(database) as spool:
        plan = ImportPlan(database, spool, n_sample=n_sample)
        read_files(plan, files, on_progress)
        return ImportPreview(**_figures(plan))


def import_questions(
    database: Database,
    *files: ImportFile,
    source: Literal["imported", "example"] = "imported",
    extra_tags: Iterable[str] = (),
    answer_check: str | None = None,
    skip_errors: bool = False,
    on_progress: OnProgress = no_progress,
) -> ImportSummary:
    """Import questions, reasonings and answers: all of them at once, or none.

    The files are read and their texts checked before anything is written; then they are written in
    short transactions, between which others write, and shown to everybody by the last one. The
    same file again adds nothing. Reasonings and answers are checked and findable at once, and
    answers are graded. Questions with a reference answer that say nothing of it themselves have
    theirs compared by ``answer_check``.

    Raises:
        ImportRefused: There are problems and ``skip_errors`` is not set, or a whole file has one.
            Nothing was written.
        ImportRuns: Another import is under way.
        StoreFault: The store cannot be written to. Nothing was.
    """
    with import_lock(database), Spool(database) as spool:
        tidy_alone(database)
        plan = ImportPlan(
            database, spool, extra_tags=extra_tags, answer_check=_known_check(answer_check)
        )
        read_files(plan, files, on_progress)
        refuse_problems(plan.problems, NOTHING_DONE, skip_errors=skip_errors)
        writer = write_plan(database, plan, on_progress, source=source)
        question_ids = tuple(writer.question_ids())
        with database.write() as session:
            take_into_pool(session, question_ids)
        grade_checked(database, question_ids)
        return ImportSummary(**_figures(plan), question_ids=question_ids)


def _known_check(text: str | None) -> str | None:
    check = parse_answer_check(text or "")
    return str(check) if check else None


def read_files(plan: ImportPlan, files: Iterable[ImportFile], on_progress: OnProgress) -> None:
    """Take all rows of ``files`` into ``plan``."""
    for file in files:
        for n_rows in plan.add(file):
            if file.total:
                on_progress("reading", file.done, file.total)
            else:
                on_progress("reading", n_rows, 0)


def refuse_problems(problems: Iterable[Problem], remedy: str, *, skip_errors: bool) -> None:
    """Refuse an import that has problems, of rows as well unless they are to be skipped."""
    problems = tuple(problems)
    if any(problem.line is None or not skip_errors for problem in problems):
        raise ImportRefused(problems, remedy)


def write_plan(
    database: Database,
    plan: ImportPlan,
    on_progress: OnProgress,
    *,
    source: str = "imported",
    rater: Callable[[Session], int] | None = None,
) -> StoreWriter:
    """Check the texts of ``plan`` and write it; return what wrote it.

    ``rater`` finds or makes who judged, where the plan holds judgements.
    """
    n_texts = plan.n_variants + plan.n_answers
    if n_texts:
        for n_checked in check_texts(database, plan.spool):
            on_progress("checking", n_checked, n_texts)
    writer = StoreWriter(database, plan, source, rater)
    writer.write(lambda done: on_progress("writing", done, writer.n_rows))
    return writer


def _figures(plan: ImportPlan) -> dict[str, Any]:
    return {
        "added": plan.outcomes["added"],
        "updated": plan.outcomes["updated"],
        "skipped": plan.outcomes["skipped"],
        "errors": plan.n_errors,
        "variants": plan.n_variants,
        "answers": plan.n_answers,
        "sample": tuple(plan.sample),
        "problems": tuple(plan.problems),
        "notes": tuple(plan.notes),
    }
