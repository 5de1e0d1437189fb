"""The probe, against servers that can do more or less."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from serving.engine.client import CompletionClient, without_refused
from serving.engine.messages import (
    Capabilities,
    CompletionRequest,
    EngineUnavailable,
    RequestRefused,
    SamplingParameters,
)
from serving.engine.probe import probe
from serving.engine.refused_fields import find_refused
from serving.engine.responses import parse_load, parse_models
from tests.fakes.behaviours import Behaviour, error
from tests.fakes.server import FakeServer


class PlainServer(FakeServer):
    """Like a small server of another make: text only, one completion, no extras."""

    def _answer(self, body: dict[str, Any], prompts: list[list[int] | str]) -> dict[str, Any]:
        plain = {"model": body["model"], "max_tokens": 1}
        answer = super()._answer(plain, ["text" if isinstance(p, list) else p for p in prompts[:1]])
        del answer["system_fingerprint"]
        answer["choices"][0]["text"] = str(self.count)
        return answer


async def test_a_server_like_vllm_can_do_everything(fake_server: FakeServer) -> None:
    found = await probe(fake_server.endpoint)
    assert found.capabilities == Capabilities()
    assert found.reasons == {}
    assert found.software == "vllm 0.0.1"
    assert found.context_length == 4096
    assert found.models[0].name == "fake"
    assert found.endpoint(fake_server.endpoint).software == "vllm 0.0.1"
    assert all(sent["max_tokens"] <= 8 for sent in fake_server.requests)


async def test_each_missing_capability_is_told_with_its_reason() -> None:
    server = PlainServer()
    server.start()
    try:
        found = await probe(server.endpoint)
    finally:
        server.stop()
    can = found.capabilities
    assert not any(
        (can.token_ids, can.n, can.prompt_list, can.seed, can.prompt_logprobs, can.priority)
    )
    assert can.metrics
    assert not can.return_token_ids
    assert "gave 1" in found.reasons["n"]
    assert found.reasons["seed"] == "The same seed gave two different texts."
    assert found.software == "version 0.0.1-fake"


async def test_a_refused_question_is_a_missing_capability(fake_server: FakeServer) -> None:
    fake_server.script("ok", "too_long")
    found = await probe(fake_server.endpoint)
    assert not found.capabilities.token_ids
    assert "HTTP 400" in found.reasons["token_ids"]
    assert found.capabilities.n


async def test_a_server_without_completions_is_unavailable(fake_server: FakeServer) -> None:
    fake_server.default = "garbage"
    with pytest.raises(EngineUnavailable, match="cannot write completions"):
        await probe(fake_server.endpoint)
    fake_server.default = "no_choices"
    with pytest.raises(EngineUnavailable, match="without choices"):
        await probe(fake_server.endpoint)
    fake_server.models = ()
    with pytest.raises(EngineUnavailable, match="offers no model"):
        await probe(fake_server.endpoint)


async def test_every_field_that_a_server_refuses_is_found_and_withheld() -> None:
    refuses = ("top_k", "min_p", "repetition_penalty", "request_id", "priority", "stop_token_ids")
    server = FakeServer(refuses=(*refuses, "return_token_ids", "seed", "n"))
    server.start()
    try:
        found = await probe(server.endpoint)
        can = found.capabilities
        assert set(can.refused_fields) == set(refuses) - {"priority"}
        assert not any((can.n, can.seed, can.priority, can.return_token_ids))
        assert "Unrecognized request argument supplied: top_k" in found.reasons["top_k"]
        request = CompletionRequest(
            model="fake",
            prompts=["How?"],
            sampling=SamplingParameters(max_tokens=4),
            stop=["."],
            stop_token_ids=[2],
            priority=-1,
            request_id="q2q-1",
        )
        async with CompletionClient(found.endpoint(server.endpoint)) as client:
            assert (await client.complete(request)).choices
    finally:
        server.stop()
    assert server.requests[-1].keys() == {
        *("model", "prompt", "temperature", "top_p", "max_tokens", "presence_penalty"),
        *("frequency_penalty", "stop", "stream"),
    }


async def test_a_server_that_takes_every_field_costs_two_requests_more(
    fake_server: FakeServer,
) -> None:
    found = await probe(fake_server.endpoint)
    assert found.capabilities.refused_fields == ()
    assert sum("top_k" in sent for sent in fake_server.requests) == 2


async def test_a_value_that_changes_nothing_is_left_out_where_it_is_refused() -> None:
    class NoZero(FakeServer):
        """Takes ``top_k`` from 1 on, as some servers do."""

        def _failure(self, behaviour: Behaviour, body: dict[str, Any]) -> web.Response | None:
            if body.get("top_k") == 0:
                return error(400, "top_k must be at least 1")
            return super()._failure(behaviour, body)

    server = NoZero()
    server.start()
    try:
        can = (await probe(server.endpoint)).capabilities
    finally:
        server.stop()
    assert (can.refused_fields, can.refused_neutral) == ((), ("top_k",))
    assert without_refused({"top_k": 0, "top_p": 1.0}, can) == {"top_p": 1.0}
    assert without_refused({"top_k": 40}, can) == {"top_k": 40}


async def test_fields_that_are_refused_only_together_are_found() -> None:
    async def refusal_of(sent: Mapping[str, Any]) -> str | None:
        return "not both" if {"temperature", "top_p"} <= sent.keys() else None

    sent = {"temperature": 0.7, "top_k": 3, "top_p": 0.9, "min_p": 0.1}
    assert await find_refused(refusal_of, sent) == {"top_p": "not both"}


async def test_a_busy_server_is_asked_again_and_lacks_nothing(fake_server: FakeServer) -> None:
    fake_server.script("ok", "busy_429", "ok", "busy_429", "busy_429")
    assert (await probe(fake_server.endpoint)).capabilities == Capabilities()


async def test_an_answer_with_half_a_surrogate_leaves_the_server_well(
    fake_server: FakeServer,
) -> None:
    fake_server.default = "surrogate"
    assert (await probe(fake_server.endpoint)).models[0].name == "fake"


async def test_a_wrong_key_is_refused(fake_server: FakeServer) -> None:
    fake_server.api_key = "right"
    with pytest.raises(RequestRefused, match="does not accept the key"):
        await probe(replace(fake_server.endpoint, api_key="wrong"))


def test_load_adds_up_over_engines_and_is_none_for_other_pages() -> None:
    page = """
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 7e-05
"""
    load = parse_load(page)
    assert load is not None
    assert (load.running, load.waiting, load.kv_cache_usage) == (7, 1, 0.5)
    assert parse_load("<html>no metrics</html>") is None


def test_adapters_name_their_base_and_odd_entries_are_left_out() -> None:
    answer = {"data": [{"id": "a", "max_model_len": 9}, {"id": "r", "parent": "a"}, 7, {"id": 3}]}
    base, adapter = parse_models(answer)
    assert (base.name, base.context_length, base.base) == ("a", 9, None)
    assert (adapter.name, adapter.context_length, adapter.base) == ("r", None, "a")
    assert parse_models({"data": "none"}) == ()
