"""How many sequences a server is given: its queue stays short, and nobody starves."""

import math
from collections.abc import AsyncIterator

import pytest

from serving.engine.client import CompletionClient
from serving.engine.limiter import (
    GUEST_SHARE,
    INTERACTIVE_MOST,
    STANDING_LOOKS,
    UNKNOWN_START,
    VISIBLE_START,
    Flow,
)
from serving.engine.messages import Capabilities, Endpoint, EngineLoad
from serving.engine.served import ServedModel
from tests.unit import sweep_lab as lab

SEATS = 64
IDLE = EngineLoad(running=SEATS, waiting=0, kv_cache_usage=0.5)


@pytest.fixture
async def model() -> AsyncIterator[ServedModel]:
    async with CompletionClient(Endpoint(url="http://127.0.0.1:9/v1")) as client:
        yield lab.served(client, max_num_seqs=SEATS)


def follow_full(flow: Flow, load: EngineLoad) -> float:
    """Let the flow see ``load`` while all it allows is in the air; return the new target."""
    lane = flow.open_lane()
    flow.sent(lane, int(flow.target) + 1)
    flow.follow(load)
    flow._lanes.discard(lane)
    return flow.target


async def test_a_known_server_gets_its_batch_and_a_small_queue(model: ServedModel) -> None:
    assert SEATS < Flow(model).target < 1.3 * SEATS


async def test_an_unknown_server_that_tells_its_queue_is_filled_within_few_looks(
    model: ServedModel,
) -> None:
    model = lab.served(model.client, max_num_seqs=None)
    flow = Flow(model)
    assert flow.target == VISIBLE_START
    targets = [follow_full(flow, IDLE) for _ in range(3)]
    assert targets == [2 * VISIBLE_START, 4 * VISIBLE_START, 8 * VISIBLE_START]
    queue = EngineLoad(running=512, waiting=500, kv_cache_usage=1)
    with_queue = [follow_full(flow, queue) for _ in range(STANDING_LOOKS)][-1]
    assert with_queue < targets[-1]
    after = follow_full(flow, EngineLoad(running=512, waiting=0, kv_cache_usage=1))
    assert with_queue < after < 1.2 * with_queue, "once a queue was seen, small steps"


async def test_a_burst_is_no_flood_but_a_standing_queue_is(model: ServedModel) -> None:
    flow = Flow(model)
    before = flow.target
    burst = EngineLoad(running=8, waiting=200, kv_cache_usage=0.1)
    for _ in range(STANDING_LOOKS - 1):
        assert follow_full(flow, burst) == before
    assert follow_full(flow, burst) < before


async def test_a_server_that_tells_nothing_begins_low(model: ServedModel) -> None:
    silent = lab.served(model.client, max_num_seqs=None, capabilities=Capabilities(metrics=False))
    assert Flow(silent).target == UNKNOWN_START


async def test_a_target_that_is_not_used_does_not_grow(model: ServedModel) -> None:
    flow = Flow(model)
    before = flow.target
    flow.follow(IDLE)
    assert flow.target == before


async def test_waiting_lanes_share_and_an_interactive_one_never_waits(model: ServedModel) -> None:
    flow = Flow(model)
    first, second, person = flow.open_lane(), flow.open_lane(), flow.open_lane(interactive=True)
    flow.sent(first, int(flow.target) + 1)
    assert flow.room(second) <= 0
    second.is_hungry = True
    assert flow.room(first) < 0, "the first gives way until both have half"
    assert flow.room(person) == INTERACTIVE_MOST
    for lane in (first, second, person):
        await flow.close_lane(lane)


async def test_while_a_person_waits_sweeps_keep_a_small_share(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.engine.limiter.GUEST_LINGER_S", 0.0)
    flow = Flow(model)
    taken_back: list[int] = []
    sweep = flow.open_lane(shed=taken_back.append)
    flow.sent(sweep, SEATS)
    person = flow.open_lane(interactive=True)
    assert flow.limit == pytest.approx(flow.target * GUEST_SHARE)
    assert taken_back == [SEATS - math.ceil(flow.limit)]
    assert flow.room(sweep) < 0 < flow.room(person)
    await flow.close_lane(person)
    assert flow.limit == flow.target
    await flow.close_lane(sweep)


async def test_a_busy_server_is_given_half_as_much_at_most_once_a_second(
    model: ServedModel,
) -> None:
    flow = Flow(model)
    before = flow.target
    flow.back_off()
    flow.back_off()
    assert flow.target == before / 2
