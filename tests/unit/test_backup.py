"""A backup is whole while everything runs; a restore checks first and loses nothing."""

import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from db.database import Database, open_database
from db.errors import Q2QError, UsageError
from db.locks import WORKER_LOCK, try_lock
from db.settings import Settings, settings
from db.store.backup import backup, backup_name, dump_command, restore
from db.store.migrate import open_store, status, upgrade
from db.tables import Tag


def add_tags(database: Database, *names: str) -> None:
    with database.write() as session:
        session.add_all(Tag(name=name) for name in names)


def tags_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM tag ORDER BY id")]


def only_visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_is_one_file_with_every_committed_row(database: Database, tmp_path: Path) -> None:
    add_tags(database, "one", "two")
    result = backup(database, tmp_path / "copies" / "mine.sqlite")
    assert tags_of(result.path) == ["one", "two"]
    assert result.size_bytes == result.path.stat().st_size
    assert only_visible(result.path.parent) == ["mine.sqlite"]


def test_a_backup_into_a_folder_gets_a_name(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    result = backup(database, folder)
    assert result.path.parent == folder
    assert result.path.name.startswith("q2q-2")
    assert backup_name("before-0007").endswith("-before-0007.sqlite")


def test_a_backup_never_overwrites(database: Database, tmp_path: Path) -> None:
    target = tmp_path / "mine.sqlite"
    target.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        backup(database, target)
    assert target.read_text() == "mine"


def test_a_backup_during_writes_holds_whole_transactions(
    database: Database, tmp_path: Path
) -> None:
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            add_tags(database, f"{number}-left", f"{number}-right")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [backup(database, tmp_path / f"{number}.sqlite").path for number in range(5)]
    finally:
        done.set()
        writer.join()
    for copy in copies:
        names = tags_of(copy)
        assert len(names) % 2 == 0
        assert [name.split("-")[1] for name in names] == ["left", "right"] * (len(names) // 2)


@contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """Let no file grow past ``n_bytes``: what a full disk looks like to SQLite."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_gives_a_sentence_and_leaves_nothing(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "copies"
    with file_size_limit(100_000), pytest.raises(Q2QError, match="see that the disk has room"):
        backup(database, folder / "mine.sqlite")
    assert only_visible(folder) == []


def test_a_folder_that_cannot_be_written_gives_a_sentence(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Q2QError, match=r"could not be written \((Not a directory|File exists)\)"):
        backup(database, tmp_path / "file" / "mine.sqlite")


def test_a_restore_brings_back_the_rows_and_keeps_the_file_that_was_there(
    database: Database, tmp_path: Path
) -> None:
    add_tags(database, "before")
    copy = backup(database, tmp_path / "mine.sqlite").path
    add_tags(database, "after")
    database.close()
    result = restore(settings(), copy)
    assert result.replaced is not None
    assert result.upgraded_from is None
    assert tags_of(result.path) == ["before"]
    assert tags_of(result.replaced) == ["before", "after"]
    assert result.replaced.name.startswith("q2q.sqlite.before-restore-")
    again = open_store(settings())
    add_tags(again, "works")
    again.close()
    assert tags_of(copy) == ["before"]


def test_a_restore_into_an_empty_home(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_tags(database, "kept")
    copy = backup(database, tmp_path / "mine.sqlite").path
    result = restore(Settings(home=tmp_path / "other"), copy)
    assert result.replaced is None
    assert tags_of(tmp_path / "other" / "q2q.sqlite") == ["kept"]


def test_a_copy_of_a_live_file_with_its_log_is_restored_whole(
    database: Database, tmp_path: Path
) -> None:
    add_tags(database, "in the log")
    assert database.path is not None
    for suffix in ("", "-wal"):
        source = Path(f"{database.path}{suffix}")
        (tmp_path / f"plain.sqlite{suffix}").write_bytes(source.read_bytes())
    restore(Settings(home=tmp_path / "other"), tmp_path / "plain.sqlite")
    assert tags_of(tmp_path / "other" / "q2q.sqlite") == ["in the log"]


def test_an_older_backup_is_upgraded_and_itself_left_as_it_is(tmp_path: Path, home: Path) -> None:
    old = open_database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    upgrade(old, "0003")
    add_tags(old, "old")
    old.close()
    result = restore(settings(), tmp_path / "old.sqlite")
    assert result.upgraded_from == "0003"
    store = open_store(settings())
    assert status(store).is_current
    store.close()
    assert tags_of(home / "q2q.sqlite") == ["old"]
    untouched = open_database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    assert status(untouched).current == "0003"
    untouched.close()


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8_000)
        file.write(b"\xff" * 200_000)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "is not a file"),
        ("folder", "is not a file"),
        ("text", r"cannot be read as a store \(file is not a database\)"),
        ("empty", "is not a store of the workbench"),
        ("other", "is not a store of the workbench"),
        ("damaged", "is damaged|malformed|cannot be read"),
        ("newer", "made by a newer version"),
    ],
)
def test_what_is_no_backup_changes_nothing(
    database: Database, tmp_path: Path, kind: str, sentence: str
) -> None:
    add_tags(database, "mine")
    source = tmp_path / "source.sqlite"
    if kind == "folder":
        source.mkdir()
    elif kind == "text":
        source.write_text("not a database " * 1_000)
    elif kind == "empty":
        source.touch()
    elif kind == "other":
        with closing(sqlite3.connect(source)) as connection:
            connection.execute("CREATE TABLE invoices (id)")
    elif kind != "missing":
        backup(database, source)
    if kind == "damaged":
        damage(source)
    if kind == "newer":
        with closing(sqlite3.connect(source)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '0999'")
    database.close()
    with pytest.raises(UsageError, match=sentence) as caught:
        restore(settings(), source)
    assert "\n" not in str(caught.value)
    home = settings().home_dir
    assert tags_of(home / "q2q.sqlite") == ["mine"]
    assert [name for name in only_visible(home) if "restore" in name or "part" in name] == []


def test_a_restore_beside_a_running_worker_is_refused(database: Database, tmp_path: Path) -> None:
    copy = backup(database, tmp_path / "mine.sqlite").path
    database.close()
    lock = try_lock(settings().home_dir / WORKER_LOCK)
    assert lock is not None
    with lock, pytest.raises(Q2QError, match="A worker is running"):
        restore(settings(), copy)


def test_a_restore_under_an_open_app_is_refused(database: Database, tmp_path: Path) -> None:
    copy = backup(database, tmp_path / "mine.sqlite").path
    add_tags(database, "after")
    with database.read() as session:
        session.scalar(select(func.count()).select_from(Tag))
        with pytest.raises(Q2QError, match="open in another process, such as the app"):
            restore(settings(), copy)
    assert tags_of(settings().home_dir / "q2q.sqlite") == ["after"]


def test_a_damaged_store_is_replaced_and_kept(database: Database, tmp_path: Path) -> None:
    copy = backup(database, tmp_path / "mine.sqlite").path
    database.close()
    store = settings().home_dir / "q2q.sqlite"
    store.write_bytes(b"no database any more " * 1_000)
    result = restore(settings(), copy)
    assert result.replaced is not None
    assert result.replaced.read_bytes().startswith(b"no database")
    restored = open_store(settings())
    with restored.read() as session:
        assert session.scalar(text("SELECT count(*) FROM tag")) == 0
    restored.close()


def test_a_server_is_backed_up_by_its_own_tool(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:secret@db.example/q2q"
    server = open_database(url)
    command = "pg_dump --format=custom --file=q2q.dump 'postgresql://me@db.example/q2q'"
    assert dump_command(server) == command
    with pytest.raises(Q2QError, match="backed up by its own tool: pg_dump"):
        backup(server, tmp_path / "x.sqlite")
    with pytest.raises(Q2QError, match="pg_restore --clean"):
        restore(Settings(home=tmp_path, database_url=url), tmp_path / "x.dump")
