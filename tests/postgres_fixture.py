"""A real PostgreSQL server for the tests that need one, in a folder of its own."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

OPTIONS = "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c shared_buffers=16MB"


def find_binaries() -> Path | None:
    """Return the newest folder that holds ``initdb``; None where PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    return folders[-1].parent if folders else None


def _version(initdb: Path) -> int:
    return int(initdb.parents[1].name)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Yield the URL of an empty server that listens on a socket only, without a password."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with postgres_server(binaries) as url:
        yield url


@contextmanager
def postgres_server(binaries: Path, options: str = OPTIONS) -> Iterator[str]:
    """Run an empty server for the block; yield its URL."""
    folder = Path(tempfile.mkdtemp(prefix="q2q-postgres-"))
    data = folder / "data"
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        _run([binaries / "initdb", "-D", data, "-U", "q2q", "-A", "trust", "-E", "UTF8",
              "--locale=C", "--no-sync"])  # fmt: skip
        options = f"{options} -c unix_socket_directories={folder}"
        log = folder / "log"
        _run([binaries / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", log, "-o", options, "start"])
        try:
            yield f"postgresql+psycopg://q2q@/postgres?host={folder}"
        finally:
            _run([binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_away(url: str) -> Iterator[None]:
    """Have the server of ``postgres_server`` stopped for the block; who is connected loses it."""
    _control(url, "-m", "fast", "stop")
    try:
        yield
    finally:
        _, _, _, *options = shlex.split((_folder_of(url) / "data/postmaster.opts").read_text())
        _control(url, "-l", _folder_of(url) / "log", "-o", shlex.join(options), "start")


def restart_postgres(url: str) -> None:
    """Stop the server of ``postgres_server``, and start it anew."""
    _control(url, "-m", "fast", "-l", _folder_of(url) / "log", "restart")


def _control(url: str, *arguments: str | Path) -> None:
    binaries = find_binaries()
    assert binaries is not None
    data = _folder_of(url) / "data"
    _run([binaries / "pg_ctl", "-D", data, "-w", "-t", "60", *arguments])


def _folder_of(url: str) -> Path:
    return Path(url.partition("host=")[2])


def _run(command: Sequence[str | Path]) -> None:
    """Run one of PostgreSQL's tools, which refuse to work for root."""
    user = "postgres" if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(part) for part in command],
        user=user, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}"
