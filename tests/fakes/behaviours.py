"""What the fake model server does to single requests, and how its answers are made up."""

import random
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson
from aiohttp import web

Behaviour = Literal[
    "ok",
    "slow",
    "stall",
    "lost",
    "drop",
    "reset",
    "error_500",
    "busy_429",
    "garbage",
    "not_an_object",
    "no_choices",
    "few_choices",
    "bad_choice",
    "aborted",
    "too_long",
    "filtered",
    "tool_calls",
    "no_finish",
    "no_usage",
    "surrogate",
    "nan",
    "thinks",
    "refused_400",
    "redirect",
]


_VOCABULARY = """
    compare name recall weigh order count describe question separate trace measure explain
    river paper winter method source reader number island border garden letter signal market
    before after because although first slowly clearly again together never often almost
"""
_WORDS = _VOCABULARY.split()


def fake_text(prompt: str, choice_index: int, seed: int | None) -> str:
    """Return the text the server writes: two short sentences, the same for the same arguments."""
    drawn = random.Random(zlib.crc32(f"{prompt}|{choice_index}|{seed}".encode()))
    words = drawn.choices(_WORDS, k=drawn.randint(8, 20))
    half = len(words) // 2
    return f"You should {' '.join(words[:half])}. You should {' '.join(words[half:])}."


def fake_log_prob(prompt: Sequence[int] | Sequence[str], place: int) -> float:
    """Return how likely the token at ``place`` is: the same for the same words before it."""
    drawn = random.Random(zlib.crc32(str(list(prompt[: place + 1])).encode()))
    return -6.0 * drawn.random()


async def break_off(request: web.Request, *, with_body: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    if with_body:
        await response.prepare(request)
        await response.write(b'{"choices": [{"ind')
    if request.transport is not None:
        request.transport.abort()
    return response


def spoil(behaviour: Behaviour, choices: list[dict[str, Any]]) -> None:
    if behaviour == "no_choices":
        choices.clear()
    elif behaviour == "few_choices":
        choices.pop()
    elif behaviour == "bad_choice":
        choices[-1]["text"] = None
    elif behaviour == "aborted":
        choices[-1]["finish_reason"] = "abort"
    elif behaviour == "filtered":
        choices[-1]["finish_reason"] = "content_filter"
    elif behaviour == "tool_calls":
        choices[-1]["finish_reason"] = "tool_calls"
    elif behaviour == "no_finish":
        choices[-1]["finish_reason"] = None
    elif behaviour == "thinks":
        choices[-1]["reasoning_content"] = "You should think."


def written(behaviour: Behaviour, answer: dict[str, Any]) -> bytes:
    """Return the answer as JSON, or as the JSON that some servers write in its place."""
    if behaviour == "surrogate":
        answer["choices"][-1]["text"] += "@half@"
        return orjson.dumps(answer).replace(b"@half@", rb"\ud83d")
    if behaviour == "nan":
        answer["choices"][-1]["score"] = "@nan@"
        return orjson.dumps(answer).replace(b'"@nan@"', b"NaN")
    return orjson.dumps(answer)


def prompt_of_chat(messages: list[dict[str, str]], *, drops_system: bool) -> str:
    """Return what a server for messages makes of them by its own template."""
    kept = [one for one in messages if not (drops_system and one["role"] == "system")]
    return "".join(f"[{one['role']}] {one['content']} " for one in kept) + "[assistant]"


def as_chat(answer: dict[str, Any], reasoning_field: str | None) -> None:
    """Turn an answer into one of ``/v1/chat/completions``.

    With a field for it, the first sentence of each text is the reasoning.
    """
    answer["object"] = "chat.completion"
    for choice in answer["choices"]:
        text = choice.pop("text")
        message = {"role": "assistant", "content": text}
        if reasoning_field == "think":
            reasoning, _, rest = text.partition(". ")
            message["content"] = f"<think>{reasoning}.</think>{rest}"
        elif reasoning_field is not None:
            reasoning, _, rest = text.partition(". ")
            message |= {"content": rest, reasoning_field: f"{reasoning}."}
        choice["message"] = message


class Account:
    """What a hosted server counts of its users: requests in a window of time, and paid tokens."""

    def __init__(self, requests: int | None, window_s: float, tokens: int | None, refusal: int):
        self._requests, self._window_s = requests, window_s
        self.tokens_left, self._refusal = tokens, refusal
        self._let_through: deque[float] = deque()
        self.n_limited = 0
        """Requests that were over the limit."""

    def refuses(self) -> web.Response | None:
        """Return what takes the place of an answer; None where the request may pass."""
        if self.tokens_left is not None and self.tokens_left <= 0:
            refused = error(self._refusal, "Insufficient Balance")
            if self._refusal == 429:
                body = {"error": {"message": "You ran out of quota", "code": "insufficient_quota"}}
                refused = web.json_response(body, status=429)
            return refused
        now = time.monotonic()
        while self._let_through and now - self._let_through[0] > self._window_s:
            self._let_through.popleft()
        if self._requests is None or len(self._let_through) < self._requests:
            self._let_through.append(now)
            return None
        self.n_limited += 1
        limited = error(429, "Rate limit reached for requests")
        limited.headers["Retry-After"] = f"{self._let_through[0] + self._window_s - now:.3f}"
        return limited


def prompts_of(prompt: object) -> list[list[int] | str]:
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], list | str):
        return prompt
    return [prompt]  # type: ignore[list-item]


def n_tokens(prompt: list[int] | str) -> int:
    return len(prompt.split()) if isinstance(prompt, str) else len(prompt)


def told_log_probs(
    prompt: list[int] | str, log_prob: Callable[[Sequence[int] | Sequence[str], int], float]
) -> list[dict[str, dict[str, float]] | None]:
    """Return the prompt's own tokens with their logarithms, as vLLM tells them."""
    if isinstance(prompt, str):
        words = prompt.split()
        return [
            {word: {"logprob": log_prob(words, place)}} if place else None
            for place, word in enumerate(words)
        ]
    return [
        {str(token_id): {"logprob": log_prob(prompt, place)}} if place else None
        for place, token_id in enumerate(prompt)
    ]


def error(status: int, message: str) -> web.Response:
    body = {"error": {"message": message, "type": "error", "code": status}}
    return web.json_response(body, status=status)
