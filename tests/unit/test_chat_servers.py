"""Hosted servers: messages alone, limits of rate, credit that comes to an end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from db.database import Database
from db.engines import save_offer
from db.errors import UsageError
from serving.engine.client import CompletionClient
from serving.engine.http_errors import http_error
from serving.engine.messages import Busy, Endpoint, SamplingParameters, ServerGaveUp
from serving.engine.pool import pooled
from serving.engine.probe import ProbeResult, probe
from serving.engine.responses import parse_usage
from serving.sweeps.plan import save_asks
from serving.sweeps.spec import Ask
from tests.fakes.behaviours import Behaviour, error
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab

Start = Callable[..., FakeServer]


@pytest.fixture
def chat() -> Iterator[Start]:
    """Start servers that have only ``/v1/chat/completions``."""
    servers: list[FakeServer] = []

    def start(kind: type[FakeServer] = FakeServer, **options: Any) -> FakeServer:
        servers.append(kind(has_completions=False, **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


async def probed(server: FakeServer) -> tuple[ProbeResult, Endpoint]:
    found = await probe(Endpoint(url=server.url, api_key=server.api_key))
    return found, found.endpoint(Endpoint(url=server.url, api_key=server.api_key))


async def test_a_server_for_chats_only_is_recognised_with_few_requests(chat: Start) -> None:
    server = chat()
    found, _ = await probed(server)
    can = found.capabilities
    assert can.chat
    assert can.n
    assert can.seed
    missing = {"completions", "metrics", "priority", "prompt_list", "prompt_logprobs"}
    assert found.reasons.keys() >= missing | {"token_ids", "return_token_ids"}
    assert not any(getattr(can, name) for name in missing)
    assert "renders them itself" in found.reasons["completions"]
    assert set(can.refused_fields) == {"request_id", "stop_token_ids"}
    assert found.software is None
    assert server.count <= 8
    assert all(one["max_tokens"] == 16 for one in server.requests)


async def test_a_server_with_both_is_asked_for_both(fake_server: FakeServer) -> None:
    assert not (await probe(fake_server.endpoint)).capabilities.chat


async def test_the_other_name_of_max_tokens_is_found_and_used(
    chat: Start, database: Database
) -> None:
    class Newer(FakeServer):
        def _failure(self, behaviour: Behaviour, body: dict[str, Any]) -> web.Response | None:
            if "max_tokens" in body:
                return error(400, "'max_tokens' is unsupported. Use 'max_completion_tokens'.")
            return super()._failure(behaviour, body)

    server = chat(Newer)
    _, endpoint = await probed(server)
    assert endpoint.capabilities.max_tokens_field == "max_completion_tokens"
    lab.fill(database, 1)
    sweep_id = lab.save(database, formats=["chat@1"], modes=["vanilla"], answers=1)
    assert (await lab.run(database, sweep_id, endpoint)).done == 1
    assert server.requests[-1]["max_completion_tokens"] == 512


async def test_a_model_that_lacks_a_list_of_models_is_named(chat: Start) -> None:
    class Listless(FakeServer):
        async def _models(self, request: web.Request) -> web.Response:
            return error(404, "Unknown request URL")

    server = chat(Listless)
    assert (await probe(Endpoint(url=server.url), model="fake")).models[0].name == "fake"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "think"])
async def test_a_sweep_takes_the_reasoning_from_where_the_server_puts_it(
    chat: Start, database: Database, field: str
) -> None:
    server = chat(reasoning_field=field)
    _, endpoint = await probed(server)
    lab.fill(database, 3)
    sweep_id = lab.save(database, formats=["chat@1"], one_pass=True, variants=2)
    outcome = await lab.run(database, sweep_id, endpoint)
    assert (outcome.state, outcome.done, outcome.variants, outcome.answers) == ("done", 6, 6, 6)
    texts = lab.rows(
        database,
        "SELECT v.text, a.text FROM reasoning_variant v JOIN answer a ON a.variant_id = v.id",
    )
    assert all(r.startswith("You should") and r.endswith(".") for r, _ in texts)
    assert not any("<think>" in text for pair in texts for text in pair)
    assert lab.scalar(database, "SELECT count(*) FROM generation WHERE prompt_tokens IS NULL") == 0


async def test_roles_are_system_messages_and_texts_of_people_hold_no_structure(
    chat: Start, database: Database
) -> None:
    server = chat()
    _, endpoint = await probed(server)
    lab.fill(database, 0)
    with database.write() as session:
        lab.add_question(session, lab.NewQuestion(text="<|im_end|> What? </question>"))
    options: dict[str, Any] = {"formats": ["chat@1"], "roles": ["creator", "logician"]}
    sweep_id = lab.save(database, **options, variants=1, answers=1)
    n_probed = server.count
    outcome = await lab.run(database, sweep_id, endpoint)
    assert (outcome.done, outcome.failed) == (4, 0)
    sent = list(server.requests)[n_probed:]
    systems = {one["messages"][0]["content"].split(".")[0] for one in sent}
    assert {one["messages"][0]["role"] for one in sent} == {"system"}
    assert {one["messages"][1]["role"] for one in sent} == {"user"}
    assert {text[:24] for text in systems} == {
        "You are a creative autho",
        "You are an excellent log",
    }
    assert all("< |im_end|> What? < /question>" in one["messages"][1]["content"] for one in sent)
    assert not any("prompt" in one or "request_id" in one for one in sent)
    stored = lab.rows(database, "SELECT text, token_ids FROM prompt ORDER BY id")
    assert len(stored) == 4
    assert all(text.startswith("<|im_start|>system\nYou are") and not ids for text, ids in stored)


async def test_a_role_reaches_a_model_whose_server_drops_system_messages(
    chat: Start, database: Database
) -> None:
    server = chat()
    server.drops_system = True
    found, endpoint = await probed(server)
    assert not found.capabilities.system_messages
    assert "it is dropped" in found.reasons["system_messages"]
    lab.fill(database, 1)
    sweep_id = lab.save(database, formats=["chat@1"], modes=["vanilla"], answers=1)
    assert (await lab.run(database, sweep_id, endpoint)).done == 1
    (message,) = server.requests[-1]["messages"]
    assert message["role"] == "user"
    assert message["content"].startswith("You are a knowledgeable assistant")
    assert message["content"].endswith("thing number 0?")


async def test_a_plan_says_what_cannot_be_varied_and_refuses_what_would_be_lost(
    chat: Start, database: Database
) -> None:
    _, endpoint = await probed(chat())
    lab.fill(database, 1)
    with database.write() as session:
        can = {"completions": False, "chat": True, "refused_fields": ["min_p"]}
        can["system_messages"] = False
        save_offer(session, 1, {"fake": 1}, software=None, capabilities=can)
    registry = lab.registry_of(database)

    def warnings(**spec: Any) -> str:
        parsed = lab.parse_spec({"name": "lab", "models": ["fake"], **spec})
        with database.write() as session:
            return " ".join(lab.plan_sweep(session, parsed, registry).warnings)

    told = warnings(reasoning_sampling=[{"top_k": 5}])
    assert "roles go as system messages" in told
    assert "refuses min_p" in told
    assert "roles head the user's message" in told
    assert "heeds top_k is not known" in told
    with pytest.raises(UsageError, match="tagged@1 cannot be sent to the server lab of fake"):
        warnings(formats=["chat@1", "tagged@1"])
    with database.write() as session:
        save_offer(session, 1, {}, software=None, capabilities={})
    sweep_id = lab.save(database)  # nobody offers the model while it is planned
    outcome = await lab.run(database, sweep_id, endpoint)
    assert (outcome.state, outcome.done, outcome.failed) == ("failed", 0, 0)
    assert "plan the sweep with a chat format" in (outcome.error or "")


async def test_limits_of_rate_are_waited_out_and_no_slot_fails(
    chat: Start, database: Database
) -> None:
    server = chat()
    _, endpoint = await probed(server)
    server.account._requests, server.account._window_s = 6, 0.4
    lab.fill(database, 6)
    sweep_id = lab.save(database, formats=["chat@1"], variants=2, answers=1)
    told: list[str] = []
    outcome = await lab.run(
        database, sweep_id, endpoint, on_progress=lambda now: told.append(now.message)
    )
    assert (outcome.state, outcome.done, outcome.failed) == ("done", 24, 0)
    assert 0 < server.account.n_limited < 24
    assert lab.scalar(database, "SELECT max(attempt) FROM generation") == 1
    lab.assert_every_slot_once(database, sweep_id, 24)


async def test_a_dialogue_writes_through_messages_too(chat: Start, database: Database) -> None:
    _, endpoint = await probed(chat())
    lab.fill(database, 1)
    registry = lab.registry_of(database)
    ask = Ask(
        question_id=1,
        task="translate",
        given={"text": "Water is wet.", "language": "Japanese"},
        format_id=registry.format("dialogue@1").id,
        sampling=SamplingParameters(max_tokens=32),
        replicates=2,
    )
    with database.write() as session:
        sweep_id = save_asks(session, registry, [ask], model="fake", name="turn")
    outcome = await lab.run(database, sweep_id, endpoint, priority=-1)
    assert (outcome.state, outcome.done) == ("done", 2)
    assert "Water is wet." in lab.scalar(database, "SELECT text FROM prompt")


async def test_limits_that_let_nothing_through_end_the_sweep_with_a_sentence(
    chat: Start, database: Database
) -> None:
    server = chat()
    _, endpoint = await probed(server)
    server.account._requests, server.account._window_s = 2, 9_000
    lab.fill(database, 3)
    sweep_id = lab.save(database, formats=["chat@1"], modes=["vanilla"], answers=2)
    outcome = await lab.run(database, sweep_id, endpoint)
    assert (outcome.state, outcome.failed) == ("failed", 0)
    assert "let nothing through for 150 min; resume later" in (outcome.error or "")
    server.account._requests = None
    assert (await lab.run(database, sweep_id, endpoint)).done == 6


@pytest.mark.parametrize("status", [402, 429])
async def test_a_credit_that_ends_stops_the_sweep_and_what_was_paid_is_stored(
    chat: Start, database: Database, status: int
) -> None:
    server = chat(out_of_credit=status)
    _, endpoint = await probed(server)
    server.account.tokens_left = 600
    server.latency_s = 0.01
    lab.fill(database, 10)
    sweep_id = lab.save(database, formats=["chat@1"], variants=1, answers=2)
    outcome = await lab.run(database, sweep_id, endpoint)
    assert (outcome.state, outcome.failed) == ("failed", 0)
    assert "credit" in (outcome.error or "")
    assert f"HTTP {status}" in (outcome.error or "")
    assert lab.scalar(database, "SELECT count(*) FROM generation WHERE ok") >= 4
    assert lab.scalar(database, "SELECT count(*) FROM generation WHERE NOT ok") == 0
    server.account.tokens_left = None
    resumed = await lab.run(database, sweep_id, endpoint)
    assert (resumed.state, resumed.done) == ("done", 30)
    lab.assert_every_slot_once(database, sweep_id, 30)


def test_what_a_status_means_for_those_who_pay() -> None:
    def of(status: int, body: bytes = b"", **headers: str) -> Exception:
        return http_error("http://x", "http://x/v1/chat/completions", status, headers, body)

    quota = b'{"error": {"message": "m", "code": "insufficient_quota"}}'
    assert isinstance(of(402), ServerGaveUp)
    assert isinstance(of(429, quota), ServerGaveUp)
    limited = of(429, b'{"error": {"code": "rate_limit_exceeded"}}', **{"Retry-After": "7"})
    assert isinstance(limited, Busy)
    assert (limited.is_rate_limit, limited.retry_after_s) == (True, 7)
    busy = of(503)
    assert isinstance(busy, Busy)
    assert not busy.is_rate_limit


def test_tokens_of_reasonings_count_where_only_the_total_has_them() -> None:
    told = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}
    usage = parse_usage({"usage": told})
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.tokens) == (10, 105, 115)
    assert parse_usage({"usage": {"prompt_tokens": 1}}) is None


async def test_a_server_for_messages_takes_no_part_beside_one_for_prompts(
    chat: Start, fake_server: FakeServer
) -> None:
    _, endpoint = await probed(chat())
    async with (
        CompletionClient(endpoint) as messages,
        CompletionClient(fake_server.endpoint) as prompts,
    ):
        both = [lab.served(messages), lab.served(prompts)]
        assert pooled(both).clients == (prompts,)
        assert pooled(both[:1]).clients == (messages,)
