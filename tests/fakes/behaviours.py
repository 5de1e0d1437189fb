"""What the fake model server does to single requests, and how its answers are made up."""

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
