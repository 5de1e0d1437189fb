import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from db.settings import Settings
from db.store.migrate import open_store
from serving.device import resolve_device
from workbench.doctor import machine, run_checks
from workbench.doctor.check import Check
from workbench.doctor.machine import (
    ROOT,
    check_device,
    check_disk,
    check_memory,
    check_packages,
    check_ports,
    check_python,
    read_pins,
)
from workbench.doctor.store import check_database, check_model, find_damage
from workbench.jobs.lock import HomeLock


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(app_port=free_port())


@pytest.fixture
def stored(settings: Settings) -> Settings:
    """Return settings whose store is made and up to date."""
    open_store(settings).close()
    return settings


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_state(check: Check, state: str, *words: str) -> None:
    assert check.state == state, check
    assert (check.remedy is None) == (state == "ok")
    said = f"{check.message} {check.remedy or ''}"
    for word in words:
        assert word in said


def test_all_checks_run_on_an_empty_home_and_make_nothing(settings: Settings):
    checks = run_checks(settings)
    assert [check.name for check in checks] == [
        *("Python", "Packages", "Device", "Memory", "Disk", "Ports", "Model", "Plan", "Database")
    ]
    assert not settings.home_dir.exists()


def test_a_set_up_machine_is_found_fit_within_two_seconds(stored: Settings, embedded_model: Path):
    started = time.monotonic()
    checks = run_checks(stored)
    assert time.monotonic() - started < 2
    assert [check for check in checks if check.state == "fail"] == []


def test_the_checks_import_no_torch():
    code = (
        "import sys, workbench.doctor; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_untested_python_is_a_warning():
    assert_state(check_python((3, 14)), "warn", "3.14", "3.11 and 3.12", "make setup")
    assert_state(check_python((3, 12)), "ok")


def test_the_installed_packages_are_the_tested_ones():
    assert_state(check_packages(resolve_device()), "ok")


def test_pins_are_read_through_included_files():
    pins = read_pins(ROOT / "requirements-cpu.txt")
    assert pins["torch"].endswith("+cpu")
    assert pins["psycopg"]  # has an extra
    assert pins["sqlalchemy"]  # stands in the included file


@pytest.mark.parametrize(
    ("pins", "state", "words"),
    [
        ("pytest==0.0.1\n", "warn", ("pytest", "tested: 0.0.1", "make setup")),
        ("no-such-package==1.0\n", "fail", ("no-such-package", "make setup")),
    ],
)
def test_other_packages_than_tested_are_named(
    tmp_path: Path, pins: str, state: str, words: tuple[str, ...]
):
    (tmp_path / "requirements-cpu.txt").write_text(pins)
    assert_state(check_packages("cpu", tmp_path), state, *words)


def test_without_the_requirements_nothing_is_claimed(tmp_path: Path):
    assert_state(check_packages("cpu", tmp_path), "warn", "git clone")


@pytest.mark.parametrize(
    ("script", "state", "words"),
    [
        ("echo 'NVIDIA H200, 143771 MiB, 580.1'", "ok", ("H200", "143771 MiB")),
        ("exit 0", "fail", ("no GPU",)),
        ("exit 9", "fail", ("does not answer", "Q2Q_DEVICE=cpu")),
        (None, "fail", ("nvidia-smi", "missing")),
    ],
)
def test_a_gpu_is_described_or_missed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str | None,
    state: str,
    words: tuple[str, ...],
):
    if script is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_state(check_device("cuda"), state, *words)


def test_a_processor_without_avx2_cannot_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu sse2 avx\n")
    assert_state(machine.check_processor(cpuinfo), "fail", "AVX2", "servers")
    cpuinfo.write_text("flags : fpu sse2 avx2 avx512f\n")
    assert_state(machine.check_processor(cpuinfo), "ok", "AVX-512")


def test_little_memory_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    memory = SimpleNamespace(available=2 * machine.GIB, total=4 * machine.GIB)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)
    assert_state(check_memory(settings, "cpu"), "warn", "2.0 of 4.0 GiB", "Q2Q_KV_CACHE_GIB")


@pytest.mark.parametrize(("free_gb", "state"), [(80, "ok"), (3, "warn"), (0.2, "fail")])
def test_disk_is_looked_at_where_the_home_will_be(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free_gb: float, state: str
):
    asked: list[Path] = []

    def disk_usage(folder: Path) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(free=free_gb * 1e9)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    assert_state(check_disk(settings), state)
    assert all(folder.exists() for folder in asked)


def test_a_taken_port_is_a_failure_that_names_a_free_one(taken_port: int):
    check = check_ports(Settings(app_port=taken_port))
    assert_state(check, "fail", str(taken_port), "Q2Q_APP_PORT=")


def test_the_port_of_our_own_page_is_fine(taken_port: int, home: Path):
    home.mkdir()
    url = f"http://127.0.0.1:{taken_port}"
    with HomeLock(home, "up", command="q2q up", url=url) as lock:
        assert lock.try_acquire()
        assert_state(check_ports(Settings(app_port=taken_port)), "ok", url)


def test_a_taken_server_port_is_a_failure(settings: Settings, taken_port: int):
    taken = settings.model_copy(update={"server_port": taken_port})
    assert_state(check_ports(taken), "fail", "Q2Q_SERVER_PORT=0")


def test_the_embedded_model_is_missed_where_it_is_not(tmp_path: Path):
    assert_state(check_model(Settings(cache=tmp_path), "cpu"), "fail", "make setup")


def test_a_folder_without_a_configuration_is_no_model(tmp_path: Path):
    assert_state(check_model(Settings(model=str(tmp_path)), "cpu"), "fail", "config.json")
    (tmp_path / "config.json").write_text("{}")
    assert_state(check_model(Settings(model=str(tmp_path)), "cpu"), "ok")


def test_an_unknown_name_is_taken_for_a_hub_id(stored: Settings):
    named = stored.model_copy(update={"model": "some/model"})
    assert_state(check_model(named, "cuda"), "warn", "q2q model add some/model")


def test_a_sound_store_is_said_to_be_so(stored: Settings):
    assert_state(check_database(stored), "ok", "q2q.sqlite", "sound")


def test_an_older_store_asks_for_an_upgrade(stored: Settings):
    write(stored, "UPDATE alembic_version SET version_num = '0000'")
    check = check_database(stored)
    assert check.state == "fail"
    assert check.remedy


def test_a_file_that_is_no_store_is_a_failure(settings: Settings):
    settings.home_dir.mkdir()
    (settings.home_dir / "q2q.sqlite").write_text("this is not a database at all " * 100)
    assert_state(check_database(settings), "fail", "q2q restore")


def test_an_unreachable_server_is_a_failure(home: Path):
    url = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    assert_state(check_database(Settings(database_url=url)), "fail", "Q2Q_DATABASE_URL")


def test_damage_in_the_file_is_found(stored: Settings):
    file = stored.home_dir / "q2q.sqlite"
    write(stored, "CREATE TABLE filler AS SELECT randomblob(100000) AS blob")
    write(stored, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert find_damage(file) is None
    content = bytearray(file.read_bytes())
    content[8192:40960] = b"\xff" * (40960 - 8192)
    file.write_bytes(content)
    assert find_damage(file)


def test_a_large_store_is_read_for_a_limited_time(stored: Settings):
    write(stored, "CREATE TABLE filler (value INTEGER)")
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
    write(stored, f"INSERT INTO filler {many} SELECT i FROM n")
    assert find_damage(stored.home_dir / "q2q.sqlite", read_s=0) is None


def write(settings: Settings, statement: str) -> None:
    connection = sqlite3.connect(settings.home_dir / "q2q.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_home_that_cannot_be_made_fails_before_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file" / "home", Path("/proc/q2q")):
        check = check_database(Settings(home=home))
        assert check.state == "fail"
        assert "cannot be made" in check.message
        assert check.remedy is not None
        assert "Q2Q_HOME" in check.remedy
        check_ports(Settings(home=home, app_port=free_port()))
