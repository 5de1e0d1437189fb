"""What servers of any make answer: odd JSON, odd ends, cut prompts, reasonings beside texts."""

from collections.abc import AsyncIterator

import pytest

from serving.engine.client import CompletionClient, RetryPolicy
from serving.engine.http_errors import server_message
from serving.engine.messages import CompletionRequest, Prompt, SamplingParameters
from serving.engine.responses import cut_problem, least_tokens, parse_json
from tests.fakes.server import Behaviour, FakeServer

FAST = RetryPolicy(first_pause_s=0.001, max_pause_s=0.01)


@pytest.fixture
async def client(fake_server: FakeServer) -> AsyncIterator[CompletionClient]:
    async with CompletionClient(fake_server.endpoint, timeout_s=5, retry=FAST) as client:
        yield client


def ask(*prompts: Prompt, n: int = 1, max_tokens: int = 64) -> CompletionRequest:
    sampling = SamplingParameters(max_tokens=max_tokens)
    return CompletionRequest(model="fake", prompts=prompts or ("How?",), n=n, sampling=sampling)


@pytest.mark.parametrize("behaviour", ["surrogate", "nan"])
async def test_what_strict_json_forbids_costs_no_choice(
    client: CompletionClient, fake_server: FakeServer, behaviour: Behaviour
) -> None:
    fake_server.script(behaviour)
    result = await client.complete(ask(n=3))
    assert (len(result.choices), result.missing, result.attempts) == (3, (), 1)
    texts = [choice.text for choice in result.choices]
    assert [text.endswith("\ufffd") for text in texts] == [False, False, behaviour == "surrogate"]
    assert "".join(texts).encode()


def test_whole_pairs_stay_and_every_string_can_be_stored() -> None:
    body = rb'{"a\ud83d": ["\ud83d\ude00", "\udc00x\u0000"], "b": [NaN, Infinity, 3]}'
    found = parse_json(body)
    assert found["a\ufffd"] == ["😀", "\ufffdx\ufffd"]
    assert found["b"][2] == 3
    assert parse_json(b"\xff{") is None
    assert parse_json(b"[" * 200_000) is None
    assert server_message(rb'{"error": {"message": "bad \ud83d"}}') == ": bad \ufffd"


async def test_missing_usage_is_unknown_and_not_zero(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    fake_server.script("no_usage")
    choice = (await client.complete(ask())).choices[0]
    assert choice.completion_tokens is None
    assert choice.prompt_tokens is None
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("filtered", "content_filter"), ("tool_calls", "tool_calls"), ("no_finish", None)],
)
async def test_an_unusual_end_is_handed_on(
    client: CompletionClient, fake_server: FakeServer, behaviour: Behaviour, reason: str | None
) -> None:
    fake_server.script(behaviour)
    assert (await client.complete(ask())).choices[0].finish_reason == reason


async def test_a_full_text_without_a_reason_was_cut_by_the_limit(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    fake_server.script("no_finish")
    assert (await client.complete(ask(max_tokens=2))).choices[0].finish_reason == "length"


async def test_reasoning_in_a_field_of_its_own_is_not_dropped(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    fake_server.script("thinks")
    first, second = (await client.complete(ask(n=2))).choices
    assert "<think>" not in first.text
    assert second.text.startswith("<think>\nYou should think.\n</think>\n\nYou should ")


async def test_a_prompt_that_the_server_cut_is_told(
    client: CompletionClient, fake_server: FakeServer
) -> None:
    fake_server.reads_at_most = 100
    ids = list(range(1000))
    choice = (await client.complete(ask(ids))).choices[0]
    assert choice.prompt_problem == "the server read 100 tokens of a prompt of 1,000"
    assert choice.prompt_tokens == 100
    words = "word " * 1000
    choice = (await client.complete(ask(words))).choices[0]
    assert choice.prompt_problem == "the server read 100 tokens of a prompt of at least 750"
    assert (await client.complete(ask([1, 2, 3]))).choices[0].prompt_problem is None


async def test_of_several_prompts_the_cut_one_is_found(fake_server: FakeServer) -> None:
    fake_server.reads_at_most = 100
    short, long = [1, 2, 3], list(range(1000))
    async with CompletionClient(fake_server.endpoint, timeout_s=5, retry=FAST) as client:
        result = await client.complete(ask(short, long))
    assert [choice.prompt_problem is None for choice in result.choices] == [True, False]
    assert not result.cut_some_prompt


@pytest.mark.parametrize("told", [0, None, "100", True, 10**6])
def test_a_count_that_says_nothing_flags_nothing(told: object) -> None:
    assert cut_problem([list(range(1000))], told) is None


def test_the_bound_of_a_text_is_safe_for_short_and_unspaced_ones() -> None:
    assert least_tokens("a few words") == 0
    assert least_tokens("日本語の長い文章" * 100) == 200
    assert least_tokens("-" * 5000) == 0
