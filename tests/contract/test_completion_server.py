"""What we rely on from every model server: the fake one and real vLLM keep the same promises."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from serving.engine.client import CompletionClient
from serving.engine.messages import (
    Capabilities,
    CompletionRequest,
    Endpoint,
    RequestRefused,
    SamplingParameters,
)
from serving.engine.probe import probe
from tests.engine_fixture import VllmServer
from tests.fakes.server import FakeServer

IDS = [504, 3575, 282, 4649, 314]
OTHER_IDS = [1250, 359, 260]
GREEDY = SamplingParameters(temperature=0, max_tokens=8)
FREE = SamplingParameters(temperature=1, max_tokens=8)


@dataclass(frozen=True)
class Subject:
    """The server under test."""

    endpoint: Endpoint
    model: str
    context_length: int

    def ask(self, **changes: Any) -> CompletionRequest:
        given: dict[str, Any] = {
            "model": self.model,
            "prompts": [IDS],
            "sampling": GREEDY,
            **changes,
        }
        return CompletionRequest(**given)


@pytest.fixture(params=["fake", pytest.param("vllm", marks=pytest.mark.engine)])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake: FakeServer = request.getfixturevalue("fake_server")
        return Subject(fake.endpoint, "fake", fake.context_length)
    real: VllmServer = request.getfixturevalue("vllm_server")
    return Subject(real.endpoint, real.model, real.context_length)


@pytest.fixture
async def client(subject: Subject) -> AsyncIterator[CompletionClient]:
    async with CompletionClient(subject.endpoint, timeout_s=120) as client:
        yield client


async def test_one_prompt_gives_one_choice_with_its_counts(
    subject: Subject, client: CompletionClient
) -> None:
    result = await client.complete(subject.ask(request_id="r1"))
    (choice,) = result.choices
    assert choice.text
    assert choice.finish_reason in ("stop", "length")
    assert choice.prompt_tokens == len(IDS)
    assert choice.completion_tokens is not None
    assert 1 <= choice.completion_tokens <= GREEDY.max_tokens
    assert result.missing == ()
    assert result.server_version is not None
    assert result.server_version.startswith("vllm ")


async def test_a_list_of_prompts_comes_back_in_its_order(
    subject: Subject, client: CompletionClient
) -> None:
    alone = [
        (await client.complete(subject.ask(prompts=[ids]))).choices[0].text
        for ids in (IDS, OTHER_IDS)
    ]
    together = await client.complete(subject.ask(prompts=[IDS, OTHER_IDS]))
    assert [choice.prompt_index for choice in together.choices] == [0, 1]
    assert [choice.prompt_tokens for choice in together.choices] == [len(IDS), len(OTHER_IDS)]
    # batches may differ in the last bits of a number, so only the beginning is compared
    assert [choice.text[:6] for choice in together.choices] == [text[:6] for text in alone]


async def test_n_gives_that_many_choices_of_each_prompt_with_their_own_lengths(
    subject: Subject, client: CompletionClient
) -> None:
    result = await client.complete(subject.ask(prompts=[IDS, OTHER_IDS], n=3, sampling=FREE))
    places = [(choice.prompt_index, choice.choice_index) for choice in result.choices]
    assert places == [(p, c) for p in range(2) for c in range(3)]
    assert all(choice.completion_tokens for choice in result.choices)
    assert len({choice.text for choice in result.choices}) > 1


async def test_a_seed_repeats_a_choice(subject: Subject, client: CompletionClient) -> None:
    texts = {
        (await client.complete(subject.ask(sampling=FREE, seed=11))).choices[0].text
        for _ in range(2)
    }
    assert len(texts) == 1


async def test_the_limit_cuts_a_choice_and_says_so(
    subject: Subject, client: CompletionClient
) -> None:
    sampling = SamplingParameters(temperature=0, max_tokens=2)
    (choice,) = (await client.complete(subject.ask(sampling=sampling))).choices
    assert (choice.finish_reason, choice.completion_tokens) == ("length", 2)


async def test_text_is_taken_as_well_as_ids(subject: Subject, client: CompletionClient) -> None:
    result = await client.complete(subject.ask(prompts=["The capital of France is"]))
    assert result.choices[0].text
    assert result.choices[0].prompt_tokens == 5


async def test_a_prompt_past_the_context_is_refused_at_once(
    subject: Subject, client: CompletionClient
) -> None:
    with pytest.raises(RequestRefused, match="context length") as caught:
        await client.complete(subject.ask(prompts=[[504] * (subject.context_length + 1)]))
    assert caught.value.status == 400


async def test_what_the_context_does_not_hold_is_cut_from_the_completion(
    subject: Subject, client: CompletionClient
) -> None:
    prompt = [504] * (subject.context_length - 2)
    (choice,) = (await client.complete(subject.ask(prompts=[prompt]))).choices
    assert choice.completion_tokens is not None
    assert choice.completion_tokens <= 2


async def test_an_unknown_model_is_refused(subject: Subject, client: CompletionClient) -> None:
    with pytest.raises(RequestRefused, match="does not exist") as caught:
        await client.complete(subject.ask(model="nobody"))
    assert caught.value.status == 404


async def test_one_bad_request_does_not_disturb_the_others(
    subject: Subject, client: CompletionClient
) -> None:
    bad = subject.ask(prompts=[[504] * (subject.context_length + 1)])
    outcomes = await asyncio.gather(
        client.complete(subject.ask()),
        client.complete(bad),
        client.complete(subject.ask(prompts=[OTHER_IDS])),
        return_exceptions=True,
    )
    assert [isinstance(outcome, RequestRefused) for outcome in outcomes] == [False, True, False]


async def test_a_request_may_be_given_up(subject: Subject, client: CompletionClient) -> None:
    sampling = SamplingParameters(temperature=1, max_tokens=1000)
    waiting = asyncio.create_task(client.complete(subject.ask(sampling=sampling)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await client.complete(subject.ask())).choices


async def test_the_server_tells_its_health_models_load_and_version(
    subject: Subject, client: CompletionClient
) -> None:
    assert await client.health()
    (model,) = await client.models()
    assert (model.name, model.context_length) == (subject.model, subject.context_length)
    load = await client.metrics()
    assert load is not None
    assert 0 <= load.kv_cache_usage <= 1
    assert await client.version()


async def test_the_probe_finds_every_capability(subject: Subject) -> None:
    found = await probe(subject.endpoint, model=subject.model)
    assert found.reasons == {}
    assert replace(found.capabilities, chat=False) == Capabilities()
    assert found.context_length == subject.context_length
