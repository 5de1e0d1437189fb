"""Training examples to the store: what an import would bring, and the import, whole or not at all.

A row becomes a question with an imported reasoning and answer; a pair becomes a comparison that the
better text won; OK and not OK become ratings. Rules of datasets take them as they take others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Self

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.generations import chunks
from db.ratings import add_ratings
from db.tables import Rating
from serving.importers.changes import ImportPlan, plan_import
from serving.importers.example_files import FileExamples
from serving.importers.questions import import_questions
from serving.importers.rows import ReadResult
from serving.importers.source import ImportRefused, Problem, problem_at
from training.imports.judged import Judge, card_of, is_judged, rater_of, ratings_of
from training.imports.known import part_known_contexts
from training.imports.leaks import refuse_leaks

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
    session: Session, files: Sequence[FileExamples], judge: Judge
) -> ExamplePreview:
    """Return what importing these files would bring; writes nothing.

    Questions that the store knows with a context get it back in ``files``, and only then are
    held-out questions that train looked for: questions are the same with their contexts.
    """
    part_known_contexts(session, files)
    refuse_leaks(files)
    seen = _Seen()
    counts, problems, notes = ExampleCounts(), [], []
    for file in files:
        plan = plan_import(session, _result(file))
        told = [_plainly(problem, file) for problem in plan.problems]
        problems += told
        notes += [f"{file.name}: {note}" if len(files) > 1 else note for note in file.notes]
        counts += _counts(session, file, plan, judge, seen)
    return ExamplePreview(counts=counts, problems=tuple(problems), notes=tuple(notes))


def import_examples(
    session: Session,
    files: Sequence[FileExamples],
    *,
    judge: Judge,
    tags: Iterable[str] = (),
    skip_errors: bool = False,
) -> ExamplePreview:
    """Import training examples in the caller's one transaction; return what it brought.

    The same files again bring nothing.

    Raises:
        ImportRefused: There are problems and ``skip_errors`` is not set. Nothing was written.
        UsageError: The judge's name cannot be one.
    """
    done = preview_examples(session, files, judge)
    if any(problem.line is None or not skip_errors for problem in done.problems):
        raise ImportRefused(done.problems, _NOTHING_DONE)
    rater_id: int | None = None
    for file in files:
        import_questions(session, _result(file), extra_tags=tags, skip_errors=skip_errors)
        judged = [one for one in file.examples if is_judged(one)]
        if judged:
            rater_id = rater_id or rater_of(session, judge)
            add_ratings(session, ratings_of(session, file, judged, rater_id, judge))
    return done


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
    if problem.field != "held_out":
        return problem
    what = (
        "is held out in these files, and the store knows its question as one that may train; "
        "remove the row."
    )
    return problem_at(file.name, file.unit, problem.line, None, what)


class _Seen:
    """What earlier files bring already."""

    def __init__(self) -> None:
        self.questions: set[str] = set()
        self.texts: set[tuple[str, ...]] = set()
        self.cards: set[str] = set()


def _counts(
    session: Session, file: FileExamples, plan: ImportPlan, judge: Judge, seen: _Seen
) -> ExampleCounts:
    changes = plan.changes.values()
    new = {one.content_hash for one in changes if one.question_id is None} - seen.questions
    reasonings = {("v", c.content_hash, v) for c in changes for v in c.new_variants}
    answers = {("a", c.content_hash, v or "", a) for c in changes for v, a in c.new_answers}
    cards = {card_of(one, judge): one for one in file.examples if is_judged(one)}
    known = set(_known_cards(session, cards)) | seen.cards
    fresh = [one for card, one in cards.items() if card not in known]
    counts = ExampleCounts(
        questions=len(new),
        reasonings=len(reasonings - seen.texts),
        answers=len(answers - seen.texts),
        comparisons=sum(one.rejected is not None for one in fresh),
        labels=sum(one.label is not None for one in fresh),
        rows=len(file.examples),
        held_out=sum(bool(one.row.held_out) for one in file.examples),
        pairs=sum(one.rejected is not None for one in file.examples),
        judged=sum(one.label is not None for one in file.examples),
        left_out=file.left_out.total(),
        errors=plan.n_errors,
    )
    seen.questions |= new
    seen.texts |= reasonings | answers
    seen.cards |= cards.keys()
    return counts


def _known_cards(session: Session, cards: Iterable[str]) -> Iterator[str]:
    for some in chunks(sorted(cards)):
        yield from session.scalars(select(Rating.card_id).where(Rating.card_id.in_(some)))
