"""Jobs that have the device to themselves: training, merging, proving; each in a child process."""

from typing import Any

from db.cancelling import Cancelled
from db.models import ProofRow, get_model
from db.training import set_run_state
from training.merge.merge import merge_adapter
from training.merge.proof import prove
from training.runs.run import TrainingOutcome, run_training
from workbench.jobs.contracts import JobContext


async def train(context: JobContext) -> dict[str, Any]:
    """Train a run, or go on with it. Payload: ``run_id``."""
    return (await train_run(context, int(context.job.payload["run_id"]))).as_json()


async def train_run(context: JobContext, run_id: int) -> TrainingOutcome:
    """Train a run as part of a job.

    Raises:
        Cancelled: It was told to stop; the run can be resumed.
        Q2QError: It failed.
    """
    outcome = await run_training(
        context.database,
        context.settings,
        run_id,
        on_progress=context.report,
        cancelled=context.cancelled,
    )
    if outcome.state == "cancelled":
        if context.is_stopping:  # only the worker stops; the next one goes on
            with context.database.write() as session:
                set_run_state(session, run_id, "queued")
        raise Cancelled
    return outcome


async def merge(context: JobContext) -> dict[str, Any]:
    """Merge and prove. Payload: ``adapter_id``, and ``name`` of the merge or None."""
    payload = context.job.payload
    model_id = await merge_adapter(
        context.database,
        context.settings,
        payload["adapter_id"],
        name=payload.get("name"),
        on_progress=context.report,
        cancelled=context.cancelled,
    )
    return _result(context, model_id, await prove_for(context, model_id))


async def verify(context: JobContext) -> dict[str, Any]:
    """Prove a merge again. Payload: ``model_id``."""
    model_id = context.job.payload["model_id"]
    return _result(context, model_id, await prove_for(context, model_id))


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
