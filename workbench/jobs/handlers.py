"""What each kind of job does."""

from collections.abc import Mapping
from typing import Any

from db.errors import Q2QError
from db.models import find_model
from db.sweeps import set_state
from serving.scoring.answers import run_scoring
from serving.scoring.spec import parse_score_spec
from serving.sweeps.run import Progress, run_sweep
from workbench.jobs.deadline import too_long, until
from workbench.jobs.dialogue_job import dialogue
from workbench.jobs.merging import merge, verify
from workbench.jobs.round_training import RoundTraining
from workbench.jobs.rounds import round_handler
from workbench.jobs.training import train
from workbench.jobs.worker import Handler, Interrupted, JobContext

MOST_OF_REASON = 120
"""Characters of a reason in the line of a job."""


async def sweep(context: JobContext) -> dict[str, Any]:
    """Run what is missing of a sweep. Payload: ``retry_failed``, and ``limit_s`` in seconds.

    One that takes longer than its limit ends with what there is, whether anybody looks or not.
    """
    sweep_id = context.job.sweep_id
    limit_s: float | None = context.job.payload.get("limit_s")
    assert sweep_id is not None

    def on_progress(progress: Progress) -> None:
        ended = progress.done + progress.failed + progress.blocked
        note = context.pool.device_note
        context.report(ended, progress.total, note or describe(progress))

    is_interactive = context.job.priority < 0
    with context.pool.for_job(is_interactive=is_interactive) as engines:
        async with until(context.cancelled, limit_s) as cancelled:
            outcome = await run_sweep(
                context.database,
                sweep_id,
                engines,
                on_progress=on_progress,
                cancelled=cancelled,
                priority=context.job.priority,
                retry_failed=bool(context.job.payload.get("retry_failed")),
            )
    if outcome.state == "cancelled" and not context.cancelled.is_set():
        assert limit_s is not None
        raise Q2QError(too_long(limit_s))
    if outcome.state == "cancelled":
        if not context.by_request:
            with context.database.write() as session:
                set_state(session, sweep_id, "queued")
        raise Interrupted
    if outcome.error is not None:
        raise Q2QError(outcome.error)
    return outcome.as_json()


async def score(context: JobContext) -> dict[str, Any]:
    """Score answers under reasonings. Payload: a ``ScoreSpec``."""
    spec = parse_score_spec(context.job.payload)
    with context.pool.for_job() as engines:
        outcome = await run_scoring(
            context.database,
            spec,
            engines,
            on_progress=context.report,
            cancelled=context.cancelled,
            priority=context.job.priority,
        )
    if outcome.cancelled:
        raise Interrupted
    return outcome.as_json()


async def serve_start(context: JobContext) -> dict[str, Any]:
    """Load a model. Payload: ``model``, a name; None is the model of the settings."""
    name = context.job.payload.get("model")
    if name is None:
        model = await context.pool.default_model()
    else:
        with context.database.read() as session:
            model = find_model(session, name)
    context.report(0, None, f"Loading {model.name}.")
    await context.pool.load(model)
    return {"model": model.name}


async def serve_stop(context: JobContext) -> None:
    """End the local server."""
    await context.pool.stop_local()


async def probe_engine(context: JobContext) -> None:
    """Ask servers what they can do. Payload: ``engine``, a name; None is all of them."""
    await context.pool.probe(context.job.payload.get("engine"))


def describe(progress: Progress) -> str:
    """Return how a sweep goes in one line, e.g. ``running, 210 tokens/s, 3 min left``."""
    parts = [progress.message]
    if progress.failed:
        why = f" ({_brief(progress.failure)})" if progress.failure else ""
        parts.append(f"{progress.failed:,} failed{why}")
    if progress.tokens_per_second:
        parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.eta_s is not None and progress.done < progress.total:
        parts.append(f"{duration(progress.eta_s)} left")
    return ", ".join(parts)


def _brief(reason: str) -> str:
    """Return a reason short enough for a line whose parts are divided by commas."""
    return reason.replace(", ", "; ")[:MOST_OF_REASON]


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``45 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


HANDLERS: Mapping[str, Handler] = {
    "sweep": sweep,
    "score": score,
    "dialogue": dialogue,
    "merge": merge,
    "verify": verify,
    "serve_start": serve_start,
    "serve_stop": serve_stop,
    "probe_engine": probe_engine,
    "train": train,
    "round": round_handler(RoundTraining()),
}
