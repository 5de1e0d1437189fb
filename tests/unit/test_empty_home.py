"""A new, empty home: documented commands work there, or say how to bring what they need."""

import sys
from pathlib import Path

import pytest

from db.database import Database
from db.errors import UsageError
from db.questions import NewQuestion, add_question
from db.rounds import list_rounds
from db.texts.rows import NO_QUESTIONS, NO_TEXTS, require_texts
from workbench.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"


def q2q(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run a command as its program does; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["q2q", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main.run()
    return int(ended.value.code or 0)


def test_an_example_sweep_brings_the_example_questions(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert q2q(monkeypatch, "sweep", "plan", EXAMPLES / "sweeps" / "first.yaml") == 0
    told = capsys.readouterr()
    assert "79 example questions are in the store." in told.err
    assert "questions" in told.out
    assert q2q(monkeypatch, "sweep", "plan", EXAMPLES / "sweeps" / "first.yaml") == 0
    assert "example questions" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("rate", "queue", "--name", "x"),
        ("rate", "queue", "--name", "x", "--scope", "question"),
        ("dataset", "build", EXAMPLES / "datasets" / "first_round.yaml"),
        ("round", "run", EXAMPLES / "rounds" / "first.yaml"),
    ],
)
def test_without_questions_a_command_says_how_to_bring_some(
    words: tuple[object, ...],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert q2q(monkeypatch, *words) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == NO_QUESTIONS
    with database.read() as session:
        assert list_rounds(session) == [], "no name is used up"


def test_questions_without_texts_are_told_from_none(database: Database) -> None:
    with database.read() as session, pytest.raises(UsageError, match="no questions yet"):
        require_texts(session)
    with database.write() as session:
        add_question(session, NewQuestion(text="Why?"))
    with database.read() as session, pytest.raises(UsageError) as refused:
        require_texts(session)
    assert str(refused.value) == NO_TEXTS
