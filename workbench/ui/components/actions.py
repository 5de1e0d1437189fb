"""What buttons do that is more than one line: bring questions in, queue a sweep. No drawing."""

from pathlib import Path

from db.database import Database
from db.errors import UsageError
from db.jobs import active_jobs, enqueue_sweep
from serving.formats.library import Registry
from serving.importers.questions import import_questions
from serving.importers.readers import SUFFIXES, stream_rows
from serving.sweeps.plan import queue_sweep
from serving.sweeps.spec import load_spec

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EXAMPLE_QUESTIONS = EXAMPLES / "questions"
FIRST_SWEEP = EXAMPLES / "sweeps" / "first.yaml"


def import_examples(database: Database) -> tuple[int, int]:
    """Bring the bundled questions in; return how many are new and how many were there already."""
    files = [path for path in sorted(EXAMPLE_QUESTIONS.iterdir()) if path.suffix in SUFFIXES]
    done = import_questions(database, *map(stream_rows, files), source="example")
    return done.added, done.skipped + done.updated


def start_first_sweep(database: Database, registry: Registry) -> int:
    """Queue the bundled first sweep; return its id."""
    with database.write() as session:
        return queue_sweep(session, load_spec(FIRST_SWEEP), registry)[0]


def resume_sweep(database: Database, sweep_id: int, *, retry_failed: bool = False) -> int:
    """Queue what is missing of a sweep, failed texts included on demand; return the job's id.

    Raises:
        UsageError: It waits or runs already.
    """
    with database.write() as session:
        if active_jobs(session, sweep_id=sweep_id):
            raise UsageError(f"Sweep {sweep_id} is waiting or running already.")
        return enqueue_sweep(session, sweep_id, retry_failed=retry_failed)
