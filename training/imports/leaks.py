"""Held-out rows of a training set whose question the same set trains on."""

from collections.abc import Sequence

from db.identity import question_hash
from serving.importers.example_files import FileExamples
from serving.importers.examples import Example
from serving.importers.source import problem_at


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
