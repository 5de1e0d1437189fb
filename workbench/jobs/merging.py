"""Jobs that merge an adapter, prove a merge, and make a pruned one again."""

import asyncio
from typing import Any

from db.database import Database
from db.models import ModelRow, ProofRow, adapter_of, get_model
from db.settings import Settings
from training.merge.folder import MergeError
from training.merge.merge import merge_adapter
from training.merge.process import Cancelled, OnProgress
from training.merge.proof import prove
from workbench.jobs.worker import Interrupted, JobContext


async def merge(context: JobContext) -> dict[str, Any]:
    """Merge and prove. Payload: ``adapter_id``, and ``name`` of the merge or None."""
    payload = context.job.payload
    try:
        model_id = await merge_adapter(
            context.database,
            context.settings,
            payload["adapter_id"],
            name=payload.get("name"),
            on_progress=context.report,
            cancelled=context.cancelled,
        )
        proof = await prove_for(context, model_id)
    except Cancelled:
        raise Interrupted from None
    return _result(context, model_id, proof)


async def verify(context: JobContext) -> dict[str, Any]:
    """Prove a merge again. Payload: ``model_id``."""
    model_id = context.job.payload["model_id"]
    try:
        proof = await prove_for(context, model_id)
    except Cancelled:
        raise Interrupted from None
    return _result(context, model_id, proof)


async def rebuild(
    database: Database,
    settings: Settings,
    model: ModelRow,
    *,
    on_progress: OnProgress = lambda done, total, message: None,
    cancelled: asyncio.Event | None = None,
) -> None:
    """Make a pruned merge again and prove it, and before it the merge that it was made on.

    Raises:
        MergeError: It could not be made, came out with other weights, or failed its proof.
        Cancelled: ``cancelled`` was set.
    """
    with database.read() as session:
        adapter_id = adapter_of(session, model.id)
        base = get_model(session, model.base_id) if model.base_id is not None else None
    if adapter_id is None:
        raise MergeError(f"The adapter of {model.name} is not known; it cannot be made again.")
    stop = cancelled or asyncio.Event()
    if base is not None and base.state == "pruned":
        await rebuild(database, settings, base, on_progress=on_progress, cancelled=stop)
    model_id = await merge_adapter(
        database, settings, adapter_id, name=model.name, on_progress=on_progress, cancelled=stop
    )
    proof = await prove(database, settings, model_id, on_progress=on_progress, cancelled=stop)
    if not proof.passed:
        raise MergeError(failure(proof))
    if model_id != model.id:
        with database.read() as session:
            other = get_model(session, model_id).name
        raise MergeError(
            f"{model.name} came out with other weights on this machine (another device or version);"
            f" they are called {other}. Use these, or merge where {model.name} was made."
        )


def failure(proof: ProofRow) -> str:
    """Return why a proof failed, in a sentence for each check."""
    return " ".join(check.detail or check.name for check in proof.checks if not check.passed)


async def prove_for(context: JobContext, model_id: int) -> ProofRow:
    """Prove a merge as part of a job, which shows how far that is."""
    return await prove(
        context.database,
        context.settings,
        model_id,
        on_progress=context.report,
        cancelled=context.cancelled,
    )


def _result(context: JobContext, model_id: int, proof: ProofRow) -> dict[str, Any]:
    with context.database.read() as session:
        model = get_model(session, model_id)
    return {"model_id": model_id, "model": model.name, "state": model.state, "proof": proof.passed}
