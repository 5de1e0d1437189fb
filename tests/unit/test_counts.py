"""Counts over very many rows: made beside the page, shown once they are there."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from db import counts
from db.counts import background_count, is_counted
from db.database import Database
from tests.store_rows import wait_for_counts


def after(gate: threading.Event, value: int) -> Callable[[Session], int]:
    def count(session: Session) -> int:
        assert gate.wait(20)
        assert session.connection() is not None
        return value

    return count


def test_a_page_does_not_wait_for_a_long_count_and_finds_it_later(database: Database) -> None:
    gate = threading.Event()
    with database.read() as session:
        assert background_count(session, "a", 1, after(gate, 7)) is None
        assert background_count(session, "a", 1, after(gate, 8)) is None  # the same count goes on
        gate.set()
        wait_for_counts()
        assert background_count(session, "a", 1, after(gate, 9)) == 7


def test_what_is_counted_first_is_there_for_good(database: Database) -> None:
    gate = threading.Event()
    with database.read() as session:
        assert not is_counted(session, "a", after(gate, 0))
        gate.set()
        wait_for_counts()
        assert is_counted(session, "a", after(threading.Event(), 0))
        assert is_counted(session, "b", lambda own: None)  # what is counted quickly is there


def test_an_older_count_is_shown_while_a_newer_one_is_made(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, open_gate = threading.Event(), threading.Event()
    open_gate.set()
    monkeypatch.setattr(counts, "WAIT_S", 20.0)
    with database.read() as session:
        assert background_count(session, "b", 1, after(open_gate, 7)) == 7
        monkeypatch.setattr(counts, "WAIT_S", 0.01)
        assert background_count(session, "b", 2, after(gate, 8)) == 7
        gate.set()
        wait_for_counts()
        assert background_count(session, "b", 2, after(gate, 9)) == 8
        monkeypatch.setattr(counts, "WAIT_S", 20.0)
        monkeypatch.setattr(counts, "QUICK_S", 20.0)  # no rest for what is quick to count
        assert background_count(session, "b", 3, after(open_gate, 10)) == 10


def test_a_count_that_fails_says_so_once_the_page_looks_again(database: Database) -> None:
    gate = threading.Event()

    def fail(session: Session) -> int:
        assert gate.wait(20)
        raise ArithmeticError("no such number")

    with database.read() as session:
        assert background_count(session, "c", 1, fail) is None
        gate.set()
        wait_for_counts()
        with pytest.raises(ArithmeticError, match="no such number"):
            background_count(session, "c", 1, fail)
