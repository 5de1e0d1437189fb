"""Sends sequences to one server to be scored, and stores each score as it comes."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from db.database import Database
from db.scores import NewScore, Score, record_scores
from serving.engines.errors import EngineUnavailable, RequestFailed, RequestRefused
from serving.engines.messages import CompletionRequest
from serving.engines.sampling import SamplingParameters
from serving.scoring import sequences
from serving.scoring.cells import Pair
from serving.scoring.sequences import sequence_of
from serving.sweeps.engines import ServedModel
from serving.sweeps.flow import flow_of
from serving.sweeps.prompts import PromptBook
from serving.sweeps.sending import NOT_THE_PROMPTS_FAULT, EngineLost

LARGEST_GROUP = 16
"""Sequences in one request; the answer to each tells of every token of its prompt."""
RENDERED_AT_ONCE = 256
ONE_TOKEN = SamplingParameters(temperature=1.0, top_p=1.0, max_tokens=1)
NO_LOG_PROBS = "The model server gave no usable log-probabilities for this prompt."

OnScored = Callable[[int, int], None]
"""Receives how many pairs have got a score, and how many could not be scored."""


class ScoreSender:
    """Scores pairs of one model. One ``run`` for each object."""

    def __init__(
        self,
        database: Database,
        book: PromptBook,
        model: ServedModel,
        on_scored: OnScored,
        *,
        priority: int,
    ) -> None:
        self._database = database
        self._book = book
        self._model = model
        self._on_scored = on_scored
        self._priority = priority
        self._flow = flow_of(model)
        self._lane = self._flow.open_lane(interactive=priority < 0)
        self._prompt_ids: dict[str, int] = {}
        self._writing = asyncio.Lock()
        self._alone: deque[sequences.Sequence] = deque()
        """Of requests that failed: each is tried once more by itself."""

    async def run(self, pairs: Sequence[Pair]) -> None:
        """Score ``pairs``; every score is stored when its request comes back.

        Raises:
            EngineLost: (in a group) nothing answers, or the server serves this model no more.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                waiting = iter(pairs)
                while part := list(islice(waiting, RENDERED_AT_ONCE)):
                    await self._send_all(await asyncio.to_thread(self._rendered, part), tasks)
            while self._alone:
                await self._send_one_by_one()
        finally:
            await self._flow.close_lane(self._lane)

    def _rendered(self, pairs: Sequence[Pair]) -> list[sequences.Sequence]:
        return [sequence_of(pair, self._book, self._model) for pair in pairs]

    async def _send_all(
        self, rendered: Sequence[sequences.Sequence], tasks: asyncio.TaskGroup
    ) -> None:
        unsendable = [one for one in rendered if one.problem is not None]
        if unsendable:
            await self._store([_failed(one, one.problem or "") for one in unsendable])
        waiting = deque(one for one in rendered if one.problem is None)
        most = LARGEST_GROUP if self._model.capabilities.prompt_list else 1
        while waiting:
            await self._flow.wait_for_room(self._lane)
            size = min(most, self._flow.group_size, self._flow.room(self._lane), len(waiting))
            group = [waiting.popleft() for _ in range(size)]
            self._flow.sent(self._lane, size)
            tasks.create_task(self._exchange(group))

    async def _send_one_by_one(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while self._alone:
                one = self._alone.popleft()
                await self._flow.wait_for_room(self._lane)
                self._flow.sent(self._lane, 1)
                tasks.create_task(self._exchange([one]))

    async def _exchange(self, group: Sequence[sequences.Sequence]) -> None:
        try:
            scored = await self._scored(group)
        finally:
            self._flow.returned(self._lane, len(group))
        if scored:
            await self._store(scored)

    async def _scored(self, group: Sequence[sequences.Sequence]) -> list[NewScore]:
        """Return what one request tells; nothing where its prompts are tried again one by one."""
        request = CompletionRequest(
            model=self._model.served_name,
            prompts=[one.token_ids for one in group],
            sampling=ONE_TOKEN,
            priority=self._priority,
            scores_prompt=True,
        )
        try:
            result = await self._model.client.complete(request)
        except EngineUnavailable as error:
            raise EngineLost(str(error), died=True) from error
        except RequestRefused as error:
            if error.status in NOT_THE_PROMPTS_FAULT:
                raise EngineLost(str(error), died=False) from error
            return self._given_up(group, str(error))
        except RequestFailed as error:
            if not await self._model.client.health():
                raise EngineLost(str(error), died=True) from error
            self._flow.back_off()
            return self._given_up(group, str(error))
        found = [
            _score(group[choice.prompt_index], choice.prompt_log_probs) for choice in result.choices
        ]
        return found + [_failed(group[one.prompt_index], one.error) for one in result.missing]

    def _given_up(self, group: Sequence[sequences.Sequence], error: str) -> list[NewScore]:
        if len(group) == 1:
            return [_failed(group[0], error)]
        self._alone.extend(group)
        return []

    async def _store(self, scores: Sequence[NewScore]) -> None:
        async with self._writing:
            await asyncio.to_thread(self._write, scores)
        n_failed = sum(one.score.error is not None for one in scores)
        self._on_scored(len(scores) - n_failed, n_failed)

    def _write(self, scores: Sequence[NewScore]) -> None:
        known = dict(self._prompt_ids)
        with self._database.write() as session:
            record_scores(session, scores, known)
        self._prompt_ids = known


def _score(one: sequences.Sequence, log_probs: Sequence[float | None] | None) -> NewScore:
    told = log_probs[-one.n_answer :] if log_probs and one.n_answer else ()
    known = [value for value in told if value is not None]
    if not known or len(known) < one.n_answer:
        return _failed(one, NO_LOG_PROBS)
    return NewScore(one.pair.key, Score(sum(known), one.n_answer), one.prompt)


def _failed(one: sequences.Sequence, error: str) -> NewScore:
    return NewScore(one.pair.key, Score(None, None, error), one.prompt)
