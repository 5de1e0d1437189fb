"""Has work scored model by model: waits for servers, and goes on after one was lost."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Protocol

from serving.engines.errors import EngineUnavailable
from serving.sweeps.engines import Engines, ServedModel
from serving.sweeps.sending import EngineLost, first_cause

MOST_LOSSES = 5
"""Losses of a server without any score in between, after which the run gives up."""

OnProgress = Callable[[int, int, str], None]
"""Receives how much has come to an end, how much is wanted in all, and a sentence."""


class ScoreWork(Protocol):
    """What is to be scored, by model."""

    def missing(self) -> Collection[int]:
        """Return the ids of the models that have something left to score."""
        ...

    def n_ended(self) -> int:
        """Return how much has a score by now, or cannot have one."""
        ...

    def report(self, message: str) -> None:
        """Tell people what is being done."""
        ...

    async def score(self, model: ServedModel) -> None:
        """Score all that is left for ``model``; afterwards nothing is.

        Raises:
            EngineLost: (in a group) its server went away.
        """
        ...

    def look_again(self) -> None:
        """Leave out what was stored before a server was lost."""
        ...


async def score_all(engines: Engines, work: ScoreWork) -> None:
    """Score all that is missing, one set of models after the other.

    Raises:
        EngineUnavailable: A server cannot be had, or was lost again and again.
    """
    work.report("waiting for the model")
    for group in engines.groups(list(work.missing())):
        n_fruitless = 0
        while group & set(work.missing()):
            before = work.n_ended()
            work.report("waiting for the model")
            lost = await _score_group(await engines.serve(group), work)
            if lost is None:
                continue
            n_fruitless = 0 if work.n_ended() > before else n_fruitless + 1
            if n_fruitless >= MOST_LOSSES:
                raise EngineUnavailable(
                    f"{lost} It was lost {n_fruitless} times without a score in between;"
                    " start the job again when it is well."
                )
            await asyncio.to_thread(work.look_again)


async def finished(work: Coroutine[Any, Any, None], cancelled: asyncio.Event) -> bool:
    """Do ``work`` unless and until ``cancelled`` is set; return whether it was done."""
    task = asyncio.create_task(work, name="scoring")
    stop = asyncio.create_task(cancelled.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        stop.cancel()
        task.cancel()
        await asyncio.wait({task, stop})


def why_unable(model: ServedModel) -> str | None:
    """Return why ``model`` cannot score where it is served now; None where it can."""
    if not model.capabilities.prompt_logprobs:
        return (
            f"The server of {model.served_name} gives no log-probabilities of prompts, so that"
            " its answers are compared by their words only."
        )
    if model.tokenizer is None or not model.capabilities.token_ids:
        return (
            f"The tokenizer of {model.served_name} is not at hand, so that it cannot be told where"
            " an answer begins; name its folder in the server's settings."
        )
    return None


async def _score_group(served: Mapping[int, ServedModel], work: ScoreWork) -> EngineLost | None:
    """Return None when all models are through, or how a server was lost."""
    try:
        for model in served.values():
            await work.score(model)
    except BaseExceptionGroup as group:
        cause = first_cause(group)
        if not isinstance(cause, EngineLost):
            raise cause from None
        return cause
    return None
