"""Training examples to the store: what an import would bring, and the import, whole or not at all.

A row becomes a question with an imported reasoning and answer; a pair becomes a comparison that the
better text won; OK and not OK become ratings. Rules of datasets take them as they take others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.database import Database
from db.identity import question_hash
from db.store.staging import import_lock, tidy_alone
from db.tables import Question, Rating
from serving.importers.examples import Example, ImportRow, ReadResult
from serving.importers.folders import FileExamples
from serving.importers.judgements import (
    Judge,
    JudgedExample,
    card_of,
    is_judged,
    rater_of,
    ratings_of,
)
from serving.importers.plan import ImportPlan
from serving.importers.questions import OnProgress, check_plan, no_progress, read_files
from serving.importers.source import ImportRefused, Problem, problem_at
from serving.importers.spool import Spool
from serving.importers.writing import Judgements, StoreWriter

_BORDER = "\n\n"
_MOST_BORDERS = 20
"""A text of more paragraphs is looked at up to here."""


def part_known_contexts(session: Session, files: Sequence[FileExamples]) -> None:
    """Give back their contexts to raw prompts, where files or store have the question with one.

    A chat prompt without a reasoning is the question and its context with a blank line between
    them; nothing else can tell it from a question of two paragraphs.
    """
    raw = [one for file in files for one in file.examples if one.is_raw]
    borders = dict(parts for one in raw for parts in _partings(one.row))
    others = (one.row for file in files for one in file.examples if not one.is_raw)
    known = {question_hash(row.text, row.context, row.role) for row in others} & borders.keys()
    for some in chunks(sorted(borders)):
        found = select(Question.content_hash).where(Question.content_hash.in_(some))
        known.update(session.scalars(found))
    if known:
        for file in files:
            file.examples = [_parted(one, known) if one.is_raw else one for one in file.examples]


def _partings(row: ImportRow) -> Iterator[tuple[str, tuple[str, str]]]:
    parts = row.text.split(_BORDER)
    for place in range(1, min(len(parts), _MOST_BORDERS)):
        text, context = _BORDER.join(parts[:place]), _BORDER.join(parts[place:])
        yield question_hash(text, context, row.role), (text, context)


def _parted(example: Example, known: set[str]) -> Example:
    found = next((parts for key, parts in _partings(example.row) if key in known), None)
    if found is None:
        return example
    text, context = found
    worse = example.rejected and replace(example.rejected, text=text, context=context)
    row = replace(example.row, text=text, context=context)
    return replace(example, row=row, rejected=worse, is_raw=False)


def refuse_leaks(files: Sequence[FileExamples]) -> None:
    """Refuse held-out rows whose question is to be trained on in the same set.

    They go from the examples of ``files`` to their problems.
    """
    train: dict[str, str] = {}
    for file in files:
        for one in file.examples:
            if not one.row.held_out:
                place = f"{file.name}, {file.unit} {one.row.line}"
                train.setdefault(_key(one), place)
    for file in files:
        kept = []
        for one in file.examples:
            place_of_train = train.get(_key(one)) if one.row.held_out else None
            if place_of_train is None:
                kept.append(one)
                continue
            what = f"is held out, and its question also trains ({place_of_train}); take one out."
            file.problems.append(problem_at(file.name, file.unit, one.row.line, None, what))
        file.examples = kept


def _key(example: Example) -> str:
    row = example.row
    return question_hash(row.text, row.context, row.role)


_NOTHING_DONE = "Nothing was imported: correct the data, or import it without the rows named here."


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

    def __add__(self, other: Self) -> Self:
        """Return the sums."""
        names = (one.name for one in fields(self))
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplePreview:
    """What an import would do."""

    counts: ExampleCounts
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def preview_examples(
    database: Database,
    files: Sequence[FileExamples],
    judge: Judge,
    *,
    on_progress: OnProgress = no_progress,
) -> ExamplePreview:
    """Return what importing these files would bring; writes nothing.

    Questions that the store knows with a context get it back in ``files``, and only then are
    held-out questions that train looked for: questions are the same with their contexts.
    """
    with Spool(database) as spool:
        return _plan(database, ImportPlan(database, spool), files, judge, on_progress)[0]


def import_examples(
    database: Database,
    files: Sequence[FileExamples],
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
        plan = ImportPlan(database, spool, extra_tags=tags)
        done, judged = _plan(database, plan, files, judge, on_progress)
        if any(problem.line is None or not skip_errors for problem in done.problems):
            raise ImportRefused(done.problems, _NOTHING_DONE)
        check_plan(database, plan, on_progress)
        writer = StoreWriter(
            database, plan, "imported", _judgements(database, spool, judged, judge)
        )
        writer.write(lambda n_done: on_progress("writing", n_done, writer.n_rows))
        return done


def _judgements(
    database: Database, spool: Spool, judged: Sequence[JudgedExample], judge: Judge
) -> Judgements | None:
    if not judged:
        return None
    return Judgements(
        len(judged),
        lambda session: rater_of(session, judge),
        lambda ids, rater_id: ratings_of(database, spool, judged, ids, rater_id, judge),
    )


def _plan(
    database: Database,
    plan: ImportPlan,
    files: Sequence[FileExamples],
    judge: Judge,
    on_progress: OnProgress,
) -> tuple[ExamplePreview, list[JudgedExample]]:
    """Take ``files`` into ``plan``; return what they bring and the judgements that are new."""
    with database.read() as session:
        part_known_contexts(session, files)
    refuse_leaks(files)
    problems: list[Problem] = []
    notes: list[str] = []
    for file in files:
        n_before = len(plan.problems)
        read_files(plan, [_result(file)], on_progress)
        problems += [_plainly(problem, file) for problem in plan.problems[n_before:]]
        notes += [f"{file.name}: {note}" if len(files) > 1 else note for note in file.notes]
    judged = _new_judgements(database, files, judge)
    counts = sum((_counts_of(file) for file in files), start=ExampleCounts())
    counts += ExampleCounts(
        questions=plan.n_questions,
        reasonings=plan.n_variants,
        answers=plan.n_answers,
        comparisons=sum(one.example.rejected is not None for one in judged),
        labels=sum(one.example.label is not None for one in judged),
        errors=plan.n_errors,
    )
    return ExamplePreview(counts=counts, problems=tuple(problems), notes=tuple(notes)), judged


def _result(file: FileExamples) -> ReadResult:
    rows = [row for one in file.examples for row in (one.row, one.rejected) if row is not None]
    return ReadResult(
        name=file.name,
        unit=file.unit,
        rows=rows,
        problems=file.problems,
        encoding="",
        columns=[],
        notes=file.notes,
    )


def _plainly(problem: Problem, file: FileExamples) -> Problem:
    """Say in words of splits that a question cannot become held out any more."""
    if problem.field != "held_out" or problem in file.problems:
        return problem
    what = (
        "is held out in these files, and the store knows its question as one that may train; "
        "remove the row."
    )
    return problem_at(file.name, file.unit, problem.line, None, what)


def _counts_of(file: FileExamples) -> ExampleCounts:
    """Return what a file holds, new or not."""
    return ExampleCounts(
        rows=len(file.examples),
        held_out=sum(bool(one.row.held_out) for one in file.examples),
        pairs=sum(one.rejected is not None for one in file.examples),
        judged=sum(one.label is not None for one in file.examples),
        left_out=file.left_out.total(),
    )


def _new_judgements(
    database: Database, files: Sequence[FileExamples], judge: Judge
) -> list[JudgedExample]:
    """Return what is judged in ``files`` and not in the store yet, each once."""
    cards = {
        card_of(one, judge): JudgedExample(one, file.name)
        for file in files
        for one in file.examples
        if is_judged(one)
    }
    with database.read() as session:
        for some in chunks(sorted(cards)):
            for card in session.scalars(select(Rating.card_id).where(Rating.card_id.in_(some))):
                del cards[card]
    return list(cards.values())
