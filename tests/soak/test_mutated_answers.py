"""Answers of model servers spoilt at random: choices, or an error of the engine's own, never else.

A real HTTP server sends what a real one would, after mutations of body, status and headers.
"""

import json
import os
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from db.errors import Q2QError
from serving.engine.client import CompletionClient, RetryPolicy
from serving.engine.messages import (
    CompletionRequest,
    CompletionResult,
    Endpoint,
    SamplingParameters,
)
from serving.engine.probe import probe
from tests.soak.mutations import spoilt

pytestmark = pytest.mark.soak

SEED = os.environ.get("Q2Q_SOAK_SEED", "1")
ANSWERS, PROBES = 600, 60
N, PROMPTS = 2, ([1, 2, 3], [4, 5])
STATUSES = (200, 200, 200, 200, 200, 204, 308, 400, 401, 404, 429, 500, 503)
TYPES = ("application/json", "text/html", "text/plain; charset=utf-16", "")


def answer() -> dict[str, Any]:
    """Return what a server of vLLM's kind says to two prompts with two completions each."""
    choices = [
        {"index": at, "text": f" You should {at}.", "finish_reason": "stop", "stop_reason": None,
         "logprobs": None, "token_ids": [5, 6], "prompt_token_ids": [1, 2],
         "prompt_logprobs": [None, {"2": {"logprob": -0.5, "rank": 1, "decoded_token": "a"}}]}
        for at in range(N * len(PROMPTS))
    ]  # fmt: skip
    usage = {"prompt_tokens": 5, "total_tokens": 13, "completion_tokens": 8}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
            "choices": choices, "usage": usage}  # fmt: skip


MODELS = {"object": "list", "data": [{"id": "m", "max_model_len": 512, "root": "/m",
                                      "parent": None}]}  # fmt: skip
METRICS = "vllm:num_requests_running 1.0\nvllm:num_requests_waiting 0.0\n"
KNOWN: dict[str, bytes] = {
    "/v1/models": json.dumps(MODELS).encode(),
    "/version": b'{"version": "0.32.0"}',
    "/metrics": METRICS.encode(),
}


def handler(draw: Random) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that spoils what it sends."""

    async def respond(request: web.Request) -> web.Response:
        whole = KNOWN.get(request.path, json.dumps(answer()).encode())
        status = draw.choice(STATUSES)
        headers = {"Location": draw.choice(("/elsewhere", "", "http://127.0.0.1:1/v1", "::"))}
        if draw.random() < 0.2:
            headers["Retry-After"] = draw.choice(("0", "-1", "x", "1e300", "9" * 400))
        body = b"" if status == 204 else spoilt(whole, draw, is_text=True)
        return web.Response(
            body=body, status=status, headers=headers | {"Content-Type": draw.choice(TYPES)}
        )

    return respond


async def served(draw: Random, work: Callable[[Endpoint], Awaitable[None]]) -> None:
    """Do ``work`` with a server that spoils its answers."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler(draw))
    async with TestServer(app) as server:
        await work(Endpoint(url=str(server.make_url("/v1")), api_key="key"))


async def test_a_spoilt_answer_is_choices_or_an_error_of_the_engine() -> None:
    draw = Random(f"{SEED}/answers")
    policy = RetryPolicy(attempts=2, stalls=1, first_pause_s=0, max_pause_s=0)
    outcomes: dict[str, int] = {}

    async def work(endpoint: Endpoint) -> None:
        async with CompletionClient(endpoint, timeout_s=5, retry=policy) as client:
            for number in range(ANSWERS):
                request = CompletionRequest(
                    model="m",
                    prompts=PROMPTS,
                    sampling=SamplingParameters(max_tokens=8),
                    n=N,
                    scores_prompt=draw.random() < 0.3,
                    request_id=f"r{number}",
                )
                try:
                    check(await client.complete(request))
                    kind = "choices"
                except Q2QError as error:
                    kind = type(error).__name__ if str(error).strip() else "nothing said"
                outcomes[kind] = outcomes.get(kind, 0) + 1

    await served(draw, work)
    assert outcomes["choices"] > ANSWERS / 10, outcomes
    assert len(outcomes) >= 3, outcomes
    assert "nothing said" not in outcomes


def check(result: CompletionResult) -> None:
    """Every completion that was asked for is there or missing; what is there can be stored."""
    assert len(result.choices) + len(result.missing) == N * len(PROMPTS)
    for choice in result.choices:
        choice.text.encode("utf-8")
        for count in (choice.completion_tokens, choice.prompt_tokens):
            assert count is None or 0 <= count < 2**63
    json.dumps([one.prompt_log_probs for one in result.choices], allow_nan=False)


async def test_a_probe_of_a_server_that_spoils_its_answers_finds_something_or_says_why() -> None:
    draw = Random(f"{SEED}/probes")
    said: list[str] = []

    async def work(endpoint: Endpoint) -> None:
        for _ in range(PROBES):
            try:
                found = await probe(endpoint, model="m")
            except Q2QError as error:
                said.append(str(error))
            else:
                said.extend(found.reasons.values())

    await served(draw, work)
    assert len(said) > PROBES / 2
    assert all(sentence.strip() for sentence in said)
