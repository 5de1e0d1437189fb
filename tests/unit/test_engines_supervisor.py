"""The supervisor, with a tiny server in the place of vLLM: real processes, no model."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.settings import Settings
from serving.engine.client import CompletionClient
from serving.engine.command import HOME_VARIABLE, Command, ServerSpec, free_port
from serving.engine.memory import MemoryUse
from serving.engine.messages import EngineError, EngineUnavailable
from serving.engine.plan import ServingPlan
from serving.engine.plan_types import DoesNotFit
from serving.engine.server import (
    ServerRecord,
    read_record,
    write_record,
)
from serving.engine.supervisor import EngineState, EngineSupervisor, SupervisorPolicy

TINY_SERVER = Path(__file__).parents[1] / "fakes" / "tiny_server.py"
QUICK = SupervisorPolicy(
    check_every_s=0.05,
    health_timeout_s=0.5,
    misses=2,
    restarts=3,
    first_pause_s=0.01,
    stable_s=600,
    grace_s=5,
)
SPEC = ServerSpec(model=Path("/models/fake"), served_name="fake", context_length=4096)
OTHER = SPEC.model_copy(update={"context_length": 2048})


class Desk:
    """A home with supervisors over it; remembers what they told."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, server_start_timeout_s=5)
        self.home = self.settings.home_dir
        self.told: list[EngineState] = []
        self.starts = 0
        self.script = "exec {server}"

    def supervisor(self, policy: SupervisorPolicy = QUICK) -> EngineSupervisor:
        return EngineSupervisor(
            self.settings, self.told.append, policy=policy, make_command=self._command
        )

    def _command(self, spec: ServerSpec, settings: Settings) -> tuple[Command, int, str]:
        self.starts += 1
        port, key = free_port(), f"key-{self.starts}"
        server = f"{sys.executable} -I -S {TINY_SERVER} {port}"
        # the sleeping child stands for vLLM's EngineCore, which outlives a killed parent
        script = "sleep 1000 & " + self.script.format(server=server)
        env = {**os.environ, HOME_VARIABLE: str(settings.home_dir)}
        return Command(argv=("sh", "-c", script), env=env), port, key

    @property
    def record(self) -> ServerRecord:
        record = read_record(self.home)
        assert record is not None
        return record

    @property
    def states(self) -> list[str]:
        """States in order, repetitions left out."""
        kept: list[str] = []
        for told in self.told:
            if not kept or kept[-1] != told.state:
                kept.append(told.state)
        return kept


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.01)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "home")
    yield desk
    if record := read_record(desk.home):
        record.process.end(grace_s=0.1)


@pytest.fixture
async def watched(desk: Desk) -> AsyncIterator[EngineSupervisor]:
    """A supervisor with a ready server and its watch running."""
    supervisor = desk.supervisor()
    await supervisor.ensure(SPEC)
    watch = asyncio.create_task(supervisor.watch())
    yield supervisor
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await supervisor.stop()


async def test_a_server_is_started_probed_recorded_and_stopped(desk: Desk) -> None:
    supervisor = desk.supervisor()
    endpoint = await supervisor.ensure(SPEC)
    assert desk.states == ["starting", "ready"]
    assert endpoint.capabilities.n
    assert not endpoint.capabilities.metrics
    assert desk.told[-1].message == "vllm 0.0.1 serves fake."
    record = desk.record
    assert record.software == "vllm 0.0.1"
    async with CompletionClient(endpoint) as client:
        assert await client.health()
    assert await supervisor.ensure(SPEC) is endpoint
    assert desk.starts == 1
    await supervisor.stop()
    assert record.process.members() == []
    assert read_record(desk.home) is None
    assert desk.states[-1] == "stopped"
    with pytest.raises(EngineUnavailable, match="stopped"):
        await supervisor.ready()


async def test_the_next_owner_adopts_a_healthy_server(desk: Desk) -> None:
    first = desk.supervisor()
    left = await first.ensure(SPEC)
    first.detach()
    second = desk.supervisor()
    adopted = await second.ensure(SPEC)
    assert adopted == left
    assert desk.starts == 1
    record = desk.record
    await second.stop()
    assert record.process.members() == []


async def test_a_server_with_another_model_is_replaced(desk: Desk) -> None:
    first = desk.supervisor()
    await first.ensure(SPEC)
    old = desk.record
    first.detach()
    second = desk.supervisor()
    await second.ensure(OTHER)
    assert old.process.members() == []
    await second.ensure(SPEC)
    assert desk.starts == 3
    await second.stop()


async def test_what_a_killed_server_left_behind_is_ended_before_a_new_one_starts(
    desk: Desk,
) -> None:
    first = desk.supervisor()
    await first.ensure(SPEC)
    old = desk.record
    first.detach()
    os.kill(old.pid, signal.SIGKILL)
    await until(lambda: not old.process.is_alive())
    assert len(old.process.members()) == 1
    second = desk.supervisor()
    await second.ensure(SPEC)
    assert old.process.members() == []
    assert desk.record.pid != old.pid
    await second.stop()


async def test_an_adopted_server_that_hangs_is_replaced(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.engine.server._ADOPTED_ANSWERS_WITHIN_S", 0.3)
    monkeypatch.setattr("serving.engine.server._HEALTH_TIMEOUT_S", 0.2)
    first = desk.supervisor()
    await first.ensure(SPEC)
    old = desk.record
    first.detach()
    os.kill(old.pid, signal.SIGSTOP)
    second = desk.supervisor(SupervisorPolicy(grace_s=0.2))
    await second.ensure(SPEC)
    assert old.process.members() == []
    await second.stop()


async def test_a_crash_is_followed_by_a_restart(desk: Desk, watched: EngineSupervisor) -> None:
    old = desk.record
    os.kill(old.pid, signal.SIGKILL)
    await until(lambda: watched.endpoint is None)
    endpoint = await asyncio.wait_for(watched.ready(), 15)
    assert desk.states == ["starting", "ready", "unhealthy", "starting", "ready"]
    assert desk.record.pid != old.pid
    assert old.process.members() == []
    async with CompletionClient(endpoint) as client:
        assert await client.health()
    unhealthy = next(told for told in desk.told if told.state == "unhealthy")
    assert "killed from outside" in unhealthy.message
    assert "Restart 1 of 3 follows." in unhealthy.message


async def test_a_hang_is_noticed_and_cured(desk: Desk, watched: EngineSupervisor) -> None:
    old = desk.record
    watched._policy = SupervisorPolicy(
        check_every_s=0.05, health_timeout_s=0.2, misses=2, first_pause_s=0.01, grace_s=0.2
    )
    os.kill(old.pid, signal.SIGSTOP)
    await until(lambda: "unhealthy" in desk.states)
    await asyncio.wait_for(watched.ready(), 15)
    assert any("hangs: 2 health checks" in told.message for told in desk.told)
    assert old.process.members() == []


async def test_after_too_many_crashes_it_is_given_up_and_says_why(
    desk: Desk, watched: EngineSupervisor
) -> None:
    desk.script = "echo 'RuntimeError: CUDA out of memory'; exit 1; {server}"
    os.kill(desk.record.pid, signal.SIGKILL)
    await until(lambda: watched.state.state == "failed")
    assert "lower gpu_memory_utilization, max_num_seqs" in watched.state.message
    assert "given up after 3 restarts" in watched.state.message
    assert read_record(desk.home) is None
    with pytest.raises(EngineUnavailable, match="given up"):
        await watched.ready()
    desk.script = "exec {server}"
    assert await watched.ensure(SPEC) is watched.endpoint


async def test_a_start_that_fails_says_why_and_leaves_nothing(desk: Desk) -> None:
    desk.script = "echo 'ValueError: the model is made of cheese'; exit 4; {server}"
    supervisor = desk.supervisor()
    with pytest.raises(EngineError, match="exit code 4: the model is made of cheese"):
        await supervisor.ensure(SPEC)
    assert desk.states == ["starting", "failed"]
    assert read_record(desk.home) is None


async def test_a_start_without_a_sign_of_life_is_ended(desk: Desk) -> None:
    desk.settings = desk.settings.model_copy(update={"server_start_timeout_s": 0.4})
    desk.script = "exec sleep 1000; {server}"
    supervisor = desk.supervisor()
    starting = asyncio.create_task(supervisor.ensure(SPEC))
    await until(lambda: read_record(desk.home) is not None)
    record = desk.record
    with pytest.raises(EngineError, match="no sign of life"):
        await starting
    assert record.process.members() == []


async def test_loading_progress_is_told(desk: Desk) -> None:
    line = "Loading safetensors checkpoint shards:  50% Completed | 3/6 [00:04<00:04,  1.4s/it]"
    desk.script = f"echo '{line}'; sleep 0.6; exec {{server}}"
    supervisor = desk.supervisor()
    await supervisor.ensure(SPEC)
    told = [(state.progress, state.message) for state in desk.told if state.state == "starting"]
    assert (0.48, "Loading the weights: 50 %.") in told
    await supervisor.stop()


async def test_stop_interrupts_a_start(desk: Desk) -> None:
    desk.script = "exec sleep 1000; {server}"
    supervisor = desk.supervisor()
    starting: asyncio.Task[Any] = asyncio.create_task(supervisor.ensure(SPEC))
    await until(lambda: read_record(desk.home) is not None)
    record = desk.record
    await supervisor.stop()
    with pytest.raises(EngineUnavailable, match="stopped while it was starting"):
        await starting
    assert record.process.members() == []
    assert supervisor.state.state == "stopped"


async def test_an_owner_that_died_amid_a_start_hands_it_on(desk: Desk) -> None:
    desk.script = "sleep 1; exec {server}"
    first = desk.supervisor()
    starting = asyncio.create_task(first.ensure(SPEC))
    await until(lambda: read_record(desk.home) is not None)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    first.detach()
    second = desk.supervisor()
    await second.ensure(SPEC)
    assert desk.starts == 1
    await second.stop()


async def test_a_record_of_a_server_long_gone_is_no_obstacle(desk: Desk) -> None:
    supervisor = desk.supervisor()
    await supervisor.ensure(SPEC)
    gone = desk.record
    await supervisor.stop()
    write_record(desk.home, gone)
    await supervisor.ensure(SPEC)
    assert desk.record.pid != gone.pid
    await supervisor.stop()


def test_the_pause_before_restarts_doubles_up_to_its_limit() -> None:
    policy = SupervisorPolicy(first_pause_s=1, max_pause_s=5)
    assert [policy.pause_s(n) for n in (1, 2, 3, 4)] == [1, 2, 4, 5]


async def test_a_server_without_enough_memory_is_started_again_with_less(desk: Desk) -> None:
    memory = MemoryUse(weights_gib=13, working_gib=1, cache_gib=6, cache_tokens=30_000)
    plan = ServingPlan(max_model_len=4096, max_num_seqs=96, memory=memory, why="Chosen.")
    enough = desk.home / "enough"
    desk.script = (
        f"if ! test -e {enough}; then touch {enough}; echo 'CUDA out of memory'; exit 1; fi; "
    )
    desk.script += "exec {server}"
    supervisor = desk.supervisor()
    await supervisor.ensure(SPEC.model_copy(update={"plan": plan, "device": "cuda"}))
    assert desk.starts == 2
    assert supervisor.plan.max_num_seqs == 48
    assert supervisor.plan.gpu_memory_utilization == 0.87
    assert supervisor.plan.why.startswith("Chosen. Lowered after a start that ran out of memory")
    assert any("started again with less" in told.message for told in desk.told)
    await supervisor.stop()


async def test_a_model_that_fits_in_no_way_is_refused_before_anything_loads(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = desk.supervisor()
    await supervisor.ensure(OTHER)

    def refuse(*_: object, **__: object) -> ServingPlan:
        raise DoesNotFit("It does not fit {gpus}.", gpus="1 x T4")

    monkeypatch.setattr("serving.engine.command.make_plan", refuse)
    with pytest.raises(EngineUnavailable, match="It does not fit 1 x T4"):
        await supervisor.ensure(SPEC)
    assert (desk.starts, supervisor.state.state) == (1, "ready"), "what runs is left alone"
    await supervisor.stop()
    with pytest.raises(EngineUnavailable, match="It does not fit 1 x T4"):
        await supervisor.ensure(SPEC)
    assert (desk.starts, supervisor.state.state) == (1, "failed")
