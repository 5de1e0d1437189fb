"""How many sequences a server is given: its queue stays short, and nobody starves."""

import math
from collections.abc import AsyncIterator

import pytest

from serving.engine.client import CompletionClient, ServedModel
from serving.engine.limiter import (
    LASTING_LOOKS,
    MAX_INTERACTIVE,
    SHARE_BESIDE_INTERACTIVE,
    UNKNOWN_START,
    VISIBLE_START,
    Limiter,
)
from serving.engine.messages import Capabilities, Endpoint, EngineLoad
from tests.unit import sweep_lab as lab

SEATS = 64
IDLE = EngineLoad(running=SEATS, waiting=0, kv_cache_usage=0.5)


@pytest.fixture
async def model() -> AsyncIterator[ServedModel]:
    async with CompletionClient(Endpoint(url="http://127.0.0.1:9/v1")) as client:
        yield lab.served(client, max_num_seqs=SEATS)


def follow_full(limiter: Limiter, load: EngineLoad) -> float:
    """Let the limiter see ``load`` while all it allows is in the air; return the new target."""
    lane = limiter.open_lane()
    limiter.sent(lane, int(limiter.target) + 1)
    limiter.follow(load)
    limiter._lanes.discard(lane)
    return limiter.target


async def test_a_known_server_gets_its_batch_and_a_small_queue(model: ServedModel) -> None:
    assert SEATS < Limiter(model).target < 1.3 * SEATS


async def test_an_unknown_server_that_tells_its_queue_is_filled_within_few_looks(
    model: ServedModel,
) -> None:
    model = lab.served(model.client, max_num_seqs=None)
    limiter = Limiter(model)
    assert limiter.target == VISIBLE_START
    targets = [follow_full(limiter, IDLE) for _ in range(3)]
    assert targets == [2 * VISIBLE_START, 4 * VISIBLE_START, 8 * VISIBLE_START]
    queue = EngineLoad(running=512, waiting=500, kv_cache_usage=1)
    with_queue = [follow_full(limiter, queue) for _ in range(LASTING_LOOKS)][-1]
    assert with_queue < targets[-1]
    after = follow_full(limiter, EngineLoad(running=512, waiting=0, kv_cache_usage=1))
    assert with_queue < after < 1.2 * with_queue, "once a queue was seen, small steps"


async def test_a_burst_is_no_flood_but_a_standing_queue_is(model: ServedModel) -> None:
    limiter = Limiter(model)
    before = limiter.target
    burst = EngineLoad(running=8, waiting=200, kv_cache_usage=0.1)
    for _ in range(LASTING_LOOKS - 1):
        assert follow_full(limiter, burst) == before
    assert follow_full(limiter, burst) < before


async def test_a_server_that_tells_nothing_begins_low(model: ServedModel) -> None:
    silent = lab.served(model.client, max_num_seqs=None, capabilities=Capabilities(metrics=False))
    assert Limiter(silent).target == UNKNOWN_START


async def test_a_target_that_is_not_used_does_not_grow(model: ServedModel) -> None:
    limiter = Limiter(model)
    before = limiter.target
    limiter.follow(IDLE)
    assert limiter.target == before


async def test_waiting_lanes_share_and_an_interactive_one_never_waits(model: ServedModel) -> None:
    limiter = Limiter(model)
    first, second, person = (
        limiter.open_lane(),
        limiter.open_lane(),
        limiter.open_lane(interactive=True),
    )
    limiter.sent(first, int(limiter.target) + 1)
    assert limiter.room(second) <= 0
    second.is_waiting = True
    assert limiter.room(first) < 0, "the first gives way until both have half"
    assert limiter.room(person) == MAX_INTERACTIVE
    for lane in (first, second, person):
        await limiter.close_lane(lane)


async def test_while_a_person_waits_sweeps_keep_a_small_share(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.engine.limiter.INTERACTIVE_LINGER_S", 0.0)
    limiter = Limiter(model)
    taken_back: list[int] = []
    sweep = limiter.open_lane(preempt=taken_back.append)
    limiter.sent(sweep, SEATS)
    person = limiter.open_lane(interactive=True)
    assert limiter.limit == pytest.approx(limiter.target * SHARE_BESIDE_INTERACTIVE)
    assert taken_back == [SEATS - math.ceil(limiter.limit)]
    assert limiter.room(sweep) < 0 < limiter.room(person)
    await limiter.close_lane(person)
    assert limiter.limit == limiter.target
    await limiter.close_lane(sweep)


async def test_a_busy_server_is_given_half_as_much_at_most_once_a_second(
    model: ServedModel,
) -> None:
    limiter = Limiter(model)
    before = limiter.target
    limiter.back_off()
    limiter.back_off()
    assert limiter.target == before / 2
