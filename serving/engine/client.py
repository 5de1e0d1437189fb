"""The completion client: sends requests, retries what retrying can cure, returns typed choices.

It shares the machine's cores with the server, so it does little: one POST, one JSON parse.
"""

import asyncio
import json
import random
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from serving.engine.http_errors import Stalled
from serving.engine.messages import (
    NEUTRAL,
    Busy,
    Capabilities,
    CompletionRequest,
    CompletionResult,
    Endpoint,
    EngineError,
    EngineLoad,
    EngineUnavailable,
    OfferedModel,
    Price,
    Prompt,
    RequestFailed,
    ServerMisconfigured,
)
from serving.engine.responses import (
    cuts_some_prompt,
    parse_choices,
    parse_load,
    parse_models,
    parse_object,
    parse_software,
    parse_usage,
)
from serving.engine.transport import Transport
from serving.formats.chat_template import ChatPrompt
from serving.formats.tokenizer import PromptTokenizer

QUICK_TIMEOUT_S = 15.0
"""Deadline of health, metrics and the list of models."""
ADAPTER_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how long apart, a request is sent again."""

    attempts: int = 4
    """Attempts in all."""
    stalls: int = 2
    """Attempts that may run into the deadline: each costs the whole of it."""
    first_pause_s: float = 0.5
    """Doubles with every attempt; a random part of up to a half is taken off."""
    max_pause_s: float = 30.0
    """Also the most that a server's ``Retry-After`` is followed."""

    def pause_s(self, attempt: int, error: EngineError) -> float:
        """Return how long to wait after ``attempt`` (from 1) failed with ``error``."""
        if isinstance(error, Busy) and error.retry_after_s is not None:
            return min(error.retry_after_s, self.max_pause_s)
        pause = min(self.first_pause_s * 2.0 ** (attempt - 1), self.max_pause_s)
        return pause * random.uniform(0.5, 1.0)


class CompletionClient(Transport):
    """Talks to one server; safe for any number of concurrent requests in one event loop.

    Cancelling a call closes its connection, which makes the server drop the request.
    """

    def __init__(
        self, endpoint: Endpoint, *, timeout_s: float = 600.0, retry: RetryPolicy | None = None
    ) -> None:
        super().__init__(endpoint)
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()

    async def complete(
        self, request: CompletionRequest, *, retry: RetryPolicy | None = None
    ) -> CompletionResult:
        """Return the completions of ``request``, each attempt within the deadline.

        Args:
            request: What is asked for.
            retry: How often it is sent again; default is the client's own policy.

        Raises:
            EngineUnavailable: nothing answers at the address; the request is not to blame.
            RequestRefused: the server declines it (4xx).
            RequestFailed: stall, 5xx, broken connection or garbage after all retries; ``Busy`` at
                once where the server counts requests: whoever sends more of them has to wait too.
            ServerGaveUp: its credit is used up.
        """
        payload = request_payload(request, self.endpoint)
        can_name = "request_id" not in self.endpoint.capabilities.refused_fields
        policy = retry or self._retry
        attempt = stalls = 0
        while True:
            attempt += 1
            if request.request_id is not None and can_name:
                suffix = "" if attempt == 1 else f"-{attempt}"
                payload["request_id"] = request.request_id + suffix
            try:
                return await self._attempt(request, payload, attempt)
            except ServerMisconfigured:
                raise
            except Busy as error:
                if error.is_rate_limit or attempt >= policy.attempts:
                    raise _after(attempt, error) from error
                await asyncio.sleep(policy.pause_s(attempt, error))
            except (RequestFailed, EngineUnavailable) as error:
                stalls += isinstance(error, Stalled)
                if attempt >= policy.attempts or stalls >= policy.stalls:
                    raise _after(attempt, error) from error
                await asyncio.sleep(policy.pause_s(attempt, error))

    async def models(self) -> tuple[OfferedModel, ...]:
        """Return the models that the server offers."""
        body = await self.get(self.endpoint.api + "/models", timeout_s=QUICK_TIMEOUT_S)
        return parse_models(parse_object(body))

    async def health(self, *, timeout_s: float = QUICK_TIMEOUT_S) -> bool:
        """Return whether the server says that it is well; False also if it says nothing."""
        try:
            await self.get(self.endpoint.root + "/health", timeout_s=timeout_s)
        except EngineError:
            return False
        return True

    async def metrics(self) -> EngineLoad | None:
        """Return how busy the server is; None where it does not tell."""
        url = self.endpoint.root + "/metrics"
        try:
            body = await self.get(url, timeout_s=QUICK_TIMEOUT_S)
        except EngineError:
            return None
        return parse_load(body.decode("utf-8", errors="replace"))

    async def version(self) -> str | None:
        """Return the version that ``/version`` reports; None where there is none."""
        url = self.endpoint.root + "/version"
        try:
            answer = parse_object(await self.get(url, timeout_s=QUICK_TIMEOUT_S))
        except EngineError:
            return None
        version = answer.get("version")
        return version if isinstance(version, str) else None

    async def load_adapter(self, name: str, path: Path) -> str | None:
        """Bring an adapter to a server that runs; return why it refuses it, if it does.

        Raises:
            EngineUnavailable: The server does not answer.
        """
        body = {"lora_name": name, "lora_path": str(path)}
        try:
            await self.post("/load_lora_adapter", body, timeout_s=ADAPTER_TIMEOUT_S)
        except EngineError as error:
            if error.answered is None:
                raise EngineUnavailable(
                    "The model server did not answer while it loaded its adapters ({error}).",
                    error=error,
                ) from error
            return error.answered.rstrip(".")
        return None

    async def _attempt(
        self, request: CompletionRequest, payload: dict[str, Any], attempt: int
    ) -> CompletionResult:
        started = time.perf_counter()
        path = "/chat/completions" if "messages" in payload else "/completions"
        body = await self.post(path, payload, timeout_s=self._timeout_s)
        latency_ms = (time.perf_counter() - started) * 1000
        answer = parse_object(body)
        choices, missing = parse_choices(answer, request)
        return CompletionResult(
            choices=choices,
            missing=missing,
            latency_ms=latency_ms,
            server_version=parse_software(answer) or self.endpoint.software,
            request_id=payload.get("request_id"),
            attempts=attempt,
            usage=parse_usage(answer),
            cut_some_prompt=cuts_some_prompt(answer, request)
            and not any(choice.prompt_problem for choice in choices),
        )


def request_payload(request: CompletionRequest, endpoint: Endpoint) -> dict[str, Any]:
    """Return the JSON body of ``request``: every sampling parameter, nothing left to defaults.

    Left out is what this server refuses or cannot do. A single prompt is sent bare, since not every
    server takes lists. The ids of each completion are asked for only in grouped requests, where the
    summed usage does not tell their lengths.
    """
    can = endpoint.capabilities
    payload: dict[str, Any] = {
        "model": request.model,
        **_prompt(request.prompts),
        **request.sampling.resolved(),
        "stream": False,
    }
    if "messages" in payload:
        payload[can.max_tokens_field] = payload.pop("max_tokens")
    if can.n:
        payload["n"] = request.n
    if request.stop:
        payload["stop"] = list(request.stop)
    if request.stop_token_ids:
        payload["stop_token_ids"] = list(request.stop_token_ids)
    payload["seed"] = request.seed if request.seed is not None else request.sampling.seed
    if payload["seed"] is None:
        del payload["seed"]
    if request.n_choices > 1 and can.return_token_ids:
        payload["return_token_ids"] = True
    if request.json_schema is not None:
        payload["structured_outputs"] = {"json": json.loads(request.json_schema)}
    if request.scores_prompt:
        payload["prompt_logprobs"] = request.prompt_alternatives  # beside the prompt's own tokens
    if request.priority and can.priority:
        payload["priority"] = request.priority
    return without_refused(payload, can)


def _prompt(prompts: Sequence[Prompt]) -> dict[str, Any]:
    first = prompts[0]
    if isinstance(first, ChatPrompt):
        return {"messages": first.messages}
    plain = [one if isinstance(one, str) else list(one) for one in prompts]
    return {"prompt": plain[0] if len(plain) == 1 else plain}


def without_refused(payload: dict[str, Any], can: Capabilities) -> dict[str, Any]:
    """Return ``payload`` without the fields that the server answers with an error."""
    return {
        name: value
        for name, value in payload.items()
        if name not in can.refused_fields
        and not (name in can.refused_neutral and value == NEUTRAL.get(name))
    }


def _after(attempts: int, error: RequestFailed | EngineUnavailable) -> EngineError:
    if attempts == 1 or (isinstance(error, Busy) and error.is_rate_limit):
        return error
    kind = EngineUnavailable if isinstance(error, EngineUnavailable) else RequestFailed
    return kind("{problem} Tried {n} times.", problem=error, n=attempts)


class Offer(Protocol):
    """What a probe found a server to offer under a name."""

    async def holds(self) -> bool:
        """Tell whether it is still so; after a lost connection the server is asked first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model version that a server offers now."""

    model_version_id: int
    engine_id: int | None
    client: CompletionClient
    served_name: str
    tokenizer: PromptTokenizer | None
    """None: prompts are sent as text."""
    context_length: int | None
    """Tokens of prompt and completion together; None where nobody tells."""
    capabilities: Capabilities
    max_num_seqs: int | None
    """Sequences that the server decodes together; None where it is not known."""
    engine_version: str | None
    price: Price | None = None
    """None where nobody has told it."""
    offer: Offer | None = None
    """None: it is served as long as the server answers."""
    replicas: tuple["ServedModel", ...] = ()
    """The same weights on further servers; see ``serving.engine.pool``."""

    @property
    def takes_messages(self) -> bool:
        """Whether chat formats are sent as messages, whose template only the server knows."""
        can = self.capabilities
        return can.chat and (self.tokenizer is None or not can.completions)

    @property
    def everywhere(self) -> tuple["ServedModel", ...]:
        """It, and its replicas: all that requests may go to."""
        return self, *self.replicas

    @property
    def clients(self) -> tuple[CompletionClient, ...]:
        """Of all servers that offer it."""
        return tuple(one.client for one in self.everywhere)


class Engines(Protocol):
    """The servers that a sweep may use."""

    def groups(self, model_version_ids: Collection[int]) -> Sequence[frozenset[int]]:
        """Return sets of models that can be served at the same time, in a good order.

        Every one of ``model_version_ids`` is in exactly one set.
        """
        ...

    async def serve(self, group: frozenset[int]) -> Mapping[int, ServedModel]:
        """Return the models of ``group`` once they are served; waits for loading.

        Called again after a server was lost: it then returns when the server is back.

        Raises:
            EngineUnavailable: a model cannot be served; the sentence says what to do.
        """
        ...
