"""Scores texts where their models are served: another sender on the run of sweeps.

A score is the log-probability that a model gives a text after a prompt. Nothing is remembered
between runs but the store: what has a score is never scored again.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from db.cancelling import Cancelled, unless_cancelled
from db.database import Database
from db.generations import PromptText
from db.jobs import OnProgress
from db.texts.scores import Score
from serving.engine.client import Engines, ServedModel
from serving.engine.messages import CompletionRequest, CompletionResult, SamplingParameters
from serving.sweeps.engine_loss import until_done
from serving.sweeps.record import Writer, sending
from serving.sweeps.send import Sender

RENDERED_AT_ONCE = 256
ONE_TOKEN = SamplingParameters(temperature=1.0, top_p=1.0, max_tokens=1)
NO_LOG_PROBS = "The model server gave no usable log-probabilities for this prompt."

T = TypeVar("T")


@dataclass(slots=True, eq=False, kw_only=True)
class ScoreItem:
    """A text after its prompt as they are sent, or why they cannot be."""

    key: Hashable
    """Names what its score is stored by."""
    token_ids: tuple[int, ...] = ()
    n_scored: int = 0
    """Tokens at the end that are scored: the text's, with its end token where it has one."""
    prompt: PromptText | None = None
    problem: str | None = None
    alternatives: tuple[dict[int, float], ...] | None = None
    """Once it is scored, where they are asked for: the likeliest tokens at each place scored."""
    is_alone: bool = False
    size: int = 1
    goes_first: bool = False
    request_key: Hashable = None

    @property
    def prompt_hash(self) -> str:
        """Tells which prompt took a server down."""
        return str(self.key)


Scored = tuple[ScoreItem, Score]


class _ScoreSender(Sender[ScoreItem]):
    max_items = 16
    """The answer to each tells of every token of its prompt."""

    def __init__(
        self,
        model: ServedModel,
        writer: Writer[Scored, None],
        *,
        n_alternatives: int,
        **options: Any,
    ) -> None:
        super().__init__([model], losses=Counter(), changed=asyncio.Event(), **options)
        self._model_id = model.model_version_id
        self._n_alternatives = n_alternatives
        self._writer = writer

    async def wait_for_room(self) -> None:
        """Return when results that come may be stored soon enough."""
        await self._writer.wait_for_room()

    def request(
        self, items: Sequence[ScoreItem], request_id: str, server: Mapping[int, ServedModel]
    ) -> CompletionRequest:
        """Return a request that tells of the tokens of ``items``."""
        return CompletionRequest(
            model=server[self._model_id].served_name,
            prompts=[item.token_ids for item in items],
            sampling=ONE_TOKEN,
            priority=self.priority,
            scores_prompt=True,
            prompt_alternatives=self._n_alternatives,
        )

    def on_result(
        self,
        items: Sequence[ScoreItem],
        result: CompletionResult,
        server: Mapping[int, ServedModel],
    ) -> None:
        """Have the scores written."""
        for one in result.choices:
            item = items[one.prompt_index]
            if one.prompt_alternatives is not None and item.n_scored:
                item.alternatives = one.prompt_alternatives[-item.n_scored :]
        found = [
            (items[one.prompt_index], _score(items[one.prompt_index], one.prompt_log_probs))
            for one in result.choices
        ]
        missing = [(items[one.prompt_index], _no_score(one.error)) for one in result.missing]
        self._writer.put(found + missing)

    def on_failure(
        self,
        item: ScoreItem,
        error: str,
        request_id: str | None,
        server: Mapping[int, ServedModel] | None,
    ) -> None:
        """Have it written why there is no score."""
        self._writer.put([(item, _no_score(error))])


def _score(item: ScoreItem, log_probs: Sequence[float | None] | None) -> Score:
    wanted = log_probs[-item.n_scored :] if log_probs and item.n_scored else ()
    known = [value for value in wanted if value is not None]
    if not known or len(known) < item.n_scored:
        return _no_score(NO_LOG_PROBS)
    return Score(sum(known), item.n_scored)


def _no_score(error: str) -> Score:
    return Score(None, None, error)


@dataclass(slots=True, kw_only=True)
class ScoreCounts:
    """How a run ended; the counts are of all that is wanted."""

    wanted: int = 0
    scored: int = 0
    """Have a score now."""
    failed: int = 0
    """Could not be scored, e.g. because they are too long."""
    new: int = 0
    """Scores that this run added."""
    unable: list[str] = field(default_factory=list)
    """Why models cannot score, one sentence each."""
    cancelled: bool = False


class ScoreRun(ABC, Generic[T]):
    """Scores what is missing, model by model. Subclasses know what is scored, and where it goes."""

    doing = "scoring"
    """What people are told meanwhile."""
    n_alternatives = 0
    """Likeliest tokens that are asked for at each place."""

    def __init__(self, database: Database, on_progress: OnProgress, *, priority: int = 0) -> None:
        self.database = database
        self.counts = ScoreCounts()
        self.missing: dict[int, dict[Hashable, T]] = {}
        """Model → key → what is to be scored."""
        self._on_progress = on_progress
        self._priority = priority

    @abstractmethod
    def open(self) -> None:
        """Find what is missing, and count what is not."""

    @abstractmethod
    def render(self, one: T, key: Hashable, model: ServedModel) -> ScoreItem:
        """Return what is sent to score ``one``; ``model`` has a tokenizer."""

    @abstractmethod
    def store(self, model_id: int, scored: Sequence[Scored]) -> None:
        """Write scores in one transaction."""

    async def run(self, engines: Engines, cancelled: asyncio.Event | None) -> ScoreCounts:
        """Score all that is missing, one set of models after the other.

        Raises:
            EngineUnavailable: A server cannot be had, or was lost again and again.
        """
        await asyncio.to_thread(self.open)
        try:
            await unless_cancelled(self._score_all(engines), cancelled)
        except Cancelled:
            self.counts.cancelled = True
        return self.counts

    async def _score_all(self, engines: Engines) -> None:
        self._report("waiting for the model")
        for group in engines.groups([model for model, those in self.missing.items() if those]):
            await until_done(
                engines,
                group,
                self._score_group,
                n_results=self._n_ended,
                report=self._report,
                advice="score in between; start the job again when it is well.",
            )

    async def _score_group(self, served: Mapping[int, ServedModel]) -> None:
        for model in served.values():
            if not self.missing.get(model.model_version_id):
                continue
            reason = why_unable(model)
            if reason is None:
                self._report(self.doing)
                await self._score(model)
            else:
                self.counts.unable.append(reason)
                self.missing[model.model_version_id] = {}

    async def _score(self, model: ServedModel) -> None:
        own = model.model_version_id
        waiting = list(self.missing[own].items())

        def store(scored: Sequence[Scored]) -> Sequence[None]:
            self.store(own, scored)
            return [None] * len(scored)

        def on_stored(scored: Sequence[Scored], _: Sequence[None]) -> None:
            for item, score in scored:
                del self.missing[own][item.key]
                self.counts.failed += score.error is not None
                self.counts.scored += score.error is None
                self.counts.new += score.error is None
            self._report(self.doing)

        def rendered(some: Sequence[tuple[Hashable, T]]) -> list[ScoreItem]:
            return [self.render(one, key, model) for key, one in some]

        writer = Writer(store, on_stored)
        sender = _ScoreSender(
            model, writer, n_alternatives=self.n_alternatives, priority=self._priority
        )
        async with sending([sender], writer):
            for start in range(0, len(waiting), RENDERED_AT_ONCE):
                some = waiting[start : start + RENDERED_AT_ONCE]
                items = await asyncio.to_thread(rendered, some)
                sender.put([item for item in items if item.problem is None])
                writer.put([(item, _no_score(item.problem)) for item in items if item.problem])
                await sender.wait_until_short()
            await sender.wait_until_idle()

    def _n_ended(self) -> int:
        return self.counts.scored + self.counts.failed

    def _report(self, message: str) -> None:
        self._on_progress(self._n_ended(), self.counts.wanted, message)


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


def too_long(token_ids: tuple[int, ...], model: ServedModel) -> str | None:
    """Return why ``model`` cannot read so many tokens; None where it can."""
    limit = model.context_length
    # The server always writes one token more.
    if limit is None or len(token_ids) + 1 <= limit:
        return None
    return (
        f"Too long: prompt and answer have {len(token_ids):,} tokens, and"
        f" {model.served_name} takes {limit:,} with one more that it writes."
    )
