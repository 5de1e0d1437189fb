"""What the tests of rating files share: two stores with the same texts under other numbers."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from db.database import Database
from db.rating.ratings import (
    NewRating,
    Target,
    add_ratings,
    ensure_model_rater,
    ensure_rater,
    undo_ratings,
)
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


def leave_remarks(database: Database) -> None:
    """Store two questions as ``fill`` does, all ids from 1, and what people left on them.

    Aki calls the pair of v1 and v2 vague and notes why, takes back that v3 is vague, notes a3 and
    tags question 2; a model calls v4 vague.
    """
    with database.write() as session:
        fill(session)
        aki = ensure_rater(session, "Aki")
        model = ensure_model_rater(session, "judge")
        one, two = (Target(question_id=1, variant_id=id) for id in (1, 2))
        three, four = (Target(question_id=2, variant_id=id) for id in (3, 4))
        answer = Target(question_id=1, variant_id=2, answer_id=3)

        def say(rater: int, card: str, scope: str, target: Target, **said: object) -> NewRating:
            given = {"rater_id": rater, "scope": scope, "target": target, "blind": True}
            return NewRating(**given, card_id=card, **said)  # type: ignore[arg-type]

        tag = {"axis": "tag", "label": "vague"}
        pair = {"axis": "preference", "outcome": "a", "other": two}
        ids = add_ratings(
            session,
            [
                say(aki, "p", "reasoning", one, **pair, note="both guess"),
                say(aki, "p/1", "reasoning", one, **tag, note="both guess"),
                say(aki, "p/2", "reasoning", two, **tag, note="both guess"),
                say(aki, "s", "reasoning", three, **tag, note="gone"),
                say(aki, "t", "answer", answer, axis="ok", value=1.0, note="cites nobody"),
                say(aki, "q", "question", Target(question_id=2), axis="tag", label="broad"),
                say(model, "m", "reasoning", four, **tag, note="a model's reason"),
            ],
        )
        undo_ratings(session, [ids[3]])


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
