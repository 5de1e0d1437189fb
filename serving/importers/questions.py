"""Rows to the store: a preview, and the import itself, whole or not at all."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from db.database import Database
from db.store.staging import import_lock, tidy_alone
from serving.importers.examples import ImportRow
from serving.importers.plan import ImportPlan, Outcome, RowFile
from serving.importers.source import ImportRefused, Problem
from serving.importers.spool import Spool
from serving.importers.texts import check_texts
from serving.importers.writing import StoredIds, StoreWriter

NOTHING_DONE = "Nothing was imported: correct the file, or import it without the rows named here."

Phase = Literal["reading", "checking", "writing"]
OnProgress = Callable[[Phase, int, int], None]
"""Told how far an import is: its phase, what is done and of how much (0: not known)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What an import would do; each row of the files counts once."""

    added: int
    updated: int
    skipped: int
    errors: int
    sample: tuple[tuple[ImportRow, Outcome], ...]
    """The first rows and what would become of them."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import did; each row of the files counts once in the first four numbers."""

    added: int
    """Rows that brought a question the store did not have."""
    updated: int
    """Rows that gave a known question a tag, category, language, reference answer or text."""
    skipped: int
    """Rows that brought nothing new."""
    errors: int
    """Rows that were left out because of a problem."""
    variants: int
    answers: int
    question_ids: tuple[int, ...]
    """The questions of the files, new and known, in their order."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def no_progress(phase: Phase, done: int, total: int) -> None:
    """Tell nobody how far an import is."""


def preview(
    database: Database,
    *files: RowFile,
    n_sample: int = 20,
    on_progress: OnProgress = no_progress,
) -> ImportPreview:
    """Return what importing ``files`` would do, without doing it."""
    with Spool(database) as spool:
        plan = ImportPlan(database, spool, n_sample=n_sample)
        read_files(plan, files, on_progress)
        return ImportPreview(
            added=plan.outcomes["added"],
            updated=plan.outcomes["updated"],
            skipped=plan.outcomes["skipped"],
            errors=plan.n_errors,
            sample=tuple(plan.sample),
            problems=tuple(plan.problems),
            notes=tuple(plan.notes),
        )


def import_questions(
    database: Database,
    *files: RowFile,
    source: Literal["imported", "example"] = "imported",
    extra_tags: Iterable[str] = (),
    skip_errors: bool = False,
    on_progress: OnProgress = no_progress,
) -> ImportSummary:
    """Import questions, reasonings and answers: all of them at once, or none.

    The files are read and their texts checked before anything is written; then they are written in
    short transactions, between which others write, and shown to everybody by the last one. The
    same file again adds nothing. Reasonings and answers are checked and findable at once.

    Raises:
        ImportRefused: There are problems and ``skip_errors`` is not set, or a whole file has one.
            Nothing was written.
        ImportRuns: Another import is under way.
        StoreFault: The store cannot be written to. Nothing was.
    """
    with import_lock(database), Spool(database) as spool:
        tidy_alone(database)
        plan = ImportPlan(database, spool, extra_tags=extra_tags)
        read_files(plan, files, on_progress)
        if any(problem.line is None or not skip_errors for problem in plan.problems):
            raise ImportRefused(plan.problems, NOTHING_DONE)
        check_plan(database, plan, on_progress)
        writer = StoreWriter(database, plan, source)
        writer.write(lambda done: on_progress("writing", done, writer.n_rows))
        return ImportSummary(
            added=plan.outcomes["added"],
            updated=plan.outcomes["updated"],
            skipped=plan.outcomes["skipped"],
            errors=plan.n_errors,
            variants=plan.n_variants,
            answers=plan.n_answers,
            question_ids=tuple(_question_ids(spool, writer.ids)),
            problems=tuple(plan.problems),
            notes=tuple(plan.notes),
        )


def read_files(plan: ImportPlan, files: Iterable[RowFile], on_progress: OnProgress) -> None:
    """Take all rows of ``files`` into ``plan``."""
    for file in files:
        for n_rows in plan.add(file):
            source = getattr(file, "source", None)
            if source is not None and source.total:
                on_progress("reading", source.done, source.total)
            else:
                on_progress("reading", n_rows, 0)


def check_plan(database: Database, plan: ImportPlan, on_progress: OnProgress) -> None:
    """Check the texts of ``plan``."""
    n_texts = plan.n_variants + plan.n_answers
    if n_texts:
        for n_checked in check_texts(database, plan.spool):
            on_progress("checking", n_checked, n_texts)


def _question_ids(spool: Spool, ids: StoredIds) -> Iterator[int]:
    for (n,) in spool.select("SELECT n FROM question ORDER BY position"):
        yield ids.of("question", n)
