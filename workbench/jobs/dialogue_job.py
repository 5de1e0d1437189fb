"""Turns of a dialogue that run by themselves, as one job of the worker."""

from typing import Any

from db.dialogues import get_dialogue
from db.jobs import JobEnd
from db.sweeps import set_state
from serving.formats.library import load_registry
from serving.sweeps.run import run_sweep
from workbench.dialogue.auto import Turns, run_turns
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.turn import By
from workbench.jobs.deadline import too_long, until
from workbench.jobs.worker import Interrupted, JobContext


async def dialogue(context: JobContext) -> dict[str, Any]:
    """Run turns up to a checkpoint. Payload: what ``queue_turns`` writes."""
    told = context.job.payload
    turns: int = told["turns"]
    with context.database.write() as session:
        registry = load_registry(context.settings, session)
        settings = parse_settings(get_dialogue(session, told["dialogue_id"]).settings)
    limit_s = settings.turn_timeout_s

    def on_turn(done: int) -> None:
        context.report(done, turns, f"turn {done} of {turns} is done")

    context.report(0, turns, "turn 1")
    with context.pool.for_job() as engines:

        async def run(sweep_id: int) -> JobEnd:
            async with until(context.cancelled, limit_s) as cancelled:
                outcome = await run_sweep(
                    context.database,
                    sweep_id,
                    engines,
                    cancelled=cancelled,
                    priority=context.job.priority,
                )
            if context.is_stopping:
                with context.database.write() as session:
                    set_state(session, sweep_id, "queued")
                raise Interrupted
            if outcome.state != "cancelled":
                return JobEnd("failed" if outcome.error else "done", outcome.error)
            if context.cancelled.is_set():
                return JobEnd("cancelled")
            return JobEnd("failed", too_long(limit_s))

        def is_cancelled() -> bool:
            if context.is_stopping:
                raise Interrupted
            return context.cancelled.is_set()

        outcome = await run_turns(
            context.database,
            registry,
            Turns(
                dialogue_id=told["dialogue_id"],
                turns=turns,
                by=By(rater_id=told["rater_id"], automatic=True, job_id=context.job.id),
                moves=tuple(told["moves"]),
            ),
            run,
            on_turn=on_turn,
            is_cancelled=is_cancelled,
        )
    if context.cancelled.is_set():
        raise Interrupted
    return {"turns": outcome.turns, "why": outcome.why}
