"""Bringing files of questions into the store, one or a whole folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from db.database import Database
from db.errors import UsageError
from db.questions import question_facets, role_names
from db.settings import settings
from serving.importers.data_files import data_files
from serving.importers.questions import import_questions
from serving.importers.readers import SUFFIXES, read_rows
from workbench.cli.rendering import load_registry

EXAMPLES = Path(__file__).parents[2] / "examples" / "questions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import of one or more files did."""

    added: int
    updated: int
    skipped: int
    errors: int
    variants: int
    answers: int
    files: tuple[str, ...]
    problems: tuple[str, ...]
    """One sentence for each row that was left out."""
    notes: tuple[str, ...]


def has_questions(database: Database) -> bool:
    """Tell whether the store holds any question."""
    with database.read() as session:
        return question_facets(session).total > 0


def add_examples(database: Database, say: Callable[[str], None]) -> None:
    """Put the example questions into a store that holds none."""
    if EXAMPLES.is_dir() and not has_questions(database):
        report = import_path(database, EXAMPLES, source="example")
        say(f"{report.added} example questions are in the store.")


def import_path(
    database: Database,
    path: Path,
    *,
    source: Literal["imported", "example"] = "imported",
    extra_tags: tuple[str, ...] = (),
    skip_errors: bool = False,
    encoding: str | None = None,
) -> Imported:
    """Import a file, or all files of a folder, in one transaction.

    Raises:
        UsageError: Something is wrong with a file; then nothing at all was imported.
    """
    files, skipped = _files(path)
    with database.write() as session:
        load_registry(settings(), session)
        summaries = [
            import_questions(
                session,
                read_rows(file, roles=role_names(session), encoding=encoding),
                source=source,
                extra_tags=extra_tags,
                skip_errors=skip_errors,
            )
            for file in files
        ]
    return Imported(
        added=sum(summary.added for summary in summaries),
        updated=sum(summary.updated for summary in summaries),
        skipped=sum(summary.skipped for summary in summaries),
        errors=sum(summary.errors for summary in summaries),
        variants=sum(summary.variants for summary in summaries),
        answers=sum(summary.answers for summary in summaries),
        files=tuple(map(str, files)),
        problems=tuple(one.sentence for summary in summaries for one in summary.problems),
        notes=(*skipped, *(note for summary in summaries for note in summary.notes)),
    )


def _files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the files to read, and notes of those that are not."""
    if not path.is_dir():
        return [path], []
    files, notes = data_files(path, is_deep=False)
    if not files:
        raise UsageError(
            f"{path} holds no file of questions; these are read: {', '.join(SUFFIXES)}."
        )
    return files, notes
