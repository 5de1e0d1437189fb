"""Raw prompts whose question is known in two parts: the question and its context."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.generations import chunks
from db.identity import question_hash
from db.tables import Question
from serving.importers.example_files import FileExamples
from serving.importers.examples import Example
from serving.importers.rows import ImportRow

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
