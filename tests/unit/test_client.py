"""The completion client against a server that misbehaves on purpose."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from db.errors import Q2QError
from serving.engine.client import CompletionClient, RetryPolicy, request_payload
from serving.engine.messages import (
    Busy,
    Capabilities,
    CompletionRequest,
    Endpoint,
    EngineUnavailable,
    RequestFailed,
    RequestRefused,
    SamplingParameters,
)
from tests.fakes.fixtures import fake_server_process
from tests.fakes.server import Behaviour, FakeServer, fake_text

FAST = RetryPolicy(first_pause_s=0.001, max_pause_s=0.1)


def ask(**changes: Any) -> CompletionRequest:
    settings: dict[str, Any] = {
        "model": "fake",
        "prompts": [[1, 2, 3]],
        "sampling": SamplingParameters(max_tokens=64),
        **changes,
    }
    return CompletionRequest(**settings)


@pytest.fixture
async def client(fake_server: FakeServer) -> AsyncIterator[CompletionClient]:
    async with CompletionClient(fake_server.endpoint, timeout_s=5, retry=FAST) as client:
        yield client


async def test_choices_come_ordered_by_prompt_and_place(client: CompletionClient) -> None:
    prompts = [[1, 2, 3], [4, 5]]
    result = await client.complete(ask(prompts=prompts, n=3))
    places = [(choice.prompt_index, choice.choice_index) for choice in result.choices]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    for choice in result.choices:
        expected = fake_text(str(prompts[choice.prompt_index]), choice.choice_index, None)
        assert choice.text == expected
        assert choice.completion_tokens == len(expected.split())
        assert choice.prompt_tokens == len(prompts[choice.prompt_index])
    assert result.missing == ()
    assert result.server_version == "vllm 0.0.1"
    assert result.latency_ms > 0


async def test_a_nul_that_no_database_holds_is_shown_as_a_replacement(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    fake_server.text = lambda prompt, place, seed: "a\x00b"
    result = await client.complete(ask())
    assert result.choices[0].text == "a\ufffdb"


async def test_a_single_completion_takes_its_length_from_usage(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    result = await client.complete(ask(sampling=SamplingParameters(max_tokens=3)))
    assert result.choices[0].completion_tokens == 3
    assert result.choices[0].finish_reason == "length"
    assert "return_token_ids" not in fake_server.requests[-1]


async def test_every_sampling_parameter_is_sent(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    sampling = SamplingParameters(seed=5)
    await client.complete(ask(sampling=sampling, stop=["</s>"], stop_token_ids=[2], priority=-1))
    sent = fake_server.requests[-1]
    assert {name: sent[name] for name in sampling.resolved()} == sampling.resolved()
    assert (sent["stop"], sent["stop_token_ids"], sent["priority"]) == (["</s>"], [2], -1)


def test_no_seed_is_sent_unless_one_was_asked_for() -> None:
    endpoint = Endpoint(url="http://127.0.0.1:1/v1")
    assert "seed" not in request_payload(ask(), endpoint)
    assert request_payload(ask(seed=0), endpoint)["seed"] == 0
    seeded = SamplingParameters(seed=4)
    assert request_payload(ask(sampling=seeded), endpoint)["seed"] == 4
    assert request_payload(ask(sampling=seeded, seed=9), endpoint)["seed"] == 9


def test_what_a_server_cannot_do_is_not_asked_of_it() -> None:
    plain = Endpoint(
        url="http://127.0.0.1:1/v1",
        capabilities=Capabilities(priority=False, return_token_ids=False),
    )
    payload = request_payload(ask(n=2, priority=5), plain)
    assert "priority" not in payload
    assert "return_token_ids" not in payload


@pytest.mark.parametrize(
    "behaviour",
    ["error_500", "drop", "reset", "garbage", "not_an_object", "no_choices"],
)
async def test_a_passing_failure_is_retried(
    client: CompletionClient, fake_server: FakeServer, behaviour: Behaviour
) -> None:
    fake_server.script(behaviour, behaviour)
    result = await client.complete(ask(request_id="r1"))
    assert result.attempts == 3
    assert result.request_id == "r1-3"
    assert [sent["request_id"] for sent in fake_server.requests] == ["r1", "r1-2", "r1-3"]


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("error_500", "HTTP 500: EngineCore encountered an issue"),
        ("drop", "connection to the model server"),
        ("garbage", "no JSON object"),
        ("no_choices", "no choices"),
    ],
)
async def test_a_lasting_failure_ends_in_one_sentence(
    client: CompletionClient, fake_server: FakeServer, behaviour: Behaviour, sentence: str
) -> None:
    fake_server.default = behaviour
    with pytest.raises(RequestFailed, match=sentence) as caught:
        await client.complete(ask())
    assert "Tried 4 times" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert fake_server.count == 4


async def test_a_stall_meets_the_deadline_and_is_tried_only_twice(fake_server: FakeServer) -> None:
    fake_server.default = "stall"
    async with CompletionClient(fake_server.endpoint, timeout_s=0.1, retry=FAST) as client:
        started = time.monotonic()
        with pytest.raises(RequestFailed, match=r"no answer in 0\.1 s"):
            await client.complete(ask())
    assert time.monotonic() - started < 3
    assert fake_server.count == 2


async def test_a_refused_request_is_never_sent_again(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    fake_server.script("too_long")
    with pytest.raises(RequestRefused, match="maximum context length is 4096") as caught:
        await client.complete(ask())
    assert caught.value.status == 400
    assert fake_server.count == 1
    with pytest.raises(RequestRefused, match="does not exist"):
        await client.complete(ask(model="other"))


async def test_a_wrong_key_says_where_to_put_the_right_one(fake_server: FakeServer) -> None:
    fake_server.api_key = "secret"
    endpoint = replace(fake_server.endpoint, api_key="wrong")
    async with CompletionClient(endpoint, retry=FAST) as client:
        with pytest.raises(RequestRefused, match="does not accept the key"):
            await client.complete(ask())
    assert "wrong" not in repr(endpoint)


async def test_where_nothing_listens_the_server_is_unavailable(fake_server: FakeServer) -> None:
    endpoint = fake_server.endpoint
    fake_server.stop()
    async with CompletionClient(endpoint, retry=FAST) as client:
        with pytest.raises(EngineUnavailable, match=r"Nothing answers at http://127\.0\.0\.1"):
            await client.complete(ask())
        assert not await client.health()
        assert await client.metrics() is None
        assert await client.version() is None


async def test_a_server_killed_amid_requests_ends_as_unavailable() -> None:
    with fake_server_process("--default", "stall") as (process, url):
        async with CompletionClient(Endpoint(url=url), retry=FAST) as client:
            waiting = asyncio.create_task(client.complete(ask()))
            while (load := await client.metrics()) is None or load.running == 0:
                await asyncio.sleep(0.01)
            process.kill()
            with pytest.raises(EngineUnavailable):
                await waiting


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("few_choices", "gave 3 of 4 choices"),
        ("bad_choice", "without text"),
        ("aborted", "ended it early"),
    ],
)
async def test_choices_that_did_not_come_are_reported_beside_those_that_did(
    client: CompletionClient, fake_server: FakeServer, behaviour: Behaviour, sentence: str
) -> None:
    fake_server.script(behaviour)
    result = await client.complete(ask(prompts=[[1], [2]], n=2))
    assert len(result.choices) == 3
    (missing,) = result.missing
    assert (missing.prompt_index, missing.choice_index) == (1, 1)
    assert sentence in missing.error


async def test_cancelling_a_call_drops_its_request(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    fake_server.default = "stall"
    waiting = asyncio.create_task(client.complete(ask()))
    while fake_server.in_flight == 0:
        await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    deadline = time.monotonic() + 3
    while fake_server.cancelled == 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    assert fake_server.cancelled == 1
    fake_server.default = "ok"
    assert (await client.complete(ask())).choices


async def test_five_hundred_requests_fly_at_once(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    fake_server.default = "slow"
    fake_server.slow_s = 0.5
    results = await asyncio.gather(*(client.complete(ask(prompts=[[i]])) for i in range(500)))
    assert fake_server.peak > 250
    assert [r.choices[0].text for r in results] == [
        fake_text(str([i]), 0, None) for i in range(500)
    ]


async def test_health_models_load_and_version_are_read(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    assert await client.health()
    (model,) = await client.models()
    assert (model.name, model.context_length) == ("fake", 4096)
    load = await client.metrics()
    assert load is not None
    assert (load.running, load.waiting, load.kv_cache_usage) == (0, 0, 0.25)
    assert await client.version() == "0.0.1-fake"
    fake_server.healthy = False
    assert not await client.health()


def test_the_pause_grows_is_jittered_and_capped_and_follows_retry_after() -> None:
    policy = RetryPolicy(first_pause_s=1, max_pause_s=8)
    failed = RequestFailed("x")
    pauses = [policy.pause_s(attempt, failed) for attempt in range(1, 7)]
    for pause, ceiling in zip(pauses, [1, 2, 4, 8, 8, 8], strict=True):
        assert ceiling / 2 <= pause <= ceiling
    assert policy.pause_s(1, Busy("x", retry_after_s=3)) == 3
    assert policy.pause_s(1, Busy("x", retry_after_s=3600)) == 8


def test_sampling_refuses_unknown_names_and_impossible_values() -> None:
    with pytest.raises(ValidationError, match="temprature"):
        SamplingParameters(temprature=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError) as caught:
        SamplingParameters(top_p=0, max_tokens=0, temperature=-1)
    assert caught.value.error_count() == 3
    assert set(SamplingParameters().resolved()) == set(SamplingParameters.model_fields)


def test_engine_errors_are_sentences_for_people() -> None:
    for error in (EngineUnavailable("a."), RequestFailed("b."), RequestRefused("c.", status=400)):
        assert isinstance(error, Q2QError)


async def test_a_client_follows_its_server_to_another_port(fake_server: FakeServer) -> None:
    async with CompletionClient(fake_server.endpoint, retry=FAST) as client:
        await client.complete(ask())
        await asyncio.to_thread(fake_server.stop)
        await asyncio.to_thread(fake_server.start)
        await client.move_to(fake_server.endpoint)
        assert (await client.complete(ask())).choices
