"""Fixtures around the fake model server; loaded by ``tests/conftest.py``."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.server import FakeServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    """A fake model server in a thread, fresh for each test."""
    server = FakeServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def fake_server_process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the fake server as a process; yield it and its URL, and end it afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.server", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = process.stdout.readline().removeprefix("listening on ").strip()
        yield process, f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
