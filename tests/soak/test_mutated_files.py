"""2,000 spoilt files through every door of the command line: sentences or success, nothing else.

Each is a real example, or an export of the workbench itself, spoilt at random. What is refused
leaves the store as it was. ``Q2Q_SOAK_SEED`` draws others; a failure keeps its files and says so.
"""

import io
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from db.errors import Q2QError
from db.settings import settings
from tests.soak.mutations import spoilt
from workbench.cli import main

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SEED = os.environ.get("Q2Q_SOAK_SEED", "1")
EACH = 100
NO_WORK = "No model server and no training here."
NOT_COUNTED = ("model_version", "tensor_file", "engine", "prompt_format", "role", "sqlite_sequence")
"""What is looked up and kept, whatever becomes of a command."""


@dataclass(frozen=True)
class Door:
    """A command that reads a file."""

    words: tuple[str, ...]
    """``FILE`` stands for the file."""
    sources: tuple[str, ...]
    """Examples, or names of files that the fixture ``made`` writes."""
    target: str = ""
    """Name in the home, where the file is not named by the command."""
    more: tuple[str, ...] = field(default=())
    """Options that some of the calls have."""


QUESTIONS = (
    "questions/english.jsonl",
    "questions/japanese.jsonl",
    "questions/with_reasoning.jsonl",
)
DOORS = {
    "questions": Door(("question", "import", "FILE"), QUESTIONS, more=("--skip-errors",)),
    "tables": Door(
        ("question", "import", "FILE"), ("table.csv", "table.tsv", "table.json", "table.jsonl")
    ),
    "workbooks": Door(("question", "import", "FILE"), ("table.xlsx", "table.parquet")),
    "examples": Door(
        ("dataset", "import", "FILE"),
        ("training/held_out.jsonl", "pairs.json", "chats.jsonl", "table.csv"),
        more=("--preview", "--skip-errors"),
    ),
    "packed examples": Door(("dataset", "import", "FILE"), ("table.parquet", "table.xlsx")),
    "ratings": Door(("rate", "import", "FILE"), ("ratings.jsonl", "ratings.csv", "ratings.xlsx")),
    "sweeps": Door(
        ("sweep", "plan", "FILE"),
        ("sweeps/first.yaml", "sweeps/roles_and_formats.yaml", "sweeps/supplied.yaml"),
    ),
    "running sweeps": Door(("sweep", "run", "FILE"), ("sweeps/first.yaml",)),
    "rules": Door(
        ("dataset", "build", "FILE"),
        ("datasets/first_round.yaml", "datasets/preferences.yaml", "datasets/ok_or_not.yaml"),
        more=("--preview",),
    ),
    "themes": Door(
        ("dialogue", "new", "FILE"),
        ("themes/town_without_cars.yaml", "themes/repair.yaml", "themes/school_library_ja.yaml"),
    ),
    "sessions": Door(("dialogue", "import", "FILE"), ("dialogues/earlier_sessions.csv",)),
    "rounds": Door(("round", "run", "FILE"), ("rounds/first.yaml",)),
    "trainings": Door(("train", "run", "FILE"), ("training_runs/first_round.yaml",)),
    "axes": Door(
        ("rate", "queue", "--name", "x", "--scope", "question"), ("axes.yaml",), "axes.yaml"
    ),
    "imported axes": Door(("rate", "import", "RATINGS"), ("axes.yaml",), "axes.yaml"),
    "formats": Door(("sweep", "plan", "SWEEP"), ("formats.yaml",), "formats.yaml"),
    "settings": Door(("question", "list"), ("q2q.toml",), "q2q.toml"),
    "backups": Door(("restore", "FILE"), ("backup.sqlite",)),
    "models": Door(
        ("model", "add", "FOLDER"), ("adapter_config.json",), "adapter/adapter_config.json"
    ),
    "weights": Door(
        ("model", "add", "FOLDER"),
        ("adapter_model.safetensors",),
        "adapter/adapter_model.safetensors",
    ),
}
IS_TEXT = {".jsonl", ".json", ".csv", ".tsv", ".yaml", ".toml"}


def q2q(*words: object, capture: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command as its program does; return exit code, stdout and stderr."""
    settings.cache_clear()
    sys.argv = ["q2q", *map(str, words)]
    try:
        main.run()
    except SystemExit as ended:
        code = int(ended.code or 0)
    told = capture.readouterr()
    return code, told.out, told.err


def rows_of(store: Path) -> dict[str, int]:
    """Return the number of rows of every table."""
    connection = sqlite3.connect(store)
    try:
        names = [row[0] for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'search_index_%'"
        )]  # fmt: skip
        return {
            name: connection.execute(f"SELECT count(*) FROM '{name}'").fetchone()[0]
            for name in names
            if name not in NOT_COUNTED
        }
    finally:
        connection.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with questions, ratings and a dataset, and files of every kind beside it."""
    from tests.soak.sources import write_sources

    return write_sources(tmp_path_factory.mktemp("soak"), EXAMPLES)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no command start a model server or a training; keep what a run of the program changes."""

    def refuse(*_: object, **__: object) -> None:
        raise Q2QError(NO_WORK)

    monkeypatch.setattr("workbench.worker._work_until_ended", refuse)
    monkeypatch.setattr(sys, "argv", ["q2q"])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    yield
    settings.cache_clear()


def one_case(
    door: Door, name: str, number: int, made: Path, home: Path, capture: pytest.CaptureFixture[str]
) -> str | None:
    """Spoil a file, give it to its door, and return what is wrong with what came of it."""
    draw = Random(f"{SEED}/{name}/{number}")
    source = draw.choice(door.sources)
    path = EXAMPLES / source if "/" in source else made / source
    file = home / (door.target or f"spoilt{path.suffix}")
    data = spoilt(path.read_bytes(), draw, is_text=path.suffix in IS_TEXT)
    file.write_bytes(data)
    known = {"FILE": file, "FOLDER": file.parent, "RATINGS": made / "ratings.jsonl",
             "SWEEP": EXAMPLES / "sweeps" / "first.yaml"}  # fmt: skip
    words = [known.get(word, word) for word in door.words]
    words += [option for option in door.more if draw.random() < 0.3]
    as_json = draw.random() < 0.5
    before = rows_of(home / "q2q.sqlite")
    code, out, err = q2q(*words, *(["--json"] if as_json else []), capture=capture)
    problem = _problem(code, out, err, home, as_json=as_json)
    if problem is None and code and NO_WORK not in err:
        after = rows_of(home / "q2q.sqlite")
        changed = {t: (before.get(t), n) for t, n in after.items() if before.get(t) != n}
        problem = f"refused, and the store changed: {changed}; {err[-300:]}" if changed else None
    if problem is not None:
        kept = made / "failures" / f"{name.replace(' ', '_')}-{number}{file.suffix}"
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(data)
        return f"{kept}: {' '.join(map(str, words))}: {problem}"
    return None


def _problem(code: int, out: str, err: str, home: Path, *, as_json: bool) -> str | None:
    if "This is a bug" in err or "Traceback" in err:
        traces = sorted((home / "logs").glob("bug-*.txt"))
        return f"a bug: {traces[-1].read_text('utf-8')[-1_500:] if traces else err[-2_000:]}"
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if code and not err.strip():
        return "refused without a sentence"
    if as_json:
        try:
            told = json.loads(out)
        except ValueError:
            return f"no JSON: {out[:200]!r}"
        if code and not (isinstance(told, dict) and str(told.get("error", "")).strip()):
            return f"no error in {out[:200]!r}"
    return None


@pytest.mark.parametrize("name", DOORS)
def test_a_spoilt_file_ends_in_a_sentence_or_in_success(
    name: str, made: Path, home: Path, no_work: None, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = []
    for number in range(EACH):
        if number % 20 == 0:
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(made / "home", home)
        found = one_case(DOORS[name], name, number, made, home, capsys)
        if found is not None:
            problems.append(found)
    connection = sqlite3.connect(home / "q2q.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    assert not problems, f"{len(problems)} of {EACH}:\n" + "\n\n".join(problems[:8])


def test_there_are_2000_files() -> None:
    assert len(DOORS) * EACH >= 2_000
