"""Jobs that merge an adapter, prove a merge, and make a pruned one again."""

import asyncio
from typing import Any

from db.database import Database
from db.merges import ProofRow, adapter_of
from db.models import ModelRow, get_model
from db.settings import Settings
from training.merge.folder import MergeError
from training.merge.merge import merge_adapter
from training.merge.process import Cancelled, OnProgress
from training.merge.proof import prove
from workbench.worker.worker import Interrupted, JobContext


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


async def rebuild(database: Database, settings: Settings, model: ModelRow) -> None:
    """Make a pruned merge again and prove it, because a sweep names it.

    Raises:
        MergeError: It could not be made, or failed its proof.
    """
    with database.read() as session:
        adapter_id = adapter_of(session, model.id)
    if adapter_id is None:
        raise MergeError(f"The adapter of {model.name} is not known; it cannot be made again.")
    never = asyncio.Event()
    silent: OnProgress = lambda *_: None  # noqa: E731
    model_id = await merge_adapter(
        database, settings, adapter_id, name=model.name, on_progress=silent, cancelled=never
    )
    proof = await prove(database, settings, model_id, on_progress=silent, cancelled=never)
    if not proof.passed:
        raise MergeError(failure(proof))


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
