"""The slots of a sweep as requests, and the answers to them as results of slots."""

from collections.abc import Mapping, Sequence
from typing import Any

from db.generations import Recorded
from db.messages import Message
from serving.engine.client import ServedModel
from serving.engine.messages import Choice, CompletionRequest, CompletionResult, MissingChoice
from serving.formats.chat_template import ChatPrompt
from serving.sweeps.budget import Budget, about_usage, most_of, spent_on
from serving.sweeps.expand import SlotGroup
from serving.sweeps.item_queue import until
from serving.sweeps.record import SlotResult, Writer, failed
from serving.sweeps.replica import Replica
from serving.sweeps.send import Sender


class SlotSender(Sender[SlotGroup]):
    """Sends the slots of one sweep to one server."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        writer: Writer[SlotResult, Recorded],
        budget: Budget,
        **options: Any,
    ) -> None:
        super().__init__(models, **options)
        self._budget = budget
        self._is_tight = False
        """One prompt at a time: the budget is nearly used."""
        self._can = models[0].capabilities
        self._is_vllm = all(
            (one.engine_version or "").startswith("vllm") for one in models[0].everywhere
        )
        self._writer = writer

    def put_slots(self, groups: Sequence[SlotGroup]) -> None:
        """Queue slots, as parts that one request can hold each."""
        for group in groups:
            self.put([*group.split(can_n=self._can.n, seeds_count_up=self._is_vllm)])

    async def wait_for_room(self) -> None:
        """Return when results that come may be stored soon enough."""
        await self._writer.wait_for_room()

    async def admitted(self, items: Sequence[SlotGroup], server: Mapping[int, ServedModel]) -> bool:
        """Set aside what ``items`` can take; where that does not fit, wait for what is in the air.

        Several prompts that do not fit together go one at a time from then on.
        """
        if not self._budget.is_limited:
            return True
        price = server[items[0].model_id].price
        at_most = most_of(self.request(items, "", server), price)
        if not self._budget.fits(at_most) and len(items) > 1:
            self._is_tight = True
            return False
        await until(
            self._changed, lambda: self._budget.fits(at_most) or not self._budget.is_set_aside
        )
        if not self._budget.fits(at_most):
            self.end_with(self._budget.used_up(at_most))
            return False
        self._budget.set_aside(items[0], at_most)
        return True

    def came_back(self, items: Sequence[SlotGroup]) -> None:
        """Free what was set aside."""
        self._budget.free(items[0])

    def _request_size(self, replica: Replica[SlotGroup]) -> int:
        return 1 if self._is_tight else super()._request_size(replica)

    def request(
        self, items: Sequence[SlotGroup], request_id: str, server: Mapping[int, ServedModel]
    ) -> CompletionRequest:
        """Return a request for the replicates of each of ``items``."""
        first, model = items[0], server[items[0].model_id]
        assert first.prompt is not None
        as_ids = self._can.token_ids and model.tokenizer is not None
        n_copies = self._n_copies(first)
        prompts = [
            item.prompt for item in items if item.prompt is not None for _ in range(n_copies)
        ]
        return CompletionRequest(
            model=model.served_name,
            prompts=[
                prompt.token_ids if as_ids and prompt.token_ids else prompt.text
                for prompt in prompts
            ],
            sampling=first.sampling,
            n=first.size // n_copies,
            stop=first.prompt.stop,
            stop_token_ids=first.prompt.stop_token_ids,
            priority=self.priority,
            request_id=request_id,
            seed=first.seed_of(0),
            json_schema=first.prompt.json_schema if self._is_vllm else None,
        )

    def _n_copies(self, group: SlotGroup) -> int:
        """Return how often a prompt stands in its request: once, with ``n``, or for each replicate.

        vLLM writes a list of prompts faster than ``n`` completions of each: on an H200, 32 prompts
        in a list gave 7 to 10 % more tokens a second than prompts with n = 8. A seed needs ``n``,
        which draws completion i with seed + i.
        """
        assert group.prompt is not None
        is_chat = isinstance(group.prompt.text, ChatPrompt)
        can_list = self._is_vllm and self._can.prompt_list and not is_chat
        return group.size if can_list and group.sampling.seed is None else 1

    def on_result(
        self,
        items: Sequence[SlotGroup],
        result: CompletionResult,
        server: Mapping[int, ServedModel],
    ) -> None:
        """Have the choices written, and an error for each that is missing."""

        def slot(prompt_index: int, place: int, choice: Choice | None, error: str | None) -> None:
            group = items[prompt_index]
            model = server[group.model_id]
            results.append(
                SlotResult(
                    slots=group,
                    replicate=group.replicates[place],
                    seed=group.seed_of(place),
                    choice=choice,
                    error=error,
                    request_id=result.request_id,
                    latency_ms=result.latency_ms,
                    engine_id=model.engine_id,
                    engine_version=result.server_version or model.engine_version,
                )
            )

        def place_of(choice: Choice | MissingChoice) -> tuple[int, int]:
            index, copy = divmod(choice.prompt_index, n_copies)
            return index, copy if n_copies > 1 else choice.choice_index

        usage = result.usage or about_usage(self.request(items, "", server), result)
        spent = spent_on(usage, server[items[0].model_id].price)
        self._budget.spend(spent)
        results: list[SlotResult] = []
        n_copies = self._n_copies(items[0])
        for choice in result.choices:
            prompt_index, choice.choice_index = place_of(choice)
            error = _why_useless(items[prompt_index], choice)
            usable = choice if error is None else None
            slot(prompt_index, choice.choice_index, usable, error)
        for missing in result.missing:
            slot(*place_of(missing), None, missing.error)
        results[0].spent = spent
        self._writer.put(results)

    def on_failure(
        self,
        item: SlotGroup,
        error: str,
        request_id: str | None,
        server: Mapping[int, ServedModel] | None,
    ) -> None:
        """Have the failure of all slots of ``item`` written."""
        model = server[item.model_id] if server else None
        self._writer.put(failed(item, error, request_id=request_id, model=model))


def _why_useless(group: SlotGroup, choice: Choice) -> str | None:
    """Return why a text is of no use, where no finding could say so."""
    if group.kind != "questions":
        return None
    if choice.prompt_problem is not None:
        return Message("The prompt was cut: {problem}.", problem=choice.prompt_problem)
    is_filtered = choice.finish_reason == "content_filter"
    return "A content filter of the server ended it." if is_filtered else None
