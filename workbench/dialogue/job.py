"""Turns of a dialogue that run by themselves, as one job of the worker."""

from typing import Any

from db.cancelling import Cancelled
from db.dialogues import get_dialogue
from db.errors import Q2QError
from db.jobs import JobEnd
from db.messages import Message
from serving.formats.library import load_registry
from workbench.dialogue.auto import Turns, run_turns
from workbench.dialogue.events import By
from workbench.dialogue.settings import parse_settings
from workbench.jobs.contracts import JobContext
from workbench.jobs.server_lane import run_sweep_of


async def dialogue(context: JobContext) -> dict[str, Any]:
    """Run turns up to a checkpoint. Payload: what ``queue_turns`` writes."""
    payload = context.job.payload
    turns: int = payload["turns"]
    with context.database.write() as session:
        registry = load_registry(context.settings, session)
        settings = parse_settings(get_dialogue(session, payload["dialogue_id"]).settings)
    limit_s = settings.turn_timeout_s

    def on_turn(done: int) -> None:
        context.report(done, turns, Message("turn {n} of {most} is done", n=done, most=turns))

    context.report(0, turns, "turn 1")
    with context.pool.for_job() as engines:

        async def run(sweep_id: int) -> JobEnd:
            try:
                await run_sweep_of(context, sweep_id, engines, limit_s=limit_s)
            except Cancelled:
                if context.is_stopping:
                    raise
                return JobEnd("cancelled")
            except Q2QError as error:
                return JobEnd("failed", str(error))
            return JobEnd("done")

        def is_cancelled() -> bool:
            if context.is_stopping:
                raise Cancelled
            return context.cancelled.is_set()

        outcome = await run_turns(
            context.database,
            registry,
            Turns(
                dialogue_id=payload["dialogue_id"],
                turns=turns,
                by=By(rater_id=payload["rater_id"], automatic=True, job_id=context.job.id),
                moves=tuple(payload["moves"]),
            ),
            run,
            on_turn=on_turn,
            is_cancelled=is_cancelled,
        )
    if context.cancelled.is_set():
        raise Cancelled
    return {"turns": outcome.turns, "why": outcome.why}
