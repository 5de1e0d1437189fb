"""Rows to the store: a preview, and the import itself, whole or not at all."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import Session

from db.database import Database
from db.store.staging import import_lock, tidy_alone
from serving.importers.plan import ImportPlan, Outcome
from serving.importers.source import ImportRefused, ImportRow, Problem, Source
from serving.importers.spool import Spool
from serving.importers.texts import check_texts
from serving.importers.writing import StoreWriter

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
    *files: Source,
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
    *files: Source,
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
        refuse_problems(plan.problems, NOTHING_DONE, skip_errors=skip_errors)
        writer = write_plan(database, plan, on_progress, source=source)
        return ImportSummary(**_figures(plan), question_ids=tuple(writer.question_ids()))


def read_files(plan: ImportPlan, files: Iterable[Source], on_progress: OnProgress) -> None:
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
