"""The edge of the program: odd settings, streams and numbers end in a sentence, never as a bug."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from db.database import open_database
from db.errors import UsageError
from db.settings import Settings, load_settings
from serving.importers.question_files import import_path

ROOT = Path(__file__).parents[2]


def shell(command: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which ``q2q`` is this program."""
    given = os.environ | {"PYTHONPATH": str(ROOT), "Q2Q_HOME": str(home), **environment}
    line = command.replace("q2q ", f"'{sys.executable}' -m workbench.cli.main ")
    return subprocess.run(
        ["bash", "-c", line], cwd=home, env=given, capture_output=True, text=True, check=False
    )


@pytest.fixture
def full(home: Path, migrated_file: Path) -> Path:
    """A home with a store; its folder is where commands run."""
    home.mkdir(exist_ok=True)
    (home / "q2q.sqlite").write_bytes(migrated_file.read_bytes())
    (home / "rows.jsonl").write_text('{"question": "なぜ空は青い？"}\n', "utf-8")
    return home


@pytest.fixture
def imported(full: Path) -> Path:
    """The same with one question."""
    database = open_database(f"sqlite:///{full / 'q2q.sqlite'}")
    import_path(database, full / "rows.jsonl")
    database.close()
    return full


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        ("q2q question list >&-", {}),
        ("q2q question list 2>&-", {}),
        ("q2q question list <&- >&- 2>&-", {}),
        ("q2q question list | true", {}),
        ("q2q question export | head -c 1 >/dev/null", {}),
        ("q2q question import rows.jsonl >&-", {}),
        ("q2q question list", {"PYTHONIOENCODING": "ascii"}),
        ("q2q question list", {"LC_ALL": "C", "PYTHONUTF8": "0"}),
    ],
)
def test_closed_and_narrow_streams_are_no_bug(
    command: str, environment: dict[str, str], imported: Path
) -> None:
    ended = shell(f"{command}; test ${{PIPESTATUS[0]}} -le 1", imported, **environment)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "bug" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    with contextlib.closing(sqlite3.connect(imported / "q2q.sqlite")) as store:
        texts = store.execute("SELECT text FROM question").fetchall()
    assert texts == [("なぜ空は青い？",)], "the store was not written over"


def test_json_in_a_narrow_encoding_is_json(imported: Path) -> None:
    for command in ("q2q question list --json", "q2q question export --json"):
        told = shell(command, imported, PYTHONIOENCODING="ascii").stdout
        assert "\\u306a\\u305c" in told
        assert told.isascii()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("Q2Q_HOME", " ", "home: is blank"),
        ("Q2Q_HOME", "~nobody-is-called-so/x", "names a home folder that this machine does not"),
        ("Q2Q_CACHE", "~nobody-is-called-so/x", "names a home folder that this machine does not"),
        ("Q2Q_SERVERS", "x", 'error parsing value for field "servers"'),
        ("Q2Q_VLLM_ARGS", "--flag", 'error parsing value for field "vllm_args"'),
        ("Q2Q_DATABASE_URL", "sqlite://", "names no file, so that nothing would be kept"),
        ("Q2Q_DATABASE_URL", "sqlite:///:memory:", "names no file, so that nothing would be kept"),
        ("Q2Q_REQUEST_TIMEOUT_S", "inf", "request_timeout_s: Input should be a finite number"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from db.settings import settings

    settings.cache_clear()
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"^The settings are wrong: ") as refused:
        load_settings()
    assert sentence in str(refused.value)
    settings.cache_clear()


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name != "servers"])
def test_an_empty_variable_is_as_if_it_were_not_set(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"Q2Q_{name.upper()}", raising=False)
    without = getattr(Settings(), name)
    monkeypatch.setenv(f"Q2Q_{name.upper()}", "")
    assert getattr(Settings(), name) == without


@pytest.mark.parametrize(
    "words",
    [
        "rate queue --name x --sweep 99999999999999999999",
        "question list --limit 99999999999999999999",
        "rate queue --name x --minutes inf",
        "train list --limit 9223372036854775808",
    ],
)
def test_numbers_that_no_store_can_hold_are_refused(
    words: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from workbench.cli import main

    monkeypatch.setattr(sys, "argv", ["q2q", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 2
    assert "is no number that can be used" in capsys.readouterr().err


def test_a_home_of_a_newer_version_is_one_sentence(
    full: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from workbench.cli import main

    with contextlib.closing(sqlite3.connect(full / "q2q.sqlite")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in ("question list", "sweep list", "rate export", "dialogue show", "doctor"):
        monkeypatch.setattr(sys, "argv", ["q2q", *command.split()])
        with pytest.raises(SystemExit) as ended:
            main.run()
        shown = capfd.readouterr()
        assert ended.value.code in (1, 2)
        assert "bug" not in shown.err
        assert "newer" in shown.err + shown.out


def test_a_workbook_with_a_wrong_byte_is_refused_in_one_sentence(tmp_path: Path) -> None:
    from openpyxl import Workbook

    from serving.importers.readers import read_rows

    book = Workbook()
    for row in (["question", "answer"], *([f"Why {n}?", f"Because {n}."] for n in range(50))):
        book.active.append(row)
    book.save(tmp_path / "whole.xlsx")
    whole = (tmp_path / "whole.xlsx").read_bytes()
    refused = 0
    for at in range(0, len(whole), 41):
        file = tmp_path / "spoilt.xlsx"
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read_rows(file)
        except UsageError:
            refused += 1
    assert refused > 20


def test_a_backup_with_wrong_letters_is_refused_in_one_sentence(full: Path) -> None:
    data = (full / "q2q.sqlite").read_bytes()
    wrong = full / "wrong.sqlite"
    wrong.write_bytes(data.replace(b"CREATE TABLE", b"CREATE TABL\xf2"))
    ended = shell("q2q restore wrong.sqlite", full)
    assert ended.returncode == 2
    assert "cannot be read as a store" in ended.stderr
    assert (full / "q2q.sqlite").read_bytes() == data


def test_help_imports_little() -> None:
    """Commands import what they need when they run."""
    command = [sys.executable, "-X", "importtime", "-m", "workbench.cli.main", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    heavy = {"sqlalchemy", "pydantic", "yaml", "torch", "aiohttp", "tempfile", "rich", "openpyxl"}
    assert not heavy & imported
