"""Locks that last, full disks and homes that can only be read give a sentence that helps."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import db.database
from db.database import Database, open_database
from db.errors import StoreBusy, StoreDamaged
from db.settings import settings
from db.store.migrate import open_store
from db.tables import Tag
from tests.small_disk import read_only_disk, run_mounted, small_disk
from workbench.cli.main import run


@contextmanager
def another_writer(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db.database, "BUSY_TIMEOUT_MS", 1)


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_lasts_is_another_program_that_writes(database: Database) -> None:
    assert database.path is not None
    writer = open_database(str(database.engine.url))
    with (
        another_writer(database.path),
        pytest.raises(StoreBusy, match=r"Another program is writing to .*: try again"),
        writer.write() as session,
    ):
        session.add(Tag(name="late"))
        session.flush()
    writer.close()


@pytest.mark.usefixtures("impatient")
def test_a_command_that_meets_a_lock_says_so_and_is_no_bug(
    database: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert database.path is not None
    file = tmp_path / "questions.jsonl"
    file.write_text('{"instruction": "Why?"}\n')
    monkeypatch.setattr("sys.argv", ["q2q", "question", "import", str(file)])
    with another_writer(database.path), pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "Another program is writing" in told
    assert "bug" not in told


def test_what_is_no_store_is_told_as_damaged_with_the_way_back(home: Path) -> None:
    home.mkdir()
    (home / "q2q.sqlite").write_bytes(b"no store at all " * 4096)
    with pytest.raises(StoreDamaged, match="q2q restore"):
        open_store(settings())


def test_a_read_only_home_is_listed_exported_and_backed_up(
    database: Database, home: Path, tmp_path: Path
) -> None:
    with database.write() as session:
        session.add(Tag(name="here"))
    database.close()
    done = run_mounted(
        f"{read_only_disk(home)}"
        f"q2q question list\nq2q question export\nq2q backup '{tmp_path}/copy.sqlite'\n"
        "q2q question import examples/questions || echo refused with $?"
    )
    assert "refused with 1" in done.stdout, done.stderr
    assert "can only be read here" in done.stderr
    assert "bug" not in done.stderr
    with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as copy:
        assert copy.execute("SELECT name FROM tag").fetchall() == [("here",)]
    assert sorted(path.name for path in home.iterdir()) == ["q2q.sqlite"]


def test_a_disk_that_fills_up_is_told_and_what_is_stored_can_still_be_read(
    home: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "long.jsonl"
    rows.write_text(
        "".join(
            f"{json.dumps({'instruction': f'Question {i}? ' + 'word ' * 300})}\n"
            for i in range(4000)
        )
    )
    done = run_mounted(
        f"{small_disk(home, 6)}"
        "q2q setup\n"
        f"q2q question import '{rows}' || echo import ended with $?\n"
        "q2q question list --json | wc -l\n"
        f"ls -A '{home}'\n"
        f"dd if=/dev/zero of='{home}/fill' bs=64k 2>/dev/null || true\n"
        "q2q question import examples/training || echo full ended with $?\n"
        "q2q question list --json --limit 1 >/dev/null && echo still listed\n"
        f"mkdir '{home}/new' && Q2Q_HOME='{home}/new' q2q question list || echo new ended with $?"
    )
    told = done.stdout.splitlines()
    assert "import ended with 1" in told, done.stderr
    assert "full ended with 1" in told
    assert "still listed" in told
    assert "new ended with 1" in told
    assert "MB free, and this needs about" in done.stderr
    assert done.stderr.count("is full; free some space") == 2
    assert "bug" not in done.stderr
    assert "q2q.sqlite" in told
    assert not [line for line in told if line.endswith(("-wal", ".part"))]
