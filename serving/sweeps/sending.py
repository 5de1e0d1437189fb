"""One server's part of a run: its queues, its share of the flow, its requests in the air."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from serving.engine.limiter import flow_of
from serving.engine.messages import (
    Choice,
    CompletionRequest,
    CompletionResult,
    EngineUnavailable,
    RequestFailed,
    RequestRefused,
)
from serving.engine.served import ServedModel
from serving.sweeps.record import Recorder
from serving.sweeps.work import Outcome, Shot, ShotQueue, Work, shots_of

SUSPECT_AFTER, GUILTY_AFTER = 2, 3
"""Server losses after which a prompt is sent alone, and after which it counts as failed."""


class EngineLost(Exception):
    """A server is gone, or serves no more; the slots in the air are nobody's fault."""

    def __init__(self, sentence: str, *, died: bool) -> None:
        super().__init__(sentence)
        self.died = died
        """It was well when the pass began, so that a prompt may have killed it."""


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what broke a group of tasks: an error that is no lost server, if there is one."""
    causes: list[BaseException] = []
    for error in group.exceptions:
        causes.append(first_cause(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((cause for cause in causes if not isinstance(cause, EngineLost)), causes[0])


class Sender:
    """Sends the work of one sweep to one server; answers go before new reasonings."""

    def __init__(
        self,
        model: ServedModel,
        recorder: Recorder,
        losses: Counter[str],
        took_some: asyncio.Event,
        *,
        priority: int,
    ) -> None:
        self._client = model.client
        self._can = model.capabilities
        is_vllm = (model.engine_version or "").startswith("vllm")
        self._seeds_count_up = self._takes_schemas = is_vllm
        self._recorder = recorder
        self._losses = losses
        self._took_some = took_some
        self._priority = priority
        self._answers = ShotQueue()
        self._reasonings = ShotQueue()
        self._flow = flow_of(model)
        is_interactive = priority < 0
        self._lane = self._flow.open_lane(
            interactive=is_interactive, shed=None if is_interactive else self._shed
        )
        self._has_work = asyncio.Event()
        self._landing = asyncio.Event()
        self._in_air: set[Shot] = set()
        self._exchanges: dict[asyncio.Task[None], Sequence[Shot]] = {}
        """Requests in the air, the oldest first."""
        self._taken_back: set[asyncio.Task[None]] = set()
        self._tells_health = True
        self._run_id = uuid.uuid4().hex[:12]
        self._numbers = count(1)

    @property
    def in_flight(self) -> int:
        """Sequences sent and not yet answered."""
        return self._lane.in_flight

    @property
    def wants_more(self) -> bool:
        """Whether the queue is shorter than what the server may soon take."""
        queued = self._answers.n_sequences + self._reasonings.n_sequences
        return queued < self._flow.target / 2 + 1

    def put(self, work: Work) -> None:
        """Queue what is missing of ``work``, unless it took the server down again and again."""
        losses = self._losses[_prompt_hash(work)]
        if losses >= GUILTY_AFTER:
            error = f"The model server was lost {losses} times while it worked on this prompt."
            self._recorder.put(
                [Outcome(work=work, replicate=i, error=error) for i in work.replicates]
            )
            return
        shots = list(shots_of(work, can_n=self._can.n, seeds_count_up=self._seeds_count_up))
        for shot in shots:
            shot.is_alone = losses >= SUSPECT_AFTER
        self._queue(shots)

    async def run(self, tasks: asyncio.TaskGroup, models: Mapping[int, ServedModel]) -> None:
        """Send what is queued, as the flow allows; ends by being cancelled.

        Raises:
            EngineLost: nothing answers, or the server serves these models no more.
        """
        self._tells_health = await self._client.health()
        while True:
            queue = self._answers or self._reasonings
            if not queue:
                self._has_work.clear()
                await self._has_work.wait()
                continue
            await self._recorder.wait_for_room()
            await self._flow.wait_for_room(self._lane)
            most = self._flow.group_size if self._can.prompt_list else 1
            shots = queue.take(min(most, self._flow.room(self._lane)))
            self._took_some.set()
            is_suspect = self._losses[_prompt_hash(shots[0].work)] >= SUSPECT_AFTER
            if is_suspect:
                await self._all_landed()
            self._flow.sent(self._lane, _size(shots))
            self._in_air.update(shots)
            tasks.create_task(self._exchange(shots, models[shots[0].work.model_id]))
            if is_suspect:
                await self._all_landed()

    async def close(self) -> None:
        """Give the share of the flow back."""
        await self._flow.close_lane(self._lane)

    def note_loss(self) -> None:
        """Remember which prompts were in the air when the server was lost."""
        self._losses.update({_prompt_hash(shot.work) for shot in self._in_air})

    def _shed(self, n_sequences: int) -> None:
        """Take back the youngest requests, in which the least work is lost."""
        for exchange, shots in reversed(list(self._exchanges.items())):
            if n_sequences <= 0:
                return
            n_sequences -= _size(shots)
            self._taken_back.add(exchange)
            exchange.cancel()

    async def _all_landed(self) -> None:
        while self._in_air:
            self._landing.clear()
            await self._landing.wait()

    async def _exchange(self, shots: Sequence[Shot], model: ServedModel) -> None:
        """Send one request and hand what comes of it on; shots stay in the air if it is lost."""
        task = asyncio.current_task()
        assert task is not None
        self._exchanges[task] = shots
        tokens = 0
        try:
            request = self._request(shots, model)
            result = await self._complete(shots, request, model)
            if result is not None:
                tokens = sum(map(_length, result.choices))
                self._recorder.put(_outcomes(shots, result, model))
        except asyncio.CancelledError:
            if task not in self._taken_back:
                raise
            self._queue(shots)
        finally:
            del self._exchanges[task]
            self._taken_back.discard(task)
            self._flow.returned(self._lane, _size(shots), tokens)
        self._in_air.difference_update(shots)
        self._landing.set()

    async def _complete(
        self, shots: Sequence[Shot], request: CompletionRequest, model: ServedModel
    ) -> CompletionResult | None:
        """Return the answer; None where there is none, which is then dealt with."""
        try:
            result = await model.client.complete(request)
        except EngineUnavailable as error:
            raise EngineLost(str(error), died=self._tells_health) from error
        except RequestRefused as error:
            if error.would_meet_all:
                raise EngineLost(str(error), died=False) from error
            self._give_up(shots, str(error), request, model)
            return None
        except RequestFailed as error:
            if self._tells_health and not await self._client.health():
                raise EngineLost(str(error), died=True) from error
            self._flow.back_off()
            self._give_up(shots, str(error), request, model)
            return None
        if result.attempts > 1:
            self._flow.back_off()
        if result.cut_some_prompt and len(shots) > 1:
            self._send_alone(shots)
            return None
        return result

    def _give_up(
        self, shots: Sequence[Shot], error: str, request: CompletionRequest, model: ServedModel
    ) -> None:
        """Record a failure; of a request with several prompts, first try each by itself."""
        if len(shots) == 1:
            self._recorder.put(
                [
                    Outcome(
                        work=shots[0].work,
                        replicate=replicate,
                        seed=_seed(shots[0], place),
                        error=error,
                        request_id=request.request_id,
                        engine_id=model.engine_id,
                        engine_version=model.engine_version,
                    )
                    for place, replicate in enumerate(shots[0].replicates)
                ]
            )
            return
        self._send_alone(shots)

    def _send_alone(self, shots: Sequence[Shot]) -> None:
        for shot in shots:
            shot.is_alone = True
        self._queue(shots)

    def _queue(self, shots: Iterable[Shot]) -> None:
        for shot in shots:
            queue = self._answers if shot.work.kind == "answer" else self._reasonings
            queue.put(shot)
        self._has_work.set()

    def _request(self, shots: Sequence[Shot], model: ServedModel) -> CompletionRequest:
        first = shots[0]
        as_ids = self._can.token_ids and model.tokenizer is not None
        prompts = [shot.work.prompt for shot in shots if shot.work.prompt is not None]
        assert first.work.prompt is not None
        return CompletionRequest(
            model=model.served_name,
            prompts=[prompt.token_ids if as_ids else prompt.text for prompt in prompts],
            sampling=first.work.sampling,
            n=len(first.replicates),
            stop=first.work.prompt.stop,
            stop_token_ids=first.work.prompt.stop_token_ids,
            priority=self._priority,
            request_id=f"q2q-{self._run_id}-{next(self._numbers)}",
            seed=first.seed,
            json_schema=first.work.prompt.json_schema if self._takes_schemas else None,
        )


def _outcomes(shots: Sequence[Shot], result: CompletionResult, model: ServedModel) -> list[Outcome]:
    def outcome(shot: Shot, place: int, **what: object) -> Outcome:
        return Outcome(
            work=shot.work,
            replicate=shot.replicates[place],
            seed=_seed(shot, place),
            request_id=result.request_id,
            latency_ms=result.latency_ms,
            engine_id=model.engine_id,
            engine_version=result.server_version or model.engine_version,
            **what,  # type: ignore[arg-type]  # either choice or error
        )

    return [
        *(
            outcome(shots[c.prompt_index], c.choice_index, **_choice_or_error(shots, c))
            for c in result.choices
        ),
        *(outcome(shots[m.prompt_index], m.choice_index, error=m.error) for m in result.missing),
    ]


def _choice_or_error(shots: Sequence[Shot], choice: Choice) -> dict[str, object]:
    """Return the choice; an error where its text is of no use and no finding could say so."""
    if shots[choice.prompt_index].work.kind == "questions":
        if choice.prompt_problem is not None:
            return {"error": f"The prompt was cut: {choice.prompt_problem}."}
        if choice.finish_reason == "content_filter":
            return {"error": "A content filter of the server ended it."}
    return {"choice": choice}


def _prompt_hash(work: Work) -> str:
    assert work.prompt is not None
    return work.prompt.content_hash


def _seed(shot: Shot, place: int) -> int | None:
    return None if shot.seed is None else shot.seed + place


def _length(choice: Choice) -> int:
    """Return the tokens of a text; about so many where the server does not tell."""
    if choice.completion_tokens is not None:
        return choice.completion_tokens
    return 1 + len(choice.text) // 4


def _size(shots: Sequence[Shot]) -> int:
    return sum(len(shot.replicates) for shot in shots)
