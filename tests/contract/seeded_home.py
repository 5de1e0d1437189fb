"""A home with some of everything, written by the seeds of other tests, for snapshots of output."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text
from typer.testing import CliRunner

from db.database import Database
from db.settings import settings
from tests.app.seed import seed_store
from tests.app.seed_dialogue import seed_dialogue, seed_sides, seed_synopsis
from tests.app.seed_models import seed_merge
from tests.app.seed_ratings import seed_ratings
from tests.app.seed_rounds import seed_round
from tests.browser.server import free_port
from tests.unit.dialogue_lab import THEME
from workbench.cli.main import app

SWEEP = {
    "name": "pilot",
    "questions": {"ids": [1]},
    "models": ["fake"],
    "formats": ["tagged@1"],
    "variants": 2,
    "answers": 1,
}
YAML_FILES: dict[str, dict[str, Any]] = {
    "sweep": SWEEP,
    "theme": THEME | {"settings": {"model": "talker", "prompt_format": "tagged@1"}},
    "sft": {"name": "sft", "kind": "sft", "take": {"sources": ["imported"]}, "held_out": 0.3},
    "dpo": {"name": "dpo", "kind": "dpo"},
    "kto": {"name": "kto", "kind": "kto"},
}
ROW_FILES: dict[str, list[dict[str, Any]]] = {
    "questions": [
        {
            "instruction": f"Why does {what} matter to the people of a town?",
            "reasoning": f"You should say what {what} costs.",
            "output": f"It matters since {what} is used by all.",
            "flag": "assistant",
        }
        for what in ("water", "light", "paper", "rain", "stone", "bread", "glass", "wool")
    ],
    "pairs": [
        {"prompt": f"Who sold {what}?", "chosen": f"Those with {what}.", "rejected": "Nobody."}
        for what in ("tea", "rice", "ink", "cloth")
    ],
    "labels": [
        {
            "prompt": f"Is {what} dear?",
            "completion": f"It depends: {what} was.",
            "label": i % 2 == 0,
        }
        for i, what in enumerate(("salt", "iron", "silk", "sugar"))
    ],
    "sheet": [{"question": "Who counted the cars?", "answer": "Two students did."}],
}


@pytest.fixture
def folder(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that commands take; the home of the test is filled."""
    monkeypatch.setenv("Q2Q_APP_PORT", str(free_port()))  # the usual one may be taken
    settings.cache_clear()
    random.seed(0)  # which texts meet on the cards of a queue is drawn
    seeded = seed_store(database)
    seed_ratings(database, seeded)
    dialogue_id = seed_dialogue(database, 6)
    seed_synopsis(database, dialogue_id)
    seed_sides(database, "Two sides")
    seed_merge(database, tmp_path, is_good=True)
    seed_round(database, seeded.model_id)
    with database.write() as session:
        session.execute(text("UPDATE question SET held_out = true WHERE id IN (7, 8)"))
    database.close()
    write_files(tmp_path)
    return tmp_path


def write_files(folder: Path) -> None:
    """Write the files that commands take."""
    for name, content in YAML_FILES.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), "utf-8")
    for name, rows in ROW_FILES.items():
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, "utf-8")


def q2q(*words: str) -> str:
    """Run a command in this process; return what it writes to stdout."""
    ended = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert ended.exit_code == 0, f"{' '.join(words)}: {ended.output}"
    return ended.stdout
