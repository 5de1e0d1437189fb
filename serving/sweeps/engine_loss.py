"""The loss of servers: what a run calls lost, and how it goes on once they are back."""

from collections.abc import Awaitable, Callable, Mapping

from serving.engine.client import Engines, ServedModel
from serving.engine.messages import EngineUnavailable

MAX_LOSSES = 5
"""Losses of a server without any result in between, after which a run gives up."""


class EngineLost(Exception):
    """A server is gone, or serves no more; what was in the air is nobody's fault."""

    def __init__(self, sentence: str, *, died: bool) -> None:
        super().__init__(sentence)
        self.died = died
        """It was well when the run began, so that a prompt may have killed it."""


async def until_done(
    engines: Engines,
    group: frozenset[int],
    attempt: Callable[[Mapping[int, ServedModel]], Awaitable[None]],
    *,
    n_results: Callable[[], int],
    report: Callable[[str], None],
    advice: str,
) -> None:
    """Await ``attempt`` with the models of ``group``, anew whenever their server was lost.

    Args:
        engines: The servers.
        group: Models that are served together.
        attempt: Does what is still missing.
        n_results: Counts what has been brought to an end so far.
        report: Receives what is being waited for.
        advice: Ends the sentence about a server that is lost again and again.

    Raises:
        EngineUnavailable: A server cannot be had, or was lost too often.
    """
    n_fruitless = 0
    while True:
        report("waiting for the model")
        served = await engines.serve(group)
        n_before = n_results()
        try:
            await attempt(served)
        except BaseExceptionGroup as errors:
            lost = _first_cause(errors)
            if not isinstance(lost, EngineLost):
                raise lost from None
        else:
            return
        n_fruitless = 0 if n_results() > n_before else n_fruitless + 1
        if n_fruitless >= MAX_LOSSES:
            raise EngineUnavailable(
                "{lost} It was lost {n_fruitless} times without a {advice}",
                lost=lost,
                n_fruitless=n_fruitless,
                advice=advice,
            )


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what broke a group of tasks: an error that is no lost server, if there is one."""
    causes = [
        _first_cause(error) if isinstance(error, BaseExceptionGroup) else error
        for error in group.exceptions
    ]
    return next((cause for cause in causes if not isinstance(cause, EngineLost)), causes[0])
