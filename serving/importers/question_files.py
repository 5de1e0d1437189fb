"""Importing files of questions, one or a whole folder; and the examples into an empty store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from db.child_process import REPOSITORY
from db.database import Database
from db.errors import UsageError
from db.questions import question_facets, role_names
from db.settings import settings
from serving.formats.library import load_registry
from serving.importers.dataset_cards import data_files
from serving.importers.questions import OnProgress, import_questions, no_progress
from serving.importers.readers import SUFFIXES, stream_rows

EXAMPLES = REPOSITORY / "examples" / "questions"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a person says of files that they don't say themselves."""

    encoding: str | None = None
    """Of files that are not UTF-8."""
    columns: Mapping[str, str] | None = None
    """Columns → the fields that they stand for, whatever they are called."""


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


def add_examples(database: Database, inform: Callable[[str], None]) -> None:
    """Put the example questions into a store that holds none."""
    if EXAMPLES.is_dir() and not has_questions(database):
        report = import_path(database, EXAMPLES, source="example")
        inform(f"{report.added} example questions are in the store.")


def import_path(
    database: Database,
    path: Path,
    *,
    source: Literal["imported", "example"] = "imported",
    extra_tags: tuple[str, ...] = (),
    answer_check: str | None = None,
    skip_errors: bool = False,
    reading: ReadOptions | None = None,
    on_progress: OnProgress = no_progress,
) -> Imported:
    """Import a file, or all files of a folder: all rows of all of them, or none.

    Raises:
        UsageError: Something is wrong with a file; then nothing at all was imported.
    """
    paths, skipped = _files(path)
    with database.write() as session:
        load_registry(settings(), session)
        roles = role_names(session)
    how = reading or ReadOptions()
    done = import_questions(
        database,
        *(
            stream_rows(one, roles=roles, encoding=how.encoding, renamed=how.columns)
            for one in paths
        ),
        source=source,
        extra_tags=extra_tags,
        answer_check=answer_check,
        skip_errors=skip_errors,
        on_progress=on_progress,
    )
    return Imported(
        added=done.added,
        updated=done.updated,
        skipped=done.skipped,
        errors=done.errors,
        variants=done.variants,
        answers=done.answers,
        files=tuple(map(str, paths)),
        problems=tuple(one.sentence for one in done.problems),
        notes=(*skipped, *done.notes),
    )


def _files(path: Path) -> tuple[list[Path], list[str]]:
    """Return the files to read, and notes of those that are not."""
    if not path.is_dir():
        return [path], []
    files, notes = data_files(path, is_deep=False)
    if not files:
        raise UsageError(
            "{path} holds no file of questions; these are read: {suffixes}.",
            path=path,
            suffixes=", ".join(SUFFIXES),
        )
    return files, notes
