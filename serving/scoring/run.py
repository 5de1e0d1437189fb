"""Runs a score job: finds what is missing, has it scored, and can be called again to go on.

Nothing is remembered between runs but the store: a pair that has a score is never scored again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from db.database import Database
from db.scores import NewScore, record_scores
from serving.engine.messages import EngineUnavailable
from serving.engine.served import Engines, ServedModel
from serving.scoring.pairs import (
    Cell,
    Pair,
    make_controls,
    pairs_of,
    read_cells,
    scores_of,
    with_controls,
)
from serving.scoring.sender import ScorePrompt, ScoreSender, Told, sequence_of
from serving.scoring.spec import ScoreSpec
from serving.sweeps.expand import PromptBook, load_book
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
    run = _Run(database, spec, on_progress, priority)
    await asyncio.to_thread(run.open)
    is_done = await finished(score_all(engines, run), cancelled or asyncio.Event())
    run.outcome.cancelled = not is_done
    return run.outcome


class _Run:
    def __init__(
        self,
        database: Database,
        spec: ScoreSpec,
        on_progress: OnProgress,
        priority: int,
    ) -> None:
        self._database = database
        self._spec = spec
        self._on_progress = on_progress
        self._priority = priority
        self._missing: dict[int, list[Pair]] = {}
        self._book = PromptBook({}, {})
        self._prompt_ids: dict[str, int] = {}
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

    def missing(self) -> list[int]:
        """Return the models that have pairs left."""
        return [model_id for model_id, pairs in self._missing.items() if pairs]

    def n_ended(self) -> int:
        """Return how many pairs have come to an end."""
        return self.outcome.scored + self.outcome.failed

    def look_again(self) -> None:
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

    async def score(self, model: ServedModel) -> None:
        """Score the pairs that are left for ``model``, or note why it cannot."""
        pairs = self._missing.get(model.model_version_id, [])
        reason = why_unable(model)
        if reason is None and pairs:
            self.report("scoring")

            def render(some: Sequence[Pair]) -> list[ScorePrompt[Pair]]:
                return [sequence_of(pair, self._book, model) for pair in some]

            sender = ScoreSender(
                model, render, self._store, self._on_scored, priority=self._priority
            )
            await sender.run(pairs)
        elif reason is not None:
            self.outcome.unable.append(reason)
        self._missing[model.model_version_id] = []

    def _store(self, told: Sequence[Told[Pair]]) -> None:
        known = dict(self._prompt_ids)
        with self._database.write() as session:
            new = [NewScore(one.sequence.item.key, one.score, one.sequence.prompt) for one in told]
            record_scores(session, new, known)
        self._prompt_ids = known

    def _on_scored(self, n_scored: int, n_failed: int) -> None:
        self.outcome.new += n_scored
        self.outcome.scored += n_scored
        self.outcome.failed += n_failed
        self.report("scoring")

    def report(self, message: str) -> None:
        """Tell how many pairs have come to an end."""
        self._on_progress(self.n_ended(), self.outcome.pairs, message)
