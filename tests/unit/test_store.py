"""The store takes many writers, refuses what breaks it, and ends its locks with their holders."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from db.database import Database, open_database
from db.errors import Q2QError
from db.locks import try_lock
from db.settings import settings
from db.store.backup import backup, restore
from db.store.migrate import open_store
from db.store.schema import VIEWS
from db.tables import Question, Tag
from tests.store_rows import (
    make_answer,
    make_generation,
    make_library,
    make_question,
    make_sweep,
    make_variant,
)

WRITERS = 8

WRITER = """
import sys
from sqlalchemy import func, select
from db.store.migrate import open_store
from db.settings import settings
from db.tables import Tag
database = open_store(settings())
for number in range(int(sys.argv[2])):
    with database.write() as session:
        session.scalar(select(func.count()).select_from(Tag))
        session.add(Tag(name=f"{sys.argv[1]}-{number}"))
database.close()
"""
"""Reads and then writes: the pattern that fails at once where the write lock comes too late."""


def run_writer(name: str, n_rows: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WRITER, name, str(n_rows)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_eight_writers_that_read_before_they_write_never_fail(database: Database) -> None:
    start = threading.Barrier(WRITERS)

    def write(writer: int) -> None:
        start.wait()
        for number in range(15):
            with database.write() as session:
                session.scalar(select(func.count()).select_from(Tag))
                session.add(Tag(name=f"{writer}-{number}"))

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Tag)) == WRITERS * 15


def test_processes_that_meet_on_an_empty_home_all_complete_it_and_write() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run_writer, "ab", (5, 5)))
    assert [(one.returncode, one.stderr) for one in results] == [(0, "")] * 2
    database = open_store(settings())
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Tag)) == 10
    database.close()


def test_a_reader_sees_one_moment_while_others_write(database: Database) -> None:
    with database.read() as session:
        before = session.scalar(select(func.count()).select_from(Tag))
        with database.write() as writer:
            writer.add(Tag(name="new"))
        assert session.scalar(select(func.count()).select_from(Tag)) == before == 0
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Tag)) == 1


def test_an_error_in_a_unit_of_work_writes_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        session.add(Tag(name="lost"))
        session.flush()
        raise RuntimeError
    with database.read() as session:
        assert session.scalars(select(Tag.name)).all() == []


def test_a_slot_has_at_most_one_good_attempt(database: Database) -> None:
    with database.write() as session:
        make_library(session)
        question = make_question(session)
        make_generation(session, question, slot_key="k", error="Nothing came.")
        make_generation(session, question, slot_key="k", attempt=2)
    for values in ({"attempt": 3}, {"attempt": 2, "error": "again"}):
        with pytest.raises(IntegrityError), database.write() as session:
            make_generation(session, 1, slot_key="k", **values)


def test_references_are_kept(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        make_library(session)
        make_generation(session, 99)


def test_times_are_utc_and_one_without_a_zone_is_refused(database: Database) -> None:
    with database.write() as session:
        made = session.get_one(Question, make_question(session))
        made.created_at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with database.read() as session:
        assert session.scalar(select(Question.created_at)) == datetime(2026, 1, 1, 12, tzinfo=UTC)
    with pytest.raises(StatementError, match="time without zone"), database.write() as session:
        session.get_one(Question, 1).created_at = datetime(2026, 1, 1)  # noqa: DTZ001


def test_every_view_can_be_read(database: Database) -> None:
    with database.write() as session:
        make_library(session)
        question, sweep = make_question(session), make_sweep(session)
        variant = make_variant(session, question, "Think.", sweep_id=sweep, flags=("b", "a"))
        make_answer(session, question, variant, "So.", sweep_id=sweep)
        make_answer(session, question, None, "Mine.", source="human")
    with database.read() as session:
        counts = {view: session.scalar(text(f"SELECT count(*) FROM {view}")) for view in VIEWS}
        shown = session.execute(text("SELECT * FROM v_variant")).mappings().one()
    assert counts == {
        "v_question": 1, "v_variant": 1, "v_answer": 2, "v_generation": 2, "v_rating": 0,
        "v_sweep": 1, "v_sweep_text": 2,
    }  # fmt: skip
    assert (shown["model"], shown["prompt_format"], shown["role"]) == (
        "small",
        "tagged@1",
        "assistant",
    )
    assert (shown["temperature"], shown["max_tokens"], shown["n_answers"]) == (0.8, 64, 1)
    assert sorted(shown["flags"].split(", ")) == ["a", "b"]


def test_ratings_are_counted_in_views_unless_undone(database: Database) -> None:
    with database.write() as session:
        make_library(session)
        question = make_question(session)
        variant = make_variant(session, question, "Think.")
        make_variant(session, question, "Think again.")
        session.execute(
            text("INSERT INTO rater (name, kind, created_at) VALUES ('A', 'person', 0)")
        )
        for card, values in enumerate(
            ("'ok', 1, NULL, NULL, NULL", "'ok', 0, NULL, NULL, NULL",
             "'ok', NULL, NULL, NULL, 2", "'preference', NULL, 'a', 2, NULL")
        ):  # fmt: skip
            session.execute(text(
                "INSERT INTO rating (rater_id, scope, question_id, variant_id, blind, answer_seen,"
                " card_id, created_at, axis, value, outcome, other_variant_id, undoes_id)"
                f" VALUES (1, 'reasoning', 1, {variant}, 1, 0, 'c{card}',"
                f" '2026-11-23 00:00:00', {values})"
            ))  # fmt: skip
    with database.read() as session:
        counted = session.execute(text("SELECT n_ratings, n_comparisons FROM v_variant")).all()
        undone = session.execute(text("SELECT rating_id, is_undone FROM v_rating")).all()
    assert counted == [(1, 1), (0, 1)]
    assert undone == [(1, 0), (2, 1), (4, 0)]


def test_a_folder_that_cannot_be_made_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Q2QError, match="set Q2Q_HOME"):
        open_database(f"sqlite:///{tmp_path}/file/home/q2q.sqlite")


@pytest.mark.parametrize("name", ["what?", "50%20off", "a#b&c=d", "日本 語"])
def test_a_home_may_have_any_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    monkeypatch.setenv("Q2Q_HOME", str(folder))
    settings.cache_clear()
    database = open_store(settings())
    assert database.path == folder / "q2q.sqlite"
    copy = backup(database, folder / "copy?.sqlite").path
    database.close()
    restored = restore(settings(), copy)
    assert restored.path == folder / "q2q.sqlite"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("url", ["nonsense", "oracle+nodriver://x", "mysql+pymysql://u@h/d"])
def test_a_wrong_url_gives_a_sentence_without_its_password(url: str) -> None:
    with pytest.raises(Q2QError, match="Q2Q_DATABASE_URL"):
        open_database(url)


def test_a_label_hides_the_password() -> None:
    database = open_database("postgresql+psycopg://me:secret@localhost/q2q")
    assert "secret" not in database.label
    assert "localhost" in database.label


HOLDER = "import sys, time; from pathlib import Path; from db.locks import try_lock;"
HOLDER += " lock = try_lock(Path(sys.argv[1])); print(lock is not None, flush=True); time.sleep(60)"


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "home" / "worker.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert try_lock(path) is None
        holder.kill()
    for _ in range(2):  # what is let go can be taken again
        lock = try_lock(path)
        assert lock is not None
        with lock:
            assert try_lock(path) is None


def test_a_lock_that_cannot_be_opened_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Q2QError, match=r"cannot be opened .*set Q2Q_HOME"):
        try_lock(tmp_path / "file" / "worker.lock")
