"""Answers of servers that are wrong at random places: a result or a sentence, never a bug."""

import json
import random
from typing import Any

import pytest
from aiohttp import web

from db.database import Database
from db.errors import Q2QError
from serving.engine.client import CompletionClient, RetryPolicy
from serving.engine.http_errors import http_error
from serving.engine.messages import CompletionRequest, EngineError, SamplingParameters
from serving.engine.probe import probe
from serving.engine.responses import parse_choices, parse_models, parse_object
from tests.fakes.behaviours import Behaviour
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab

NO_RETRY = RetryPolicy(attempts=1)
ASK = CompletionRequest(
    model="fake", prompts=[[1, 2, 3], [4, 5]], n=2, sampling=SamplingParameters(max_tokens=8)
)
ODD = [
    *(None, True, -1, 0, 1.5, 2**70, float("nan"), float("inf"), "", "\ud800", "\x00", "4", [], {}),
    *([None], [[]], {"a": None}, "x" * 10_000, "http://u:p@h/", "content_filter"),
]


def answer() -> dict[str, Any]:
    choices = [
        {
            "index": place,
            "text": "You should think.",
            "finish_reason": "stop",
            "stop_reason": None,
            "token_ids": [1, 2],
            "prompt_token_ids": [1, 2, 3],
            "prompt_logprobs": [None, {"2": {"logprob": -1.0}}],
            "reasoning_content": "Hm.",
        }
        for place in range(4)
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 8}
    return {
        "choices": choices,
        "usage": usage,
        "system_fingerprint": "vllm-0.1.2",
        "data": [{"id": "fake", "max_model_len": 4096, "parent": "base"}],
        "error": {"message": "no", "code": 400},
    }


def mutated(drawn: random.Random) -> bytes:
    """Return the answer with one to three places changed, or its bytes broken."""
    made = answer()
    for _ in range(drawn.randint(1, 3)):
        place: Any = made
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = drawn.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and drawn.random() < 0.8:
                place = place[key]
                continue
            if drawn.random() < 0.2:
                del place[key]
            else:
                place[key] = drawn.choice(ODD)
            break
    body = json.dumps(made).encode()
    if drawn.random() < 0.2:
        at = drawn.randrange(len(body))
        body = body[:at] + bytes(drawn.choices(range(256), k=drawn.randint(0, 4))) + body[at + 1 :]
    return body


def read(body: bytes) -> None:
    """Read ``body`` as every kind of answer; what comes of it can be stored."""
    try:
        parsed = parse_object(body)
        parse_models(parsed)
        choices, missing = parse_choices(parsed, ASK)
    except EngineError as error:
        str(error).encode()
    else:
        assert len(choices) + len(missing) == ASK.n_choices
        for choice in choices:
            f"{choice.text}{choice.finish_reason}{choice.stop_reason}".encode()
            assert choice.completion_tokens is None or 0 <= choice.completion_tokens < 2**31
    said = str(http_error("x", "http://x/v1/models", 400, {"Location": "//["}, body))
    said.encode()
    assert "u:p@" not in said


def test_mutated_answers_end_in_a_result_or_a_sentence() -> None:
    drawn = random.Random(12)
    for _ in range(500):
        read(mutated(drawn))


class Mutating(FakeServer):
    """Answers everything with something wrong in it."""

    drawn = random.Random(3)

    def _failure(self, behaviour: Behaviour, body: dict[str, Any]) -> web.Response | None:
        status = self.drawn.choice([200] * 6 + [301, 400, 404, 418, 500])
        headers = {
            "Location": self.drawn.choice(["", "/x", "http://[", "//h/v1/completions", "/\udcff"])
        }
        return web.Response(
            body=mutated(self.drawn),
            status=status,
            headers=headers,
            content_type="application/json",
        )


async def meet(server: FakeServer, times: int) -> None:
    async with CompletionClient(server.endpoint, timeout_s=5, retry=NO_RETRY) as client:
        for _ in range(times):
            for ask in (client.complete(ASK), probe(server.endpoint, timeout_s=5)):
                try:
                    await ask
                except Q2QError as error:
                    str(error).encode()


@pytest.mark.parametrize("times", [20, pytest.param(1000, marks=pytest.mark.soak)])
async def test_mutated_servers_end_in_a_result_or_a_sentence(times: int) -> None:
    server = Mutating()
    server.start()
    try:
        await meet(server, times)
    finally:
        server.stop()


@pytest.mark.soak
def test_many_mutated_answers_end_in_a_result_or_a_sentence() -> None:
    drawn = random.Random(99)
    for _ in range(20_000):
        read(mutated(drawn))


async def test_a_sweep_over_a_mutated_server_leaves_nothing_half_written(
    database: Database,
) -> None:
    lab.fill(database, 20)
    server = Mutating()
    server.start()
    try:
        sweep_id = lab.save(database, variants=2, answers=2)
        outcome = await lab.run(database, sweep_id, server.endpoint)
    finally:
        server.stop()
    assert outcome.state in ("done", "failed")
    assert lab.scalar(database, "SELECT count(*) FROM generation WHERE ok AND text IS NULL") == 0
    assert lab.scalar(database, "SELECT count(*) FROM generation WHERE ok") == lab.scalar(
        database,
        "SELECT (SELECT count(*) FROM reasoning_variant) + (SELECT count(*) FROM answer)",
    )
