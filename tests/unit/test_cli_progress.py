"""What long work and results look like on a terminal and in a pipe."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.cli.output import show_fields, show_json, show_table
from workbench.cli.progress import BarProgress, LineProgress, import_progress, open_progress


def test_a_pipe_gets_a_line_only_when_something_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with LineProgress(every_s=0) as progress:
        progress.update(1, 4, "Writes.")
        progress.update(1, 4, "Writes.")
        progress.update(0, None, "Loads.")
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["1 of 4: Writes.", "Loads."]
    assert captured.out == ""


def test_a_pipe_gets_a_line_only_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with LineProgress(every_s=60) as progress:
        for done in range(50):
            progress.update(done, 50, "Writes.")
    assert capsys.readouterr().err.splitlines() == ["0 of 50: Writes."]


def test_a_bar_keeps_off_stdout_and_takes_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    with BarProgress() as progress:
        progress.update(1, 4, "[bold]no markup")
        progress.update(4, 4, "Done.")
    assert capsys.readouterr().out == ""
    assert isinstance(open_progress(), LineProgress)


def test_tables_align_and_numbers_go_right(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(
        [{"name": "first", "cells": 4}, {"name": "x\ny", "cells": 120}], ("name", "cells", "gone")
    )
    assert capsys.readouterr().out.splitlines() == [
        "name   cells  gone",
        "first      4     -",
        "x y      120     -",
    ]


def test_empty_fields_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_fields({"name": "first", "note": None, "base_model": "m1"})
    assert capsys.readouterr().out.splitlines() == ["name        first", "base model  m1"]


def test_json_takes_what_queries_return(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass
    class Row:
        at: datetime
        path: Path
        ids: tuple[int, ...]

    show_json([Row(datetime(2026, 11, 1, tzinfo=UTC), Path("a"), (1, 2))])
    assert json.loads(capsys.readouterr().out) == [
        {"at": "2026-11-01T00:00:00+00:00", "path": "a", "ids": [1, 2]}
    ]


def test_an_import_tells_phase_speed_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(100, 1_000, 10))
    monkeypatch.setattr("workbench.cli.progress.time.monotonic", lambda: next(now))
    with import_progress() as tell:
        tell("reading", 1_000_000, 4_000_000)
        tell("reading", 3_000_000, 4_000_000)
        tell("writing", 100, 500)
        tell("writing", 300, 500)
    assert capsys.readouterr().err.splitlines() == [
        "1000 of 4000: kB read",
        "3000 of 4000: kB read, 0.1 MB/s, 10 s left",
        "100 of 500: rows written",
        "300 of 500: rows written, 10/s, 20 s left",
    ]


def test_ctrl_c_in_an_import_says_that_nothing_was_imported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KeyboardInterrupt), import_progress():
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "Stopped; nothing was imported.\n"
