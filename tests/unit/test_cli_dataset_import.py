"""``q2q dataset import``: previewed, imported once, and wrong rows named."""

import json
from pathlib import Path

import pytest

from db.database import Database
from tests.unit.sweep_lab import scalar
from tests.unit.test_cli import Q2Q, q2q

__all__ = ["q2q"]

ROWS = [
    {
        "instruction": "Why?",
        "input": "",
        "reasoning": "You should ask.",
        "output": "So.",
        "flag": "assistant",
    },
    {"conversations": [{"from": "human", "value": "How?"}, {"from": "gpt", "value": "Thus."}]},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS), "utf-8")
    return path


def test_a_file_is_previewed_and_imported_once(database: Database, q2q: Q2Q, file: Path) -> None:
    assert q2q("dataset", "import", file, "--preview", "--json").json["questions"] == 2
    assert scalar(database, "SELECT count(*) FROM question") == 0
    assert q2q("dataset", "import", file, "--tag", "theirs", "--json").json["answers"] == 2
    assert q2q("dataset", "import", file, "--json").json["questions"] == 0
    assert scalar(database, "SELECT count(*) FROM question_tag") == 2


def test_a_wrong_row_is_named_and_nothing_is_imported(
    database: Database, q2q: Q2Q, file: Path
) -> None:
    with file.open("a", encoding="utf-8") as rows:
        rows.write('\n{"prompt": "What?", "chosen": "A", "rejected": 7}')
    ended = q2q("dataset", "import", file)
    assert ended.code == 2
    assert "rows.jsonl, line 3" in ended.err
    assert scalar(database, "SELECT count(*) FROM question") == 0
    assert q2q("dataset", "import", file, "--skip-errors").code == 0
    assert scalar(database, "SELECT count(*) FROM question") == 2


def test_a_judge_is_a_person_or_a_model(q2q: Q2Q, file: Path) -> None:
    ended = q2q("dataset", "import", file, "--by", "robot")
    assert ended.code == 2
    assert "'robot' is neither person nor model" in ended.err
