"""``q2q dataset import``: a preview, the import, and an error, as a person sees them."""

import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from db.database import Database
from db.tables import Question, Rating
from workbench.cli import main

ROWS = [
    {"prompt": "Why?", "chosen": "Because.", "rejected": "No."},
    {"prompt": "Why?", "chosen": "So.", "rejected": "So."},
]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["q2q", "dataset", "import", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.run()
    return int(ended.value.code or 0)


def test_a_preview_an_error_and_an_import(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "preferences.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    assert run(monkeypatch, str(path), "--preview", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["comparisons"], told["errors"]) == (1, 1)
    assert run(monkeypatch, str(path)) != 0
    assert "preferences.jsonl, line 2, field 'rejected': says the same" in capsys.readouterr().err
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Question)) == 0
    assert run(monkeypatch, str(path), "--skip-errors", "--tag", "outside") == 0
    assert "comparisons" in capsys.readouterr().out
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Rating)) == 1
    assert run(monkeypatch, str(path), "--judged-by", "cat") == 2
