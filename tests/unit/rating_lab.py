"""What the tests of rating files share: two stores with the same texts under other numbers."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db.database import Database
from tests.unit.dataset_lab import Lab
from workbench.rating.axes import load_axes
from workbench.rating.importing import RatingImport, import_ratings

QUESTIONS = ("Why is the sea salty?", "なぜ空は青いのですか。")
REASONINGS = ("You should think of rivers.", "You should think of rocks.")
ANSWERS = ("Rivers bring salt.", "Nobody knows.")


def fill(session: Session, *, shift: int = 0) -> None:
    """Store each question with both reasonings, and each reasoning with both answers.

    Args:
        session: Of the store.
        shift: So many other texts come first, so that ids differ between stores.
    """
    lab = Lab(session)
    for number in range(shift):
        lab.whole(f"Another question, number {number}?")
    for question in QUESTIONS:
        q = lab.question(question)
        for reasoning in REASONINGS:
            v = lab.reasoning(q, reasoning)
            for answer in ANSWERS:
                lab.answer(q, v, answer)


def row(**changes: Any) -> dict[str, Any]:
    """Return a good row of a value on an axis, with these changes; None leaves a field out."""
    given = {
        "rater": "Ben",
        "scope": "reasoning",
        "axis": "clear",
        "value": 3,
        "question": QUESTIONS[0],
        "reasoning": REASONINGS[0],
    } | changes
    return {name: value for name, value in given.items() if value is not None}


def comparison(**changes: Any) -> dict[str, Any]:
    """Return a good row of a comparison, with these changes."""
    given = {"axis": None, "value": None, "outcome": "a", "other_reasoning": REASONINGS[1]}
    return row(**(given | changes))


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    return path


def bring(database: Database, path: Path) -> RatingImport:
    """Import a file as in a home without axes of its own."""
    return import_ratings(database, path, load_axes(path.parent / "no home"))
