"""Budgets of sweeps: never gone beyond, nothing in the air lost, and raised to go on."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from db.database import Database
from db.engines import save_offer
from db.errors import UsageError
from db.sweeps import get_sweep, set_budget, spec_hash
from serving.engine.messages import Capabilities, Endpoint, Price, Usage
from serving.sweeps.run import SweepOutcome, run_sweep
from serving.sweeps.spec import SweepSpec
from tests.fakes.engines import FixedEngines
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab as lab

PRICE = Price(2.0, 10.0)
SHORT = {"answer_sampling": [{"max_tokens": 24}], "reasoning_sampling": [{"max_tokens": 24}]}


async def run(
    database: Database, sweep_id: int, endpoint: Endpoint, price: Price | None = PRICE
) -> SweepOutcome:
    async with lab.fixed_engines(endpoint) as engines:
        model = (await engines.serve(frozenset({1})))[1]
        priced = FixedEngines([replace(model, price=price)])
        return await asyncio.wait_for(run_sweep(database, sweep_id, priced), 60)


def told(server: FakeServer) -> Usage:
    """Return what a sweep that asked ``server`` for everything has to have counted."""
    return Usage(server.read_tokens, server.written_tokens)


@pytest.mark.parametrize("by_lists", [True, False])
async def test_tokens_stay_below_the_budget_and_a_larger_one_goes_on(
    database: Database, fake_server: FakeServer, by_lists: bool
) -> None:
    fake_server.latency_s = 0.01
    endpoint = replace(
        fake_server.endpoint, capabilities=Capabilities(prompt_list=by_lists, n=by_lists)
    )
    lab.fill(database, 12)
    sweep_id = lab.save(database, variants=2, answers=1, max_tokens=2_000, **SHORT)
    outcome = await run(database, sweep_id, endpoint)
    assert (outcome.state, outcome.failed) == ("cancelled", 0)
    assert "The budget of 2,000 tokens is used" in (outcome.error or "")
    with database.read() as session:
        sweep = get_sweep(session, sweep_id)
    assert sweep.error == outcome.error
    assert 1_500 < sweep.spent_tokens == told(fake_server).tokens <= 2_000
    assert sweep.spent_cost == pytest.approx(PRICE.cost(told(fake_server)))
    assert 0 < outcome.done < outcome.cells
    assert fake_server.cancelled == 0

    with database.write() as session:
        set_budget(session, sweep_id, max_tokens=200_000, max_cost=None)
    resumed = await run(database, sweep_id, endpoint)
    assert (resumed.state, resumed.done, resumed.error) == ("done", resumed.cells, None)
    lab.assert_every_slot_once(database, sweep_id, resumed.cells)
    with database.read() as session:
        assert get_sweep(session, sweep_id).spent_tokens == told(fake_server).tokens


async def test_money_stays_below_the_budget_with_several_completions_a_prompt(
    database: Database, fake_server: FakeServer
) -> None:
    endpoint = Endpoint(url=fake_server.url, capabilities=Capabilities(return_token_ids=False))
    lab.fill(database, 8)
    sweep_id = lab.save(database, variants=4, answers=2, max_cost=0.02, **SHORT)
    outcome = await run(database, sweep_id, endpoint)
    assert outcome.state == "cancelled"
    assert "The budget of 0.02 USD is used" in (outcome.error or "")
    with database.read() as session:
        spent = get_sweep(session, sweep_id).spent_cost
    assert spent == pytest.approx(PRICE.cost(told(fake_server)))
    assert 0.012 < spent <= 0.02


async def test_texts_without_usage_count_by_their_length(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.default = "no_usage"
    lab.fill(database, 4)
    sweep_id = lab.save(database, modes=["vanilla"], answers=1, max_tokens=100_000)
    assert (await run(database, sweep_id, fake_server.endpoint)).state == "done"
    with database.read() as session:
        about = get_sweep(session, sweep_id).spent_tokens
    assert about > told(fake_server).tokens / 2


async def test_what_another_sweep_wrote_costs_nothing(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 3)
    for max_tokens in (100_000, 1):
        sweep_id = lab.save(database, modes=["vanilla"], answers=1, max_tokens=max_tokens)
        outcome = await run(database, sweep_id, fake_server.endpoint)
        assert (outcome.state, outcome.done) == ("done", 3)
    with database.read() as session:
        assert get_sweep(session, sweep_id).spent_tokens == 0


async def test_a_budget_of_money_needs_prices(database: Database, fake_server: FakeServer) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database, max_cost=1)
    outcome = await run(database, sweep_id, fake_server.endpoint, price=None)
    assert (outcome.state, outcome.done, outcome.failed) == ("failed", 0, 0)
    assert "price of fake on its server is not known" in (outcome.error or "")
    with database.write() as session:
        save_offer(session, 1, {"fake": 1}, software=None, capabilities={})
    with pytest.raises(UsageError, match="max_cost: the price of fake on the server lab is not"):
        lab.save(database, models=["fake"], max_cost=1)


def test_a_budget_is_no_part_of_what_a_sweep_is_found_again_by() -> None:
    def hashed(**spec: Any) -> str:
        return spec_hash(SweepSpec(name="x", **spec).model_dump(mode="json"))

    assert hashed() == hashed(max_cost=3) == hashed(max_tokens=10**9)
    assert "max_cost" not in SweepSpec(name="x").model_dump()
    for wrong in ({"max_cost": 0}, {"max_tokens": 0}, {"max_cost": "ten"}):
        with pytest.raises(ValidationError):
            SweepSpec(name="x", **wrong)  # type: ignore[arg-type]
