"""``q2q worker``: the workers of one store."""

from db.jobs import active_jobs
from db.store.migrate import open_home
from db.workers.live import live_workers
from workbench.cli.output import Json, inform, show_json, show_table
from workbench.cli.typer_app import CommandGroup

app = CommandGroup()


@app.as_command()
def run() -> None:
    """Run jobs of the store until Ctrl-C, without the page; models load as jobs ask for them.

    On PostgreSQL any number of machines can do so, each with a home of its own.

    Example:
      q2q worker run
    """
    from workbench.worker import run_worker

    with open_home() as (settings, database):
        inform(f"Running jobs of {database.label}; Ctrl-C ends.")
        run_worker(settings, database)


@app.as_command("list")
def list_(as_json: Json = False) -> None:
    """Show the workers that live: where, what each does, and when it last told of itself.

    Example:
      q2q worker list
    """
    with open_home() as (_, database), database.read() as session:
        workers = live_workers(session)
        kinds = {job.id: _name(job.kind, job.sweep_id) for job in active_jobs(session)}
    if as_json:
        show_json(workers)
        return
    rows = [
        {
            "host": worker.host,
            "home": worker.home,
            "works at": [kinds.get(job_id, f"job {job_id}") for job_id in worker.job_ids],
            "heartbeat": f"{worker.silent_s:.0f} s ago",
        }
        for worker in workers
    ]
    show_table(rows, ("host", "home", "works at", "heartbeat"))


def _name(kind: str, sweep_id: int | None) -> str:
    return f"{kind} {sweep_id}" if sweep_id is not None else kind
