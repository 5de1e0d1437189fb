"""Sweeps over servers of any make: what they refuse, how their texts end, why slots failed."""

import pytest

from db.database import Database
from db.engines import save_offer
from db.errors import UsageError
from db.sweeps import failure_reasons, get_sweep, group_reasons
from serving.engine.messages import Capabilities
from serving.sweeps.plan import plan_sweep
from serving.sweeps.run import SweepOutcome
from serving.sweeps.spec import parse_spec
from tests.fakes.behaviours import Behaviour
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab

FLAGS = (
    "SELECT name, detail FROM check_flag WHERE name NOT IN ('boilerplate', 'form', 'answer_leak')"
)
VARIED = [{"max_tokens": 32}, {"max_tokens": 32, "top_k": 40}]


def offer(database: Database, **capabilities: object) -> None:
    """Let the server of the lab offer the model, with what its probe found."""
    with database.write() as session:
        save_offer(session, 1, {"fake": 1}, software=None, capabilities=capabilities)


def planned(database: Database, **spec: object) -> tuple[str, ...]:
    registry = lab.registry_of(database)
    parsed = parse_spec({"name": "lab", "formats": ["tagged@1"], "models": ["fake"], **spec})
    with database.read() as session:
        return plan_sweep(session, parsed, registry).warnings


def test_a_level_that_the_server_refuses_is_named_by_the_plan(database: Database) -> None:
    lab.fill(database, 1)
    offer(database, refused_fields=["top_k", "min_p"])
    assert planned(database) == (
        "The server lab of fake refuses top_k, min_p: it is not sent there and cannot be varied.",
    )
    with pytest.raises(UsageError) as caught:
        planned(database, answer_sampling=VARIED)
    assert str(caught.value) == (
        "answer_sampling, level 2: top_k 40 cannot be set, since the server lab of fake refuses"
        " top_k. Leave it out, or name a model of another server."
    )


def test_seeds_that_the_server_does_not_honour_are_refused_by_the_plan(database: Database) -> None:
    lab.fill(database, 1)
    offer(database, seed=False)
    assert planned(database) == ()
    with pytest.raises(UsageError, match="seed: the server lab of fake does not honour seeds"):
        planned(database, seed=3)


async def test_a_server_that_turns_out_to_refuse_a_level_stops_the_sweep(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database, modes=["vanilla"], answer_sampling=VARIED)
    can = Capabilities(refused_fields=("top_k",))
    async with lab.fixed_engines(fake_server.endpoint, capabilities=can) as engines:
        outcome = await lab.run_sweep(database, sweep_id, engines)
    assert outcome.state == "failed"
    assert "answer_sampling, level 2: top_k 40" in (outcome.error or "")
    assert fake_server.count == 0


async def one_answer(
    database: Database, server: FakeServer, *behaviours: Behaviour
) -> SweepOutcome:
    lab.fill(database, 1)
    server.script(*behaviours)
    sweep_id = lab.save(database, modes=["vanilla"], answers=1)
    return await lab.run(database, sweep_id, server.endpoint)


@pytest.mark.parametrize(
    ("behaviour", "flag"),
    [
        ("filtered", ("content_filter", "ended by a content filter of the server")),
        ("tool_calls", ("unusual_end", "the server ended it: tool_calls")),
        ("no_finish", ("unusual_end", "the server did not say why the text ended")),
    ],
)
async def test_an_unusual_end_is_a_finding(
    database: Database, fake_server: FakeServer, behaviour: Behaviour, flag: tuple[str, str]
) -> None:
    outcome = await one_answer(database, fake_server, behaviour)
    assert outcome.done == 1
    assert lab.rows(database, FLAGS) == [flag]


async def test_a_cut_prompt_is_a_finding_on_its_text_alone(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 2)
    with database.write() as session:
        session.execute(
            lab.text("UPDATE question SET context = :long WHERE id = 2"), {"long": "a " * 900}
        )
    fake_server.reads_at_most = 300
    sweep_id = lab.save(database, modes=["vanilla"], answers=1)
    outcome = await lab.run(database, sweep_id, fake_server.endpoint)
    assert outcome.done == 2
    flags = lab.rows(
        database,
        "SELECT a.question_id, f.name, f.detail FROM check_flag f"
        " JOIN answer a ON a.id = f.answer_id WHERE f.name = 'prompt_cut'",
    )
    assert [(question, name) for question, name, _ in flags] == [(2, "prompt_cut")]
    assert flags[0][2].startswith("the server read 300 tokens of a prompt of at least ")


async def test_an_unknown_length_is_no_length_of_zero(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.default = "no_usage"
    outcome = await one_answer(database, fake_server)
    assert (outcome.done, outcome.completion_tokens, outcome.tokens_per_second) == (1, None, None)
    assert lab.rows(database, "SELECT prompt_tokens, completion_tokens FROM generation") == [
        (None, None)
    ]
    with database.read() as session:
        assert get_sweep(session, outcome.sweep_id).completion_tokens is None


async def test_a_reasoning_in_a_field_of_its_own_is_not_left_in_the_answer(
    database: Database, fake_server: FakeServer
) -> None:
    outcome = await one_answer(database, fake_server, "thinks")
    assert outcome.done == 1
    answer = lab.scalar(database, "SELECT text FROM answer")
    kept = lab.scalar(database, "SELECT text FROM generation")
    assert "think" not in answer
    assert kept == f"<think>\nYou should think.\n</think>\n\n{answer}"


async def test_failed_slots_are_counted_by_their_reason(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 4)
    fake_server.default = "refused_400"
    fake_server.script("error_500", "error_500", "garbage", "garbage")
    sweep_id = lab.save(database, modes=["vanilla"], answers=1)
    outcome = await lab.run(database, sweep_id, fake_server.endpoint, timeout_s=5.0)
    assert (outcome.done, outcome.failed) == (0, 4)
    with database.read() as session:
        reasons = failure_reasons(session, sweep_id)
    assert sum(reason.n for reason in reasons) == 4
    assert any("HTTP 400: this request is not to my liking" in reason.error for reason in reasons)
    assert all("Tried" not in reason.error for reason in reasons)
    fake_server.default = "ok"
    await lab.run(database, sweep_id, fake_server.endpoint, retry_failed=True)
    with database.read() as session:
        assert failure_reasons(session, sweep_id) == ()


async def test_the_last_attempt_tells_why_a_slot_failed(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.default = "refused_400"
    outcome = await one_answer(database, fake_server)
    fake_server.default = "garbage"
    await lab.run(database, outcome.sweep_id, fake_server.endpoint, retry_failed=True)
    with database.read() as session:
        (reason,) = failure_reasons(session, outcome.sweep_id)
    assert (reason.n, "no JSON object" in reason.error) == (1, True)


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    told = [
        ("No answer in 5.0 s. Tried 2 times.", 2),
        ("No answer in 5.1 s.", 3),
        ("Refused (HTTP 400: too long by 12).", 1),
        ("Refused (HTTP 404: too long by 13).", 1),
        (None, 1),
    ]
    assert list(map(str, group_reasons(told))) == [
        "5 × No answer in 5.0 s.",
        "1 × Refused (HTTP 400: too long by 12).",
        "1 × Refused (HTTP 404: too long by 13).",
        "1 × no reason is on record",
    ]
