"""Sends sequences to one server to be scored, and stores each score as it comes."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, TypeVar

from db.errors import UsageError
from db.generations import PromptText
from db.scores import Score
from serving.engine.limiter import flow_of
from serving.engine.messages import (
    CompletionRequest,
    EngineUnavailable,
    RequestFailed,
    RequestRefused,
    SamplingParameters,
)
from serving.engine.served import ServedModel
from serving.formats.definitions import (
    Completion,
    FormatDefinition,
    PromptError,
    PromptFields,
    Task,
)
from serving.formats.render import IGNORED_LABEL, render, render_example, task_templates
from serving.formats.tokenizer import PromptTokenizer
from serving.scoring.pairs import Pair
from serving.sweeps.expand import PromptBook, prompt_fields
from serving.sweeps.sending import EngineLost

WITHHELD = "…"
"""Stands in the question's place where it is withheld; no word of any language. The context is
left out as well."""
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class ScorePrompt(Generic[ItemT]):
    """An item (such as a pair) as it is sent, or why it cannot be."""

    item: ItemT
    token_ids: tuple[int, ...] = ()
    n_scored: int = 0
    """Tokens at the end that are scored: the answer's, with its end token where it has one."""
    prompt: PromptText | None = None
    problem: str | None = None


def withheld(fields: PromptFields) -> PromptFields:
    """Return ``fields`` without the question and its context."""
    return replace(fields, question=WITHHELD, context="")


def sequence_of(pair: Pair, book: PromptBook, model: ServedModel) -> ScorePrompt[Pair]:
    """Return what is sent to score ``pair``; ``model`` must have a tokenizer."""
    assert model.tokenizer is not None
    form, task = book.formats[pair.cell.format_id], _task(pair)
    given = [pair.under.text] if pair.under else []
    fields = prompt_fields(pair.cell.question, book.systems[pair.cell.role_id], task, given)
    if pair.withheld:
        fields = withheld(fields)
    try:
        sequence = _encoded(pair, form, task, fields, model.tokenizer)
    except (PromptError, UsageError) as error:
        return ScorePrompt(pair, problem=str(error))
    return replace(sequence, problem=too_long(sequence.token_ids, model))


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


def _task(pair: Pair) -> Task:
    return "answer" if pair.under else "vanilla"


def _encoded(
    pair: Pair,
    form: FormatDefinition,
    task: Task,
    fields: PromptFields,
    tokenizer: PromptTokenizer,
) -> ScorePrompt[Pair]:
    prompt = render(form, task, fields, tokenizer)
    answer = Completion(response=pair.answer.text)
    example = render_example(form, task, fields, answer, tokenizer)
    ids = example.token_ids
    if task_templates(form, task).ends_with_stop_token and not pair.answer.is_ended:
        ids = ids[:-1]
    n_prompt = example.labels.count(IGNORED_LABEL)
    return ScorePrompt(
        pair,
        token_ids=ids,
        n_scored=len(ids) - n_prompt,
        prompt=PromptText(
            content_hash=prompt.content_hash,
            text=prompt.text,
            token_ids=prompt.id_bytes,
            n_tokens=len(prompt.token_ids),
        ),
    )


LARGEST_GROUP = 16
"""Sequences in one request; the answer to each tells of every token of its prompt."""
RENDERED_AT_ONCE = 256
ONE_TOKEN = SamplingParameters(temperature=1.0, top_p=1.0, max_tokens=1)
NO_LOG_PROBS = "The model server gave no usable log-probabilities for this prompt."
OnScored = Callable[[int, int], None]
"""Receives how many pairs have got a score, and how many could not be scored."""


@dataclass(frozen=True, slots=True)
class Told(Generic[ItemT]):
    """What an engine said of one sequence."""

    sequence: ScorePrompt[ItemT]
    score: Score


class ScoreSender(Generic[ItemT]):
    """Scores items with one model. One ``run`` for each object."""

    def __init__(
        self,
        model: ServedModel,
        render: Callable[[Sequence[ItemT]], list[ScorePrompt[ItemT]]],
        store: Callable[[Sequence[Told[ItemT]]], None],
        on_scored: OnScored,
        *,
        priority: int,
    ) -> None:
        self._model = model
        self._render = render
        self._store_all = store
        self._on_scored = on_scored
        self._priority = priority
        self._flow = flow_of(model)
        self._lane = self._flow.open_lane(interactive=priority < 0)
        self._writing = asyncio.Lock()
        self._alone: deque[ScorePrompt[ItemT]] = deque()
        """Of requests that failed: each is tried once more by itself."""

    async def run(self, items: Sequence[ItemT]) -> None:
        """Score ``items``; every score is stored when its request comes back.

        Raises:
            EngineLost: (in a group) nothing answers, or the server serves this model no more.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                waiting = iter(items)
                while part := list(islice(waiting, RENDERED_AT_ONCE)):
                    await self._send_all(await asyncio.to_thread(self._render, part), tasks)
            while self._alone:
                await self._send_one_by_one()
        finally:
            await self._flow.close_lane(self._lane)

    async def _send_all(
        self, rendered: Sequence[ScorePrompt[ItemT]], tasks: asyncio.TaskGroup
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

    async def _exchange(self, group: Sequence[ScorePrompt[ItemT]]) -> None:
        try:
            scored = await self._scored(group)
        finally:
            self._flow.returned(self._lane, len(group))
        if scored:
            await self._store(scored)

    async def _scored(self, group: Sequence[ScorePrompt[ItemT]]) -> list[Told[ItemT]]:
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
            if error.would_meet_all:
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

    def _given_up(self, group: Sequence[ScorePrompt[ItemT]], error: str) -> list[Told[ItemT]]:
        if len(group) == 1:
            return [_failed(group[0], error)]
        self._alone.extend(group)
        return []

    async def _store(self, told: Sequence[Told[ItemT]]) -> None:
        async with self._writing:
            await asyncio.to_thread(self._store_all, told)
        n_failed = sum(one.score.error is not None for one in told)
        self._on_scored(len(told) - n_failed, n_failed)


def _score(one: ScorePrompt[ItemT], log_probs: Sequence[float | None] | None) -> Told[ItemT]:
    told = log_probs[-one.n_scored :] if log_probs and one.n_scored else ()
    known = [value for value in told if value is not None]
    if not known or len(known) < one.n_scored:
        return _failed(one, NO_LOG_PROBS)
    return Told(one, Score(sum(known), one.n_scored))


def _failed(one: ScorePrompt[ItemT], error: str) -> Told[ItemT]:
    return Told(one, Score(None, None, error))
