"""A store with the example training set, and an adapter that was really trained on it.

``trained_adapter`` is made once a session (a minute or so on two cores). Copy its home or only
read it: other tests build on it.
"""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.database import Database, open_database
from db.settings import Settings
from serving.formats.library import load_registry
from serving.importers.question_files import import_path
from tests.conftest import CACHE
from training.datasets.build import build
from training.datasets.freeze import freeze
from training.datasets.rules import parse_rules
from training.runs.prepare import plan_run, queue_run
from training.runs.run import TrainingOutcome, run_training
from training.runs.spec import parse_spec

EXAMPLES = Path(__file__).parents[1] / "examples" / "training"
ENGLISH = {
    "name": "english-examples",
    "questions": {"languages": ["en"]},
    "take": {"sources": ["imported"]},
    "without_reasoning": 0,
    "held_out": 0,
    "findings": [],
}
STEPS = 20
"""Of 8 rows."""
SETTINGS = {
    "preset": "laptop", "max_steps": STEPS, "eval_every": STEPS, "save_every": STEPS, "samples": 1,
    "max_length": 112, "learning_rate": 2e-3, "warmup": 2,
}  # fmt: skip
LOOKS = {"HELD_OUT_ROWS": 16, "SAMPLE_TOKENS": {"cpu": 24}}
"""Of ``training.runs.prepare``: a look at the start and one at the end show that both fall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedAdapter:
    """A home whose store holds the example questions, a dataset, a done run and its adapter."""

    settings: Settings
    outcome: TrainingOutcome
    dataset_id: int

    @property
    def database_file(self) -> Path:
        return self.settings.home_dir / "q2q.sqlite"

    def open(self) -> Database:
        """Return its store; close it after use."""
        return open_database(f"sqlite:///{self.database_file}")


def example_store(migrated_file: Path, home: Path) -> tuple[Settings, Database, int]:
    """Return settings, a store with the example set, and the dataset of its English rows."""
    home.mkdir(exist_ok=True)
    shutil.copy(migrated_file, home / "q2q.sqlite")
    settings = Settings(home=home, cache=Path(CACHE), device="cpu")
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    import_path(database, EXAMPLES)
    with database.write() as session:
        built = build(session, parse_rules(ENGLISH), load_registry(settings, session))
        dataset_id = freeze(session, built)
    return settings, database, dataset_id


@pytest.fixture(scope="session")
def trained_adapter(
    migrated_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainedAdapter:
    """The embedded model, taught by the English example rows to write a reasoning first."""
    home = tmp_path_factory.mktemp("trained") / "home"
    settings, database, dataset_id = example_store(migrated_file, home)
    try:
        spec = parse_spec({**SETTINGS, "dataset": ENGLISH["name"], "name": "round1"})
        prepared = plan_run(database, settings, spec)
        with database.write() as session:
            run = queue_run(session, spec, prepared)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in LOOKS.items():
                patch.setattr(f"training.runs.prepare.{name}", value)
            outcome = asyncio.run(run_training(database, settings, run.id))
    finally:
        database.close()
    return TrainedAdapter(settings=settings, outcome=outcome, dataset_id=dataset_id)
