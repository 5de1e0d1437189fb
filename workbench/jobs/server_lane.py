"""Jobs that only need the model servers, and run beside each other: sweeps, scores, loading."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from db.cancelling import Cancelled, LimitReached
from db.errors import Q2QError
from db.jobs import get_job
from db.messages import Message
from db.models import set_limits
from db.sweeps import budget_of, set_state
from serving.engine.ray_cluster import RayCluster, cluster_of
from serving.models import register
from serving.models.as_served import find_served
from serving.scoring.answers import ScoreOutcome, run_scoring
from serving.scoring.judge import JudgeOutcome, JudgeSpec, parse_judge_spec, run_judge
from serving.scoring.spec import ScoreSpec, parse_score_spec
from serving.sweeps.chunks import Sharing
from serving.sweeps.run import Progress, SweepOutcome, join_sweep, run_sweep
from workbench.jobs.contracts import JobContext
from workbench.jobs.engines import JobEngines

MAX_REASON = 120
"""Characters of a reason in the line of a job."""


async def sweep(context: JobContext) -> dict[str, Any] | None:
    """Run what is missing of a sweep. Payload: ``retry_failed``, and ``limit_s`` in seconds.

    One that takes longer than its limit ends with what there is, whether anybody looks or not.
    """
    sweep_id = context.job.sweep_id
    assert sweep_id is not None
    if context.is_joined:
        await _join(context, sweep_id)
        return None

    def on_progress(progress: Progress) -> None:
        ended = progress.done + progress.failed + progress.blocked
        note = context.pool.device_note
        context.report(ended, progress.total, note or describe(progress))

    is_interactive = context.job.priority < 0
    with context.database.read() as session:  # one worker alone keeps to a budget
        budget = budget_of(session, sweep_id)
    sharing = context.sharing(with_others=not is_interactive and budget == (None, None))
    with context.pool.for_job(
        is_interactive=is_interactive, is_shared=sharing is not None
    ) as engines:
        outcome = await run_sweep_of(
            context,
            sweep_id,
            engines,
            on_progress=on_progress,
            limit_s=context.job.payload.get("limit_s"),
            retry_failed=bool(context.job.payload.get("retry_failed")),
            sharing=sharing,
        )
    return outcome.as_json()


async def _join(context: JobContext, sweep_id: int) -> None:
    """Take chunks of a sweep whose job another worker holds, as long as there are any."""
    sharing = context.sharing(with_others=True)
    assert sharing is not None
    with context.pool.for_job(is_shared=True) as engines:
        await join_sweep(
            context.database,
            sweep_id,
            engines,
            sharing,
            cancelled=context.cancelled,
            priority=context.job.priority,
            retry_failed=bool(context.job.payload.get("retry_failed")),
        )


async def run_sweep_of(
    context: JobContext,
    sweep_id: int,
    engines: JobEngines,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    limit_s: float | None = None,
    retry_failed: bool = False,
    sharing: Sharing | None = None,
) -> SweepOutcome:
    """Run what is missing of a sweep as part of a job.

    Raises:
        Cancelled: The job has to stop. Where another worker goes on with it, the sweep is queued.
        Q2QError: It failed, or took longer than ``limit_s``.
    """
    async with context.cancelled_or_after(limit_s) as cancelled:
        outcome = await run_sweep(
            context.database,
            sweep_id,
            engines,
            on_progress=on_progress,
            cancelled=cancelled,
            priority=context.job.priority,
            retry_failed=retry_failed,
            sharing=sharing or context.sharing(),
        )
    if outcome.error is not None:
        raise (LimitReached if outcome.state == "cancelled" else Q2QError)(outcome.error)
    if outcome.state == "cancelled":
        if not context.cancelled.is_set():
            raise Q2QError(
                "It took longer than {limit_s:g} s and was stopped; what had come by then is"
                " there.",
                limit_s=limit_s,
            )
        if context.is_stopping or context.is_lost:
            with context.database.write() as session:
                state = get_job(session, context.job.id).state if context.is_lost else "queued"
                set_state(session, sweep_id, state)
        raise Cancelled
    return outcome


async def score(context: JobContext) -> dict[str, Any]:
    """Score answers under reasonings. Payload: a ``ScoreSpec``."""
    return await _scored(context, run_scoring, parse_score_spec(context.job.payload))


async def judge(context: JobContext) -> dict[str, Any]:
    """Have a model judge answers by their references. Payload: a ``JudgeSpec``."""
    return await _scored(context, run_judge, parse_judge_spec(context.job.payload))


async def _scored(
    context: JobContext,
    run: Callable[..., Awaitable[ScoreOutcome | JudgeOutcome]],
    spec: ScoreSpec | JudgeSpec,
) -> dict[str, Any]:
    """Do what a spec of scoring or judging asks for, and return what came of it."""
    with context.pool.for_job() as engines:
        outcome = await run(
            context.database,
            spec,
            engines,
            on_progress=context.report,
            cancelled=context.cancelled,
            priority=context.job.priority,
        )
    if outcome.cancelled:
        raise Cancelled
    return outcome.as_json()


async def serve_start(context: JobContext) -> dict[str, Any]:
    """Load a model.

    Payload: ``model``, a name, where None is the model of the settings; ``limits``, what is to
    be kept for its serving, where left out changes nothing; and ``ray``, a cluster, else that of
    the settings.
    """
    name, limits = context.job.payload.get("model"), context.job.payload.get("limits")
    if name is None:
        model = await context.pool.default_model()
    else:
        with context.database.write() as session:
            model = find_served(session, name, context.settings)
    if limits is not None:
        with context.database.write() as session:
            set_limits(session, model, limits)
    context.report(0, None, Message("Loading {model}.", model=model.name))
    asked = context.job.payload.get("ray")
    cluster = RayCluster.model_validate(asked) if asked else cluster_of(context.settings)
    await context.pool.load(model, cluster)
    return {"model": model.name}


async def serve_stop(context: JobContext) -> None:
    """End the local server."""
    await context.pool.stop_local()


async def probe_engine(context: JobContext) -> None:
    """Ask servers what they can do. Payload: ``engine``, a name; None is all of them."""
    await context.pool.probe(context.job.payload.get("engine"))


async def add_model(context: JobContext) -> dict[str, Any]:
    """Add a model of a folder or the hub. Payload: ``source``, and ``name``, ``base`` or None."""
    payload = context.job.payload

    def report(message: str) -> None:
        if context.cancelled.is_set():
            raise Cancelled
        context.report(0, None, message)

    added = await asyncio.to_thread(
        register.add_model,
        context.database,
        payload["source"],
        name=payload.get("name"),
        base=payload.get("base"),
        report=report,
    )
    return {"model": added.model.name, "is_new": added.is_new, "message": added.message}


def describe(progress: Progress) -> str:
    """Return how a sweep goes in one line, e.g. ``running, 210 tokens/s, 3 min left``."""
    parts = [progress.message]
    if progress.n_workers > 1:
        parts.append(Message("{n} workers", n=progress.n_workers))
    if progress.failed:
        parts.append(_failed(progress.failed, progress.failure))
    if progress.tokens_per_second:
        parts.append(Message("{n:,.0f} tokens/s", n=progress.tokens_per_second))
    if progress.eta_s is not None and progress.done < progress.total:
        parts.append(Message("{time} left", time=duration(progress.eta_s)))
    return Message.line(parts)


def _failed(n: int, reason: str | None) -> str:
    if not reason:
        return Message("{n:,} failed", n=n)
    why = reason if len(reason) <= MAX_REASON else reason[:MAX_REASON]
    return Message("{n:,} failed ({why})", n=n, why=why)


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``45 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return Message("{n:.0f} s", n=seconds)
    if seconds < 5400:
        return Message("{n:.0f} min", n=seconds / 60)
    return Message("{n:.1f} h", n=seconds / 3600)
