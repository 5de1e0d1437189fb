"""The vLLM command line, what its log tells, and the record of a running server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from db.child_process import QUIET, start_time
from db.settings import Settings
from serving.engine.command import (
    HOME_VARIABLE,
    KEPT_LOGS,
    Adapter,
    Command,
    ServerSpec,
    command,
    fingerprint,
    free_port,
    is_free,
    new_command,
    new_log,
)
from serving.engine.messages import EngineUnavailable
from serving.engine.plan import ServingPlan
from serving.engine.server import (
    ServerRecord,
    end_strays,
    read_record,
    write_record,
)
from serving.engine.server import start as start_server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def spec(**changes: Any) -> ServerSpec:
    wanted: dict[str, Any] = {
        "model": Path("/models/small"),
        "served_name": "small",
        "context_length": 8192,
        **changes,
    }
    return ServerSpec(**wanted)


def made(server: ServerSpec, settings: Settings, **changes: Any) -> Command:
    given: dict[str, Any] = {"port": 1234, "api_key": "k3y", "environ": {"PATH": "/bin"}, **changes}
    return command(server, settings, **given)


def value(argv: tuple[str, ...], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_the_server_listens_locally_and_its_key_is_not_on_the_command_line(
    settings: Settings,
) -> None:
    start = made(spec(), settings)
    assert value(start.argv, "--host") == "127.0.0.1"
    assert "k3y" not in " ".join(start.argv)
    assert start.env["VLLM_API_KEY"] == "k3y"
    assert "k3y" not in repr(start)


def test_sampling_defaults_priorities_and_prefixes_are_set_as_sweeps_need_them(
    settings: Settings,
) -> None:
    argv = made(spec(), settings).argv
    assert value(argv, "--generation-config") == "vllm"
    assert value(argv, "--scheduling-policy") == "priority"
    assert "--enable-prefix-caching" in argv
    assert "--trust-remote-code" not in argv


def test_nothing_is_sent_home(settings: Settings) -> None:
    env = {**QUIET, **made(spec(), settings).env}
    for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_OFFLINE"):
        assert env[name] == "1"


def test_on_cpu_the_server_is_small_and_starts_fast(settings: Settings) -> None:
    start = made(spec(), settings)
    assert value(start.argv, "--max-model-len") == "4096"
    assert value(start.argv, "--max-num-seqs") == "64"
    assert "--enforce-eager" in start.argv
    assert "--no-enable-chunked-prefill" in start.argv
    assert int(value(start.argv, "--max-num-batched-tokens")) >= 4096
    assert start.env["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert "LD_PRELOAD" not in start.env


def test_on_a_gpu_the_plan_reaches_the_command_line(settings: Settings) -> None:
    plan = ServingPlan(
        dtype="float16", gpus=(1, 3), data_parallel=2, max_model_len=4096, max_num_seqs=768,
        max_num_batched_tokens=8192,
    )  # fmt: skip
    start = made(spec(device="cuda", plan=plan), settings)
    assert value(start.argv, "--dtype") == "float16"
    assert value(start.argv, "--max-num-batched-tokens") == "8192"
    # every batch size that the plan reaches has a CUDA graph, not only those up to 512
    assert value(start.argv, "--max-cudagraph-capture-size") == "768"
    assert start.env["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert start.env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert start.env["VLLM_USE_FLASHINFER_SAMPLER"] == "0", "it is not installed here"
    assert not [argument for argument in start.argv if "async-scheduling" in argument]


def test_what_may_gain_speed_can_be_set(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, max_cudagraph_capture_size=64, async_scheduling=False,
        flashinfer_sampler=True,
    )  # fmt: skip
    start = made(spec(device="cuda"), settings)
    assert value(start.argv, "--max-cudagraph-capture-size") == "64"
    assert "--no-async-scheduling" in start.argv
    assert start.env["VLLM_USE_FLASHINFER_SAMPLER"] == "1"


def test_on_cuda_the_model_keeps_its_context_and_may_compile(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, gpu_memory_utilization=0.8)
    start = made(spec(device="cuda"), settings)
    assert value(start.argv, "--max-model-len") == "8192"
    assert value(start.argv, "--gpu-memory-utilization") == "0.8"
    assert "--enforce-eager" not in start.argv
    assert "VLLM_CPU_KVCACHE_SPACE" not in start.env


def test_settings_limit_the_server_but_never_past_the_model(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, max_model_len=6000, max_num_seqs=7, vllm_args=("--swap-space", "0")
    )
    argv = made(spec(), settings).argv
    assert value(argv, "--max-model-len") == "6000"
    assert value(argv, "--max-num-seqs") == "7"
    assert argv[-2:] == ("--swap-space", "0")
    assert value(made(spec(context_length=2048), settings).argv, "--max-model-len") == "2048"


def test_parallelism_and_precision_reach_the_command_line(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, data_parallel_size=2, tensor_parallel_size=4, precision="nf4"
    )
    argv = made(spec(device="cuda"), settings).argv
    assert value(argv, "--tensor-parallel-size") == "4"
    assert value(argv, "--data-parallel-size") == "2"
    assert value(argv, "--quantization") == "bitsandbytes"
    assert "--pipeline-parallel-size" not in argv
    asked = made(spec(device="cuda", precision="fp8"), settings).argv
    assert value(asked, "--quantization") == "fp8"
    asked = made(spec(device="cpu", precision="fp8"), settings).argv
    assert value(asked, "--quantization") == "fp8_per_channel"


def test_a_server_is_known_again_whatever_its_plan(settings: Settings) -> None:
    planned = spec().planned(settings)
    assert planned.plan is not None
    assert fingerprint(planned, settings) == fingerprint(spec(), settings)
    assert fingerprint(spec(precision="fp8"), settings) != fingerprint(spec(), settings)


def test_adapters_are_served_beside_their_base(settings: Settings) -> None:
    adapters = (
        Adapter(name="round1", path=Path("/runs/1"), rank=4),
        Adapter(name="round2", path=Path("/runs/2"), rank=24),
    )
    argv = made(spec(adapters=adapters), settings).argv
    assert value(argv, "--max-lora-rank") == "32"
    assert value(argv, "--max-loras") == "3"  # one slot more than adapters: the last stays empty
    on_gpu = made(spec(adapters=adapters, device="cuda"), settings).argv
    assert value(on_gpu, "--max-loras") == "2"
    assert "--lora-modules" not in argv, "one that is refused would end the whole server"
    environment = made(spec(adapters=adapters), settings).env
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert "--enable-lora" not in made(spec(), settings).argv


def test_two_served_models_cannot_share_a_name() -> None:
    with pytest.raises(ValidationError, match="share a name"):
        spec(adapters=(Adapter(name="small", path=Path("/runs/1"), rank=8),))


def test_openmp_is_preloaded_unless_one_is(settings: Settings) -> None:
    library = Path("/lib/libiomp5.so")
    environ = {"LD_PRELOAD": "/x/libjemalloc.so"}
    env = made(spec(), settings, environ=environ, openmp=library).env
    assert env["LD_PRELOAD"] == "/lib/libiomp5.so:/x/libjemalloc.so"
    environ = {"LD_PRELOAD": "/x/libgomp.so"}
    assert "LD_PRELOAD" not in made(spec(), settings, environ=environ, openmp=library).env


def test_the_fingerprint_changes_with_all_that_shapes_the_server(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    wanted = fingerprint(spec(), settings)
    assert wanted == fingerprint(spec(), Settings(home=tmp_path, server_port=9))
    assert wanted != fingerprint(spec(served_name="other"), settings)
    assert wanted != fingerprint(spec(), Settings(home=tmp_path, kv_cache_gib=3))
    for change in ({"max_model_len": 512}, {"precision": "fp8"}, {"vllm_args": ("--x",)}):
        assert wanted != fingerprint(spec(), Settings(home=tmp_path, **change))


def test_every_start_has_a_key_of_its_own_and_a_taken_port_is_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    keys = {new_command(spec(), settings)[2] for _ in range(3)}
    assert len(keys) == 3
    assert min(map(len, keys)) > 30
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not is_free(port)
        with pytest.raises(EngineUnavailable, match=f"Port {port} .* is taken"):
            new_command(spec(), Settings(home=tmp_path, server_port=port))


def test_only_the_last_logs_are_kept(tmp_path: Path) -> None:
    logs = []
    for _ in range(KEPT_LOGS + 3):
        logs.append(new_log(tmp_path))
        logs[-1].parent.mkdir(exist_ok=True)
        logs[-1].touch()
    assert sorted((tmp_path / "logs").iterdir()) == logs[-KEPT_LOGS:]


# --- the record and the process group ---


def spawn(*argv: str, home: Path | None = None) -> subprocess.Popen[bytes]:
    env = dict(os.environ) if home is None else {**os.environ, HOME_VARIABLE: str(home)}
    return subprocess.Popen(argv, env=env, start_new_session=True)


Start = Callable[..., tuple[subprocess.Popen[bytes], ServerRecord]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a leader with a child that, like vLLM's, outlives it."""
    children = []

    def start_group(script: str = "sleep 100 & exec sleep 100") -> Any:
        child = spawn("sh", "-c", script)
        children.append(child)
        record = ServerRecord(
            pid=child.pid,
            started=start_time(child.pid),
            port=1,
            api_key="k3y",
            fingerprint="f",
            spec=spec(),
            log=tmp_path / "log",
        )
        deadline = time.monotonic() + 5
        while len(record.process.members()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return child, record

    yield start_group
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_the_record_is_private_whole_and_comes_back(tmp_path: Path, start: Start) -> None:
    _, record = start()
    assert read_record(tmp_path) is None
    write_record(tmp_path, record)
    path = tmp_path / "server.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_record(tmp_path) == record
    assert "k3y" not in repr(record)
    assert [p.name for p in tmp_path.glob(".server*")] == []
    path.write_text('{"pid": 1')
    assert read_record(tmp_path) is None


def test_the_whole_group_ends_when_asked(start: Start) -> None:
    child, record = start()
    assert record.process.is_alive()
    assert len(record.process.members()) == 2
    record.process.end(grace_s=5)
    assert record.process.members() == []
    assert not record.process.is_alive()
    assert child.wait() == -signal.SIGTERM


def test_who_ignores_the_request_is_killed(start: Start) -> None:
    child, record = start("trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & wait; wait")
    record.process.end(grace_s=0.2)
    assert record.process.members() == []
    assert child.wait() == -signal.SIGKILL


def test_children_that_outlive_a_killed_leader_are_found_and_ended(start: Start) -> None:
    child, record = start()
    child.kill()
    child.wait()
    assert not record.process.is_alive()
    (orphan,) = record.process.members()
    record.process.end(grace_s=1)
    assert start_time(orphan) is None


def test_another_process_with_the_old_pid_is_left_alone(start: Start) -> None:
    child, record = start()
    before = replace(record.started, seconds=record.started.seconds - 1000)
    stale = record.model_copy(update={"started": before})
    assert not stale.process.is_alive()
    assert stale.process.members() == []
    stale.process.end(grace_s=0.1)
    assert child.poll() is None


def test_a_server_that_no_record_knows_is_found_by_its_environment(tmp_path: Path) -> None:
    stray = spawn("sleep", "100", home=tmp_path)
    neighbour = spawn("sleep", "100", home=tmp_path / "elsewhere")
    try:
        deadline = time.monotonic() + 5
        while end_strays(tmp_path) != [stray.pid] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stray.wait(5) == -signal.SIGKILL
        assert neighbour.poll() is None
    finally:
        for child in (stray, neighbour):
            child.kill()
            child.wait()


def test_a_program_that_cannot_run_is_one_sentence(tmp_path: Path) -> None:
    command = Command(argv=("/no/such/program",), env={})
    with pytest.raises(EngineUnavailable, match="could not be started"):
        start_server(spec(), Settings(home=tmp_path), lambda *_: (command, 1, "key"))


def test_the_engine_side_imports_no_torch() -> None:
    script = (
        "import sys, serving.engine.supervisor\n"
        "print([m for m in ('torch', 'transformers', 'vllm') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"
