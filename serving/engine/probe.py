"""What a server can do, found out with one small real request for each question.

A capability that is missing is no error: the result says so, and why, in words.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from db.settings import masked
from serving.engine import equality
from serving.engine.client import CompletionClient
from serving.engine.http_errors import Stalled
from serving.engine.messages import (
    NEUTRAL,
    Busy,
    Capabilities,
    Endpoint,
    EngineError,
    EngineUnavailable,
    OfferedModel,
    RequestFailed,
    RequestRefused,
)
from serving.engine.responses import parse_object, parse_software

_TEXT = "The quick brown fox"
_IDS = [5, 6, 7]
"""Ids that every vocabulary has."""
_SEED_TOKENS = 8
"""Tokens at high temperature: two free drawings of as many hardly ever agree."""
_BUSY_TRIES, _MAX_PAUSE_S = 4, 10.0
"""A server that is busy is asked again; being busy is no lack of a capability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What a server is and can do."""

    software: str | None
    """e.g. ``vllm 0.32.0``; None where it does not tell."""
    models: tuple[OfferedModel, ...]
    context_length: int | None
    """Of the model that was probed."""
    capabilities: Capabilities
    reasons: dict[str, str]
    """Name of each missing capability → why it is held to be missing."""
    fingerprint: tuple[float, ...] = ()
    """Of the weights of the model that was probed; see ``serving.engine.equality``."""

    def endpoint(self, plain: Endpoint) -> Endpoint:
        """Return ``plain`` with what was found out."""
        return replace(plain, software=self.software, capabilities=self.capabilities)


async def probe(
    endpoint: Endpoint, *, model: str | None = None, timeout_s: float = 120.0
) -> ProbeResult:
    """Return what the server at ``endpoint`` can do with ``model`` (default: its first).

    Raises:
        EngineUnavailable: nothing answers there, or it writes no completion at all.
        RequestRefused: it does not accept the key.
    """
    async with CompletionClient(endpoint) as client:
        models = await client.models()
        chosen = next((m for m in models if model in (None, m.name)), None)
        name = model or (chosen.name if chosen else None)
        if name is None:
            raise EngineUnavailable(
                "The model server at {root} offers no model.", root=masked(endpoint.root)
            )
        questions = _Questions(client, name, timeout_s)
        software = await questions.first_answer() or await _software(client)
        can, reasons = await questions.ask_all(software)
        can["metrics"] = await client.metrics() is not None
        found = await questions.fingerprint() if can["prompt_logprobs"] else ()
        refused = await find_refused(questions.refusal_of, set_fields())
        neutral = await find_refused(questions.refusal_of, neutral_fields(refused))
    if not can["metrics"]:
        reasons["metrics"] = "It has no /metrics page of vLLM's kind."
    return ProbeResult(
        software=software,
        models=models,
        context_length=chosen.context_length if chosen else None,
        capabilities=Capabilities(
            **can, refused_fields=tuple(refused), refused_neutral=tuple(neutral)
        ),
        reasons=reasons | refused,
        fingerprint=found,
    )


async def _software(client: CompletionClient) -> str | None:
    version = await client.version()
    return f"version {version}" if version else None


class _Questions:
    """The requests of one probe. Each method returns why the capability is missing, or nothing."""

    def __init__(self, client: CompletionClient, model: str, timeout_s: float) -> None:
        self._client = client
        self._model = model
        self._timeout_s = timeout_s
        self._where = masked(client.endpoint.root)

    async def first_answer(self) -> str | None:
        """Return the software that a plain completion tells of; raise if there is none."""
        try:
            answer = await self._ask(prompt=_TEXT)
        except RequestRefused as error:
            if error.status in (401, 403, 407) or 300 <= error.status < 400:
                raise
            if error.status in (404, 405, 501) and await self._has_chat():
                raise EngineUnavailable(_ONLY_CHAT, where=self._where) from error
            raise EngineUnavailable(
                "{problem} So it cannot write completions.", problem=error
            ) from error
        except EngineError as error:
            raise EngineUnavailable(
                "{problem} So it cannot write completions.", problem=error
            ) from error
        if not _choices(answer):
            raise EngineUnavailable(
                "The model server at {where} answers without choices; "
                "it does not speak the OpenAI completions API.",
                where=self._where,
            )
        return parse_software(answer)

    async def ask_all(self, software: str | None) -> tuple[dict[str, bool], dict[str, str]]:
        """Return capability → found, and capability → reason for those not found."""
        asked: dict[str, Callable[[], Awaitable[str | None]]] = {
            "token_ids": self.token_ids,
            "n": self.n,
            "prompt_list": self.prompt_list,
            "seed": self.seed,
            "prompt_logprobs": self.prompt_logprobs,
            "return_token_ids": self.return_token_ids,
        }
        can = {one.name: True for one in fields(Capabilities) if one.default is True}
        reasons = {}
        for name, question in asked.items():
            reason = await _reason(question)
            if reason:
                reasons[name] = reason
        priority = await _reason(self.priority) if software and "vllm" in software else _NOT_VLLM
        if priority:
            reasons["priority"] = priority
        return can | dict.fromkeys(reasons, False), reasons

    async def token_ids(self) -> str | None:
        answer = await self._ask(prompt=_IDS)
        usage = answer.get("usage")
        counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if counted == len(_IDS):
            return None
        return f"It counted {counted} prompt tokens where {len(_IDS)} ids were sent."

    async def n(self) -> str | None:
        return _want(2, await self._ask(prompt=_TEXT, n=2), "two completions of a prompt")

    async def prompt_list(self) -> str | None:
        answer = await self._ask(prompt=[_TEXT, _TEXT + " jumps"])
        return _want(2, answer, "completions of two prompts")

    async def seed(self) -> str | None:
        drawn = [
            await self._ask(prompt=_TEXT, seed=7, temperature=2.0, max_tokens=_SEED_TOKENS)
            for _ in range(2)
        ]
        first, second = ([choice.get("text") for choice in _choices(one)] for one in drawn)
        return None if first == second else "The same seed gave two different texts."

    async def prompt_logprobs(self) -> str | None:
        answer = await self._ask(prompt=_TEXT, prompt_logprobs=1)
        found = any(isinstance(c.get("prompt_logprobs"), list) for c in _choices(answer))
        return None if found else "It left prompt_logprobs out of its answer."

    async def fingerprint(self) -> tuple[float, ...]:
        """Return how likely the model finds a fixed text; nothing if it does not tell."""
        try:
            answer = await self._ask(prompt=equality.TEXT, prompt_logprobs=0)
        except (RequestRefused, RequestFailed):
            return ()
        return equality.fingerprint(answer)

    async def return_token_ids(self) -> str | None:
        answer = await self._ask(prompt=_TEXT, return_token_ids=True)
        found = any(isinstance(choice.get("token_ids"), list) for choice in _choices(answer))
        return None if found else "It left token_ids out of its answer."

    async def priority(self) -> str | None:
        await self._ask(prompt=_TEXT, priority=1)
        return None

    async def refusal_of(self, sent: Mapping[str, Any]) -> str | None:
        """Return what the server says against a request with these fields; None if it takes it."""
        try:
            await self._ask(prompt=_TEXT, **sent)
        except RequestRefused as error:
            if error.would_meet_all:
                raise EngineUnavailable(str(error)) from error
            return str(error)
        except (Busy, Stalled) as error:
            raise EngineUnavailable(str(error)) from error
        except RequestFailed as error:  # some answer 500 to a field that they do not know
            return str(error)
        return None

    async def _has_chat(self) -> bool:
        body = {"model": self._model, "max_tokens": 1, "stream": False}
        chat = {**body, "messages": [{"role": "user", "content": _TEXT}]}
        try:
            await self._client.post("/chat/completions", chat, timeout_s=self._timeout_s)
        except RequestRefused as error:
            return error.status not in (404, 405, 501)
        except EngineError:
            return False
        return True

    async def _ask(self, **payload: Any) -> dict[str, Any]:
        body = {"model": self._model, "max_tokens": 1, "temperature": 1.0, "stream": False}
        for attempt in range(1, _BUSY_TRIES + 1):
            try:
                answer = await self._client.post(
                    "/completions", {**body, **payload}, timeout_s=self._timeout_s
                )
            except Busy as error:
                if attempt == _BUSY_TRIES:
                    raise
                await asyncio.sleep(min(error.retry_after_s or 1.0, _MAX_PAUSE_S))
            else:
                return parse_object(answer)
        raise AssertionError("unreachable")


_ONLY_CHAT = (
    "The model server at {where} has only /v1/chat/completions, which is not supported yet: "
    "prompts are rendered here and sent to /v1/completions. Servers that have it are vLLM, SGLang, "
    "llama.cpp's llama-server and Ollama."
)
_NOT_VLLM = "Only vLLM is known to order requests by priority."


async def _reason(question: Callable[[], Awaitable[str | None]]) -> str | None:
    try:
        return await question()
    except EngineUnavailable:
        raise
    except EngineError as error:
        return str(error)


def _choices(answer: dict[str, Any]) -> list[dict[str, Any]]:
    listed = answer.get("choices")
    return [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []


def _want(number: int, answer: dict[str, Any], what: str) -> str | None:
    got = len(_choices(answer))
    return None if got == number else f"Asked for {what}, it gave {got}."


RefusalOf = Callable[[Mapping[str, Any]], Awaitable[str | None]]
"""Sends a request with some fields; returns what the server has against it, or None."""
_SET: Mapping[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "repetition_penalty": 1.05,
    "stop": ["<|stop|>"],
    "stop_token_ids": [3],
}


def set_fields() -> dict[str, Any]:
    """Return the fields that are sent to every server, each with a value that changes something."""
    return {**_SET, "request_id": f"q2q-probe-{uuid.uuid4().hex[:12]}"}


def neutral_fields(refused: Collection[str]) -> dict[str, Any]:
    """Return the sampling parameters at values that change nothing, without those refused."""
    return {name: value for name, value in NEUTRAL.items() if name not in refused}


async def find_refused(refusal_of: RefusalOf, sent: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of ``sent`` that the server refuses, each with what it says against it.

    One request where it takes them all. Fields that it refuses only together (temperature beside
    top_p, say) are added one by one: the later ones are those given up.
    """
    if await refusal_of(sent) is None:
        return {}
    refused = await _halves(refusal_of, dict(sent))
    rest = {name: value for name, value in sent.items() if name not in refused}
    if await refusal_of(rest) is None:
        return refused
    taken: dict[str, Any] = {}
    for name, value in rest.items():
        reason = await refusal_of({**taken, name: value})
        if reason is None:
            taken[name] = value
        else:
            refused[name] = reason
    return refused


async def _halves(refusal_of: RefusalOf, sent: dict[str, Any]) -> dict[str, str]:
    names = list(sent)
    middle = len(names) // 2
    found: dict[str, str] = {}
    for half in (names[:middle], names[middle:]):
        part = {name: sent[name] for name in half}
        reason = await refusal_of(part) if part else None
        if reason is not None:
            found |= {half[0]: reason} if len(half) == 1 else await _halves(refusal_of, part)
    return found
