"""What a server can do, found out with one small real request for each question.

A capability that is missing is no error: the result says so, and why, in words.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from db.settings import masked
from serving.engine import equality
from serving.engine.client import CompletionClient
from serving.engine.http_errors import Stalled
from serving.engine.messages import (
    Busy,
    Capabilities,
    Endpoint,
    EngineError,
    EngineUnavailable,
    OfferedModel,
    RequestFailed,
    RequestRefused,
    ServerGaveUp,
)
from serving.engine.refused_fields import find_refused, neutral_fields, set_fields
from serving.engine.responses import parse_object, parse_software, parse_usage, text_of
from serving.formats.chat_template import ChatPrompt

_TEXT = "The quick brown fox"
_IDS = [5, 6, 7]
"""Ids that every vocabulary has."""
_SEED_TOKENS = 8
"""Tokens at high temperature: two free drawings of as many hardly ever agree."""
_SYSTEM = "You answer in one short sentence, and you say so when you are not sure. " * 8
_LEAST_OF_SYSTEM = 40
"""Tokens by which it makes a prompt longer at least; its own default is never as long."""
_AT_RANDOM = "Name ten things at random."
_CHAT_TOKENS = 16
"""Of a chat completion, since models that reason first refuse to write a single one."""
_BUSY_TRIES, _MAX_PAUSE_S = 4, 30.0
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
        ServerGaveUp: its credit is used up.
    """
    async with CompletionClient(endpoint) as client:
        models = await offered_models(client, named=model)
        chosen = next((m for m in models if model in (None, m.name)), None)
        name = model or (chosen.name if chosen else None)
        if name is None:
            raise EngineUnavailable(
                "The model server at {root} offers no model.", root=masked(endpoint.root)
            )
        questions = _Questions(client, name, timeout_s)
        software = await questions.first_answer() or await _software(client)
        can, reasons = await questions.ask_all()
        can["metrics"] = await client.metrics() is not None
        found = await questions.fingerprint() if can["prompt_logprobs"] else ()
        refused = dict(_OF_VLLM) if questions.is_foreign_chat else {}
        asked = {name: one for name, one in set_fields().items() if name not in refused}
        refused |= await find_refused(questions.refusal_of, asked)
        neutral = await find_refused(questions.refusal_of, neutral_fields(refused))
    if not can["metrics"]:
        reasons["metrics"] = "It has no /metrics page of vLLM's kind."
    return ProbeResult(
        software=software,
        models=models,
        context_length=chosen.context_length if chosen else None,
        capabilities=Capabilities(
            **can,
            refused_fields=tuple(refused),
            refused_neutral=tuple(neutral),
            max_tokens_field=questions.max_tokens_field,
        ),
        reasons=reasons | refused,
        fingerprint=found,
    )


async def offered_models(
    client: CompletionClient, *, named: str | None = None
) -> tuple[OfferedModel, ...]:
    """Return the models of a server; the one that is ``named`` where it has no list of them.

    Raises:
        EngineError: It has none, and no model is named.
    """
    try:
        return await client.models()
    except RequestRefused as error:
        if error.status not in (404, 405):
            raise
        if named is None:
            raise EngineUnavailable(
                "{problem} Where that is the root of its API, it has no list of models: name one.",
                problem=error,
            ) from error
        return (OfferedModel(name=named, context_length=None),)


async def fingerprint_of(
    client: CompletionClient, model: str, *, timeout_s: float = 30.0
) -> tuple[float, ...]:
    """Return how likely a model finds a fixed text, of a server that told it before.

    Raises:
        EngineError: It does not answer.
    """
    return await _Questions(client, model, timeout_s).fingerprint()


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
        self._is_chat = False
        """It takes messages alone."""
        self._has_chat = False
        self._is_vllm = False
        self.max_tokens_field = "max_tokens"

    @property
    def is_foreign_chat(self) -> bool:
        """Whether it takes messages alone, and is not vLLM: fields of its own would be chance."""
        return self._is_chat and not self._is_vllm

    async def first_answer(self) -> str | None:
        """Return the software that a plain completion tells of; raise if there is none."""
        try:
            answer = await self._ask(prompt=_TEXT)
        except RequestRefused as error:
            if error.status in (401, 403, 407) or 300 <= error.status < 400:
                raise
            chat = await self._first_chat()
            if chat is None:
                raise EngineUnavailable(
                    "{problem} So it cannot write completions.", problem=error
                ) from error
            self._is_chat, answer = True, chat
        except ServerGaveUp:
            raise
        except EngineError as error:
            raise EngineUnavailable(
                "{problem} So it cannot write completions.", problem=error
            ) from error
        else:
            self._has_chat = await self._first_chat() is not None
        if not _choices(answer):
            raise EngineUnavailable(
                "The model server at {where} answers without choices; "
                "it does not speak the OpenAI completions API.",
                where=self._where,
            )
        software = parse_software(answer)
        self._is_vllm = software is not None and "vllm" in software
        return software

    async def _first_chat(self) -> dict[str, Any] | None:
        """Return a chat completion; None where the server writes none."""
        self._is_chat = True
        try:
            return await self._chat_completion()
        except (ServerGaveUp, EngineUnavailable, Busy):
            raise
        except EngineError:
            return None
        finally:
            self._is_chat = False

    async def _chat_completion(self) -> dict[str, Any]:
        try:
            return await self._ask(prompt=_TEXT)
        except RequestRefused as error:
            if "max_completion_tokens" not in str(error):
                raise
        self.max_tokens_field = "max_completion_tokens"
        return await self._ask(prompt=_TEXT)

    async def ask_all(self) -> tuple[dict[str, bool], dict[str, str]]:
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
        if self._is_chat:
            lacking = ["token_ids", "prompt_list", "prompt_logprobs", "completions"]
            lacking += [] if self._is_vllm else ["return_token_ids"]
            reasons = dict.fromkeys(lacking, _ONLY_CHAT)
            asked = {name: one for name, one in asked.items() if name not in reasons}
        can["chat"] = self._is_chat or self._has_chat
        if can["chat"]:
            asked["system_messages"] = self.system_messages
        for name, question in asked.items():
            reason = await _reason(question)
            if reason:
                reasons[name] = reason
        priority = await _reason(self.priority) if self._is_vllm else _NOT_VLLM
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
        hot: dict[str, Any] = (
            {} if self._is_chat else {"temperature": 2.0}
        )  # above 1, some refuse it
        text = _AT_RANDOM if self._is_chat else _TEXT
        drawn = [
            await self._ask(prompt=text, seed=7, max_tokens=_SEED_TOKENS, **hot) for _ in range(2)
        ]
        first, second = ([text_of(choice) for choice in _choices(one)] for one in drawn)
        if not any(first):
            return f"It wrote no text within {_CHAT_TOKENS} tokens, so that no seed could be tried."
        return None if first == second else "The same seed gave two different texts."

    async def system_messages(self) -> str | None:
        only, self._is_chat = self._is_chat, True
        try:
            answers = [await self._ask(prompt=_TEXT, system=one) for one in ("", _SYSTEM)]
        finally:
            self._is_chat = only
        without, beside = map(parse_usage, answers)
        if without is None or beside is None:
            return None  # it does not count
        longer = beside.prompt_tokens - without.prompt_tokens
        if longer >= _LEAST_OF_SYSTEM:
            return None
        return f"A long system message made the prompt {longer} tokens longer: it is dropped."

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

    async def _ask(
        self, *, prompt: Any, max_tokens: int = 1, system: str = "", **payload: Any
    ) -> dict[str, Any]:
        body = {"model": self._model, "stream": False, **payload}
        if self._is_chat:
            path = "/chat/completions"
            body["messages"] = ChatPrompt(system, prompt).messages
            body[self.max_tokens_field] = max(max_tokens, _CHAT_TOKENS)
        else:
            path = "/completions"
            body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": 1.0, **body}
        for attempt in range(1, _BUSY_TRIES + 1):
            try:
                answer = await self._client.post(path, body, timeout_s=self._timeout_s)
            except Busy as error:
                if attempt == _BUSY_TRIES:
                    raise
                await asyncio.sleep(min(error.retry_after_s or 1.0, _MAX_PAUSE_S))
            else:
                return parse_object(answer)
        raise AssertionError("unreachable")


_ONLY_CHAT = "It has only /v1/chat/completions, which takes messages and renders them itself."
_OF_VLLM = dict.fromkeys(
    ("request_id", "stop_token_ids"), "It is a field of vLLM's, and there are no token ids."
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
