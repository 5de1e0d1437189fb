"""Runs a score job: finds what is missing, has it scored, and can be called again to go on.

Nothing is remembered between runs but the store: a pair that has a score is never scored again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from db.database import Database
from serving.engines.errors import EngineUnavailable
from serving.scoring.cells import (
    Cell,
    Pair,
    make_controls,
    pairs_of,
    read_cells,
    scores_of,
    with_controls,
)
from serving.scoring.sending import ScoreSender
from serving.scoring.spec import ScoreSpec
from serving.sweeps.engines import Engines, ServedModel
from serving.sweeps.prompts import PromptBook, load_book
from serving.sweeps.sending import EngineLost, first_cause

MOST_LOSSES = 5
"""Losses of a server without any score in between, after which the run gives up."""

OnProgress = Callable[[int, int, str], None]
"""Receives the pairs that have come to an end, those wanted in all, and a sentence."""


@dataclass(slots=True, kw_only=True)
class ScoreOutcome:
    """How a run ended; the counts are of all that its spec wants."""

    questions: int = 0
    pairs: int = 0
    scored: int = 0
    """Pairs that have a score now."""
    failed: int = 0
    """Pairs that could not be scored, e.g. because they are too long."""
    new: int = 0
    """Scores that this run added."""
    unable: list[str] = field(default_factory=list)
    """Why models cannot score, one sentence each."""
    cancelled: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


async def run_scoring(
    database: Database,
    spec: ScoreSpec,
    engines: Engines,
    *,
    on_progress: OnProgress = lambda done, total, message: None,
    cancelled: asyncio.Event | None = None,
    priority: int = 0,
) -> ScoreOutcome:
    """Score what is missing of ``spec``; call it again to go on.

    Args:
        database: The store; missing control reasonings are written first.
        spec: What to score.
        engines: The servers.
        on_progress: Called with every request that comes back.
        cancelled: Set it to stop; what has arrived is stored.
        priority: Negative for interactive work, which does not wait for sweeps.

    Raises:
        UsageError: ``spec`` names something that is not there.
        EngineUnavailable: A server cannot be had, or was lost again and again.
    """
    run = _Run(database, spec, engines, on_progress, priority)
    await asyncio.to_thread(run.open)
    await _until(run.run(), cancelled or asyncio.Event(), run.outcome)
    return run.outcome


class _Run:
    def __init__(
        self,
        database: Database,
        spec: ScoreSpec,
        engines: Engines,
        on_progress: OnProgress,
        priority: int,
    ) -> None:
        self._database = database
        self._spec = spec
        self._engines = engines
        self._on_progress = on_progress
        self._priority = priority
        self._missing: dict[int, list[Pair]] = {}
        self._book = PromptBook({}, {})
        self.outcome = ScoreOutcome()

    def open(self) -> None:
        """Write the controls that are missing, and find the pairs without a score."""
        with self._database.write() as session:
            cells = read_cells(session, self._spec)
            if self._spec.controls or self._spec.leak:
                make_controls(session, cells)
                session.flush()
                cells = with_controls(session, cells)
        with self._database.read() as session:
            self._book = load_book(session)
        self.outcome.questions = len({cell.question.id for cell in cells})
        self._look(cells)

    def _look(self, cells: Sequence[Cell]) -> None:
        """Sort the pairs into those that are missing and those that have come to an end."""
        with self._database.read() as session:
            known = scores_of(session, cells)
        missing: defaultdict[int, list[Pair]] = defaultdict(list)
        outcome = self.outcome
        # A foreign reasoning can stand for several of its question's: one pair, scored once.
        pairs = {pair.key: pair for cell in cells for pair in pairs_of(cell, self._spec)}
        outcome.pairs = len(pairs)
        for key, pair in pairs.items():
            score = known.get(key)
            if score is None or (score.error is not None and self._spec.retry):
                missing[pair.cell.model_id].append(pair)
            elif score.error is None:
                outcome.scored += 1
            else:
                outcome.failed += 1
        self._missing = dict(missing)

    async def run(self) -> None:
        """Score all that is missing, one set of models after the other."""
        self._report("waiting for the model")
        for group in self._engines.groups(list(self._missing)):
            n_fruitless = 0
            while any(self._missing.get(one) for one in group):
                before = self.outcome.scored + self.outcome.failed
                self._report("waiting for the model")
                lost = await self._score_group(await self._engines.serve(group))
                if lost is None:
                    continue
                progressed = self.outcome.scored + self.outcome.failed > before
                n_fruitless = 0 if progressed else n_fruitless + 1
                if n_fruitless >= MOST_LOSSES:
                    raise EngineUnavailable(
                        f"{lost} It was lost {n_fruitless} times without a score in between;"
                        " start the job again when it is well."
                    )
                await asyncio.to_thread(self._look_again)

    async def _score_group(self, served: Mapping[int, ServedModel]) -> EngineLost | None:
        """Return None when all models are through, or how a server was lost."""
        try:
            for model in served.values():
                await self._score(model)
        except BaseExceptionGroup as group:
            cause = first_cause(group)
            if not isinstance(cause, EngineLost):
                raise cause from None
            return cause
        return None

    def _look_again(self) -> None:
        """Leave out of the missing pairs what was stored before a server was lost."""
        cells = list({id(p.cell): p.cell for ps in self._missing.values() for p in ps}.values())
        with self._database.read() as session:
            known = scores_of(session, cells)
        for model_id, pairs in self._missing.items():
            self._missing[model_id] = [
                pair
                for pair in pairs
                if (score := known.get(pair.key)) is None
                or (score.error is not None and self._spec.retry)
            ]

    async def _score(self, model: ServedModel) -> None:
        pairs = self._missing.get(model.model_version_id, [])
        reason = why_unable(model)
        if reason is None and pairs:
            self._report("scoring")
            sender = ScoreSender(
                self._database, self._book, model, self._on_scored, priority=self._priority
            )
            await sender.run(pairs)
        elif reason is not None:
            self.outcome.unable.append(reason)
        self._missing[model.model_version_id] = []

    def _on_scored(self, n_scored: int, n_failed: int) -> None:
        self.outcome.new += n_scored
        self.outcome.scored += n_scored
        self.outcome.failed += n_failed
        self._report("scoring")

    def _report(self, message: str) -> None:
        outcome = self.outcome
        self._on_progress(outcome.scored + outcome.failed, outcome.pairs, message)


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


async def _until(
    work: Coroutine[Any, Any, None], cancelled: asyncio.Event, outcome: ScoreOutcome
) -> None:
    """Do ``work`` unless and until ``cancelled`` is set."""
    task = asyncio.create_task(work, name="scoring")
    stop = asyncio.create_task(cancelled.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        else:
            outcome.cancelled = True
    finally:
        stop.cancel()
        task.cancel()
        await asyncio.wait({task, stop})
