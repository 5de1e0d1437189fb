"""``q2q merge``, ``q2q model verify`` and ``q2q model prune``: proved merges."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from db.errors import Q2QError, UsageError
from workbench.cli.context import open_home
from workbench.cli.output import Json, show, show_json, show_table
from workbench.cli.typer_app import CommandGroup

if TYPE_CHECKING:
    from db.database import Database
    from db.models import ProofRow
    from db.settings import Settings

Merged = Annotated[str, typer.Argument(help="Name of a merged model, or its id, e.g. m3.")]


def register(app: CommandGroup, models: CommandGroup) -> None:
    """Add ``merge`` to ``app``, and ``verify`` and ``prune`` to ``models``."""
    app.as_command()(merge)
    models.as_command()(verify)
    models.as_command()(prune)


def merge(
    adapter: Annotated[str, typer.Argument(help="Name of an adapter, or its id, e.g. m2.")],
    name: Annotated[
        str | None, typer.Option(help="How the merge is called [default: ADAPTER-merged].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Merge an adapter into its 16-bit base, in a fresh folder, and prove the result.

    A pruned merge is made again. A merge that fails its proof cannot be used.

    Example:
      q2q merge round-1
      q2q merge round-1 --name round-1-16bit
    """
    from db.models import find_model

    with open_home() as (settings, database):
        with database.read() as session:
            found = find_model(session, adapter)
        if found.kind != "adapter":
            raise UsageError(f"{found.name} is no adapter; `q2q model list` shows which are.")
        _run(settings, database, "merge", {"adapter_id": found.id, "name": name}, as_json)


def verify(model: Merged, as_json: Json = False) -> None:
    """Check a merged model again: files, every tensor, and what it says beside its adapter.

    Example:
      q2q model verify round-1-merged
    """
    from db.models import find_model

    with open_home() as (settings, database):
        with database.read() as session:
            found = find_model(session, model)
        if found.kind != "merged":
            raise UsageError(f"{found.name} is no merged model; `q2q model list` shows which are.")
        _run(settings, database, "verify", {"model_id": found.id}, as_json)


def prune(model: Merged, as_json: Json = False) -> None:
    """Drop the weights of a merge to free the disk; adapter and proof stay.

    `q2q merge` makes the same weights again, and so does a sweep that names the model.

    Example:
      q2q model prune round-1-merged
    """
    from db.models import find_model
    from training.merge.prune import prune as drop

    with open_home() as (_, database):
        with database.read() as session:
            found = find_model(session, model)
        freed = drop(database, found)
    if as_json:
        show_json({"id": found.id, "name": found.name, "state": "pruned", "freed_bytes": freed})
    else:
        show(f"{found.name} is pruned: {freed / 1e9:.1f} GB are free; `q2q merge` remakes it.")


def _run(
    settings: "Settings", database: "Database", kind: str, payload: dict[str, Any], as_json: bool
) -> None:
    from db.jobs import enqueue
    from db.models import proof_of
    from workbench.cli.progress import open_progress
    from workbench.worker.follow import run_job

    with database.write() as session:
        job_id = enqueue(session, kind, lane="device", payload=payload)
    with open_progress() as progress:
        job = run_job(settings, database, job_id, progress.update, command=kind)
    if job.state != "done" or job.result is None:
        raise Q2QError(job.error or f"The {kind} was stopped; nothing is left of it.")
    with database.read() as session:
        proof = proof_of(session, job.result["model_id"])
    assert proof is not None
    if as_json:
        show_json({**job.result, "checks": proof.checks})
    else:
        show_proof(proof)
        show(f"{job.result['model']} (m{job.result['model_id']}) is {job.result['state']}.")
    if not proof.passed:
        raise Q2QError("The proof failed: the merge stays unusable. See the checks above.")


def show_proof(proof: "ProofRow") -> None:
    """Write the checks of a proof, one a line."""
    rows = [
        {"check": check.name, "passed": "yes" if check.passed else "NO", "found": check.detail}
        for check in proof.checks
    ]
    show_table(rows, ("check", "passed", "found"))
