"""What buttons do that is more than one line: bring questions in, queue a sweep. No drawing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from db.database import Database
from db.errors import UsageError
from db.jobs import active_jobs, enqueue
from db.sweeps import set_state
from serving.formats.library import Registry
from serving.importers.questions import import_questions
from serving.importers.readers import SUFFIXES, stream_rows
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.spec import SweepSpec, load_spec

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EXAMPLE_QUESTIONS = EXAMPLES / "questions"
FIRST_SWEEP = EXAMPLES / "sweeps" / "first.yaml"


def import_examples(database: Database) -> tuple[int, int]:
    """Bring the bundled questions in; return how many are new and how many were there already."""
    files = [path for path in sorted(EXAMPLE_QUESTIONS.iterdir()) if path.suffix in SUFFIXES]
    done = import_questions(database, *map(stream_rows, files), source="example")
    return done.added, done.skipped + done.updated


def queue_sweep(database: Database, spec: SweepSpec, registry: Registry) -> int:
    """Plan, store and queue a sweep in one transaction; return its id.

    Raises:
        UsageError: A name in the spec stands for nothing, or it leaves nothing to do.
    """
    with database.write() as session:
        sweep_id = save_sweep(session, plan_sweep(session, spec, registry))
        enqueue(session, "sweep", sweep_id=sweep_id)
        set_state(session, sweep_id, "queued")
    return sweep_id


def start_first_sweep(database: Database, registry: Registry) -> int:
    """Queue the bundled first sweep; return its id."""
    return queue_sweep(database, load_spec(FIRST_SWEEP), registry)


def resume_sweep(database: Database, sweep_id: int, *, retry_failed: bool = False) -> int:
    """Queue what is missing of a sweep, failed texts included on demand; return the job's id.

    Raises:
        UsageError: It waits or runs already.
    """
    payload: Mapping[str, Any] = {"retry_failed": True} if retry_failed else {}
    with database.write() as session:
        if active_jobs(session, sweep_id=sweep_id):
            raise UsageError(f"Sweep {sweep_id} is waiting or running already.")
        job_id = enqueue(session, "sweep", sweep_id=sweep_id, payload=payload)
        set_state(session, sweep_id, "queued")
    return job_id
