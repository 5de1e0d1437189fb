"""A real vLLM server as a child: how it starts, dies, comes back and ends."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file

from db.child_process import start_time
from db.settings import Settings
from serving.engine.client import CompletionClient
from serving.engine.command import Adapter
from serving.engine.messages import CompletionRequest, Endpoint, RequestRefused, SamplingParameters
from serving.engine.server import (
    ServerRecord,
    read_record,
)
from serving.engine.supervisor import EngineState, EngineSupervisor, SupervisorPolicy
from tests.engine_fixture import VllmServer, embedded_spec

pytestmark = pytest.mark.engine

START_S = 600.0
IDS = [504, 3575, 282, 4649, 314]
GREEDY = SamplingParameters(temperature=0, max_tokens=12)


async def ask(endpoint: Endpoint, model: str) -> str:
    async with CompletionClient(endpoint, timeout_s=120) as client:
        request = CompletionRequest(model=model, prompts=[IDS], sampling=GREEDY)
        return (await client.complete(request)).choices[0].text


async def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.05)


def record_in(home: Path) -> ServerRecord:
    record = read_record(home)
    assert record is not None
    return record


def make_adapter(folder: Path, base: Path, rank: int = 4, module: str = "q_proj") -> Path:
    """Write a LoRA of random values over every query projection of ``base``, or what is so called.

    vLLM knows no module that is called otherwise than in its own build of the model.
    """
    config = json.loads((base / "config.json").read_text())
    width = config["hidden_size"]
    drawn = np.random.default_rng(7)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
        tensors[f"{name}.lora_A.weight"] = drawn.normal(size=(rank, width)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = drawn.normal(size=(width, rank)).astype(np.float32)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank}
    told |= {"target_modules": ["q_proj"], "bias": "none", "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


def test_loading_was_told_step_by_step(vllm_server: VllmServer) -> None:
    loading = [told for told in vllm_server.told if told.state == "starting"]
    shares = [told.progress or 0 for told in loading]
    assert len(shares) >= 6
    assert shares == sorted(shares)
    assert "Loading the weights." in {told.message for told in loading}
    ready = vllm_server.told[-1]
    assert ready.state == "ready"
    assert ready.message.startswith("vllm 0.")
    assert ready.probe is not None
    assert ready.probe.reasons == {}


async def test_only_who_has_the_key_is_served(vllm_server: VllmServer) -> None:
    stranger = Endpoint(url=vllm_server.endpoint.url)
    with pytest.raises(RequestRefused, match="does not accept the key"):
        await ask(stranger, vllm_server.model)


def test_the_key_shows_nowhere_but_in_the_private_record(vllm_server: VllmServer) -> None:
    record = record_in(vllm_server.home)
    assert (vllm_server.home / "server.json").stat().st_mode & 0o777 == 0o600
    for pid in record.process.members():
        assert record.api_key not in " ".join(psutil.Process(pid).cmdline())
    assert record.api_key not in record.log.read_text()


def test_the_server_listens_on_this_machine_only(vllm_server: VllmServer) -> None:
    record = record_in(vllm_server.home)
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(record.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == record.port
    ]
    assert listening == ["127.0.0.1"]


@pytest.fixture
def own_settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings of a home of its own; whatever server is left there is ended."""
    settings = Settings(home=tmp_path / "own", kv_cache_gib=1, max_model_len=512, max_num_seqs=4)
    yield settings
    if record := read_record(settings.home_dir):
        record.process.end(grace_s=1)


async def test_a_killed_server_comes_back_with_its_adapter_and_leaves_nothing_behind(
    own_settings: Settings, tmp_path: Path
) -> None:
    base = embedded_spec()
    adapter = Adapter(name="loud", path=make_adapter(tmp_path / "loud", base.model), rank=4)
    strange = make_adapter(tmp_path / "strange", base.model, module="other_proj")
    adapters = (Adapter(name="strange", path=strange, rank=4), adapter)
    spec = base.model_copy(update={"adapters": adapters})
    told: list[EngineState] = []
    policy = SupervisorPolicy(check_every_s=0.5, first_pause_s=0.1)
    supervisor = EngineSupervisor(own_settings, told.append, policy=policy)
    endpoint = await supervisor.ensure(spec)
    assert list(supervisor.state.left_out) == ["strange"], "one that is refused ends nothing"
    assert "other_proj" in supervisor.state.left_out["strange"]
    plain, loud = await ask(endpoint, spec.served_name), await ask(endpoint, "loud")
    assert plain != loud
    names = (spec.served_name, "loud") * 6
    mixed = await asyncio.gather(*(ask(endpoint, name) for name in names))
    assert loud not in mixed[::2]  # in one batch with its adapter, a base still writes as a base
    assert plain not in mixed[1::2]
    first = record_in(own_settings.home_dir)
    assert len(first.process.members()) >= 3  # server, engine, worker

    watch = asyncio.create_task(supervisor.watch())
    os.kill(first.pid, signal.SIGKILL)
    await until(lambda: supervisor.endpoint is None, 30)
    again = await asyncio.wait_for(supervisor.ready(), START_S)
    second = record_in(own_settings.home_dir)
    assert first.process.members() == []
    assert second.pid != first.pid
    assert again.api_key != endpoint.api_key
    assert await ask(again, spec.served_name) == plain
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)

    supervisor.detach()
    os.kill(second.pid, signal.SIGKILL)
    await until(lambda: not second.process.is_alive(), 10)
    orphans = second.process.members()
    assert orphans  # vLLM's own children outlive it
    await EngineSupervisor(own_settings, told.append).stop()
    assert second.process.members() == []
    assert all(start_time(pid) is None for pid in orphans)
    assert read_record(own_settings.home_dir) is None
