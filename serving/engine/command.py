"""What a server is to serve, and the command line and environment of vLLM that serve it."""

import hashlib
import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from db.child_process import QUIET
from db.identity import Precision
from db.settings import Settings
from serving.device import Device
from serving.engine.hardware import Gpu
from serving.engine.messages import EngineUnavailable
from serving.engine.plan import Limits, ServingPlan, Subject, make_plan
from serving.engine.plan_rules import largest_graph
from serving.engine.ray_cluster import (
    PRIVATE,
    RayCluster,
    RayDeployment,
    application_name,
    check_ray_installed,
    node_gpus,
    ray_arguments,
)

MAX_LOG_PROBS = 100
"""Likeliest tokens that a request may ask for at each place; by itself vLLM allows 20."""
HOME_VARIABLE = "Q2Q_SERVER_HOME"
"""In the environment of a server: the workbench it belongs to, so that a lost one is found."""
CPU_BATCHED_TOKENS = 4096
MAX_LORAS_IN_BATCH = 4
KEPT_LOGS = 5
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks vLLM has kernels for; others are rounded up."""


class Adapter(BaseModel):
    """A LoRA adapter served beside its base."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[^=\s]+$")
    """The name requests know it by."""
    path: Path
    rank: int = Field(ge=1, le=_LORA_RANKS[-1])


class ServerSpec(BaseModel):
    """What a server is to serve, and by which plan. Specs that ask for the same share a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    """Folder of the weights."""
    served_name: str
    """The name requests know the model by."""
    context_length: int = Field(ge=1)
    """Tokens that the model itself can hold."""
    adapters: tuple[Adapter, ...] = ()
    device: Device = "cpu"
    precision: Precision | None = None
    """The one that is asked for; None leaves it to settings and plan."""
    ray: RayCluster | None = None
    """The cluster whose nodes serve it; None: this machine does."""
    limits: Limits = Limits()
    """What people set for this model."""
    plan: ServingPlan | None = None
    """How it is served; None until the server starts, and no part of what is asked for."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.served_name, *(adapter.name for adapter in self.adapters)]
        if len(set(names)) < len(names):
            raise ValueError(f"two served models share a name: {', '.join(names)}")
        return self

    def planned(self, settings: Settings, gpus: Sequence[Gpu] | None = None) -> "ServerSpec":
        """Return this spec with its plan, made now where it has none.

        Raises:
            Q2QError: The model does not fit this machine, or ``gpus``.
        """
        if self.plan is not None:
            return self
        if self.ray is None:
            return self.model_copy(update={"plan": make_plan(self.subject(), settings, gpus)})
        # Each replica is planned for one node; which of its GPUs it gets, Ray says.
        one = settings.model_copy(update={"data_parallel_size": 1})
        many = {"data_parallel": self.ray.replicas, "gpus": ()}
        plan = make_plan(self.subject(), one, node_gpus(settings) or gpus).model_copy(update=many)
        return self.model_copy(update={"plan": plan})

    def subject(self) -> Subject:
        """Return what a plan has to know of it."""
        rank = max((_kernel_rank(adapter.rank) for adapter in self.adapters), default=0)
        return Subject(
            folder=self.model,
            name=self.served_name,
            context_length=self.context_length,
            device=self.device,
            precision=self.precision,
            lora_ranks=rank * min(len(self.adapters), MAX_LORAS_IN_BATCH),
            limits=self.limits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How to start a server."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    """Variables of its own; the key is one, and not on the command line, which ``ps`` shows."""


def command(
    spec: ServerSpec,
    settings: Settings,
    *,
    port: int,
    api_key: str,
    environ: Mapping[str, str],
    openmp: Path | None = None,
) -> Command:
    """Return how to start the server of ``spec`` on ``port``.

    Args:
        spec: what to serve.
        settings: limits and more arguments.
        port: where it listens, on 127.0.0.1.
        api_key: the key it will ask for.
        environ: the environment to build on.
        openmp: ``libiomp5.so`` to preload on CPU, which makes decoding some 7 % faster.
    """
    spec = spec.planned(settings)
    return Command(
        argv=(
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *("--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"),
            *_arguments(spec, settings),
        ),
        env={**_environment(spec, settings, environ, openmp), "VLLM_API_KEY": api_key},
    )


_SHAPING = (
    "precision",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "max_model_len",
    "max_num_seqs",
    "gpu_memory_utilization",
    "kv_cache_gib",
    "flashinfer_sampler",
)
"""Settings that plan and environment follow."""
_ANY_PLAN = ServingPlan(max_model_len=1, max_num_seqs=1)


def fingerprint(spec: ServerSpec, settings: Settings) -> str:
    """Return a hash of what is asked for: a server with an equal hash may be adopted.

    Its plan is no part of it: one made while that server holds its memory would be another.
    """
    asked = spec.model_copy(update={"plan": _ANY_PLAN})
    shape = [
        sys.executable,
        asked.model_dump(mode="json"),
        _arguments(asked, settings),
        [getattr(settings, name) for name in _SHAPING],
    ]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:32]


def _arguments(spec: ServerSpec, settings: Settings) -> list[str]:
    assert spec.plan is not None
    arguments = [*_model_arguments(spec, spec.plan), *_plan_arguments(spec.plan, spec.device)]
    return [*arguments, *_device_arguments(spec, spec.plan, settings), *settings.vllm_args]


def _plan_arguments(plan: ServingPlan, device: Device) -> list[str]:
    arguments = ["--max-num-seqs", str(plan.max_num_seqs)]
    if plan.precision in _QUANTIZATIONS:
        on_cpu = _CPU_QUANTIZATIONS if device == "cpu" else {}
        method = on_cpu.get(plan.precision, _QUANTIZATIONS[plan.precision])
        arguments += ["--quantization", method]
    for name in ("tensor_parallel", "pipeline_parallel", "data_parallel"):
        if (size := getattr(plan, name)) > 1:
            arguments += [f"--{name.replace('_', '-')}-size", str(size)]
    return arguments


_QUANTIZATIONS: Mapping[Precision, str] = {"fp8": "fp8", "nf4": "bitsandbytes"}
"""vLLM's names of what it quantises while loading; folders that are quantised say so themselves."""
_CPU_QUANTIZATIONS: Mapping[Precision, str] = {"fp8": "fp8_per_channel"}
"""vLLM 0.32 for CPU lacks the operator that quantises with one scale for a whole tensor."""


def _model_arguments(spec: ServerSpec, plan: ServingPlan) -> list[str]:
    arguments = [
        *("--model", str(spec.model), "--served-model-name", spec.served_name),
        *("--max-model-len", str(plan.max_model_len)),
        *("--generation-config", "vllm", "--scheduling-policy", "priority"),
        *("--max-logprobs", str(MAX_LOG_PROBS)),
        "--enable-prefix-caching",
    ]
    if spec.adapters:
        rank = max(_kernel_rank(adapter.rank) for adapter in spec.adapters)
        arguments += ["--enable-lora", "--max-loras", str(_lora_slots(spec))]
        arguments += ["--max-lora-rank", str(rank)]
    return arguments


def _kernel_rank(rank: int) -> int:
    return next(known for known in _LORA_RANKS if known >= rank)


def _lora_slots(spec: ServerSpec) -> int:
    """Return how many adapters one batch may hold."""
    if spec.device == "cpu":
        # A row without an adapter takes the one in the last slot there (vllm 0.32 indexes the slots
        # with -1), so that a base would write as its adapter does: that slot is kept empty.
        return len(spec.adapters) + 1
    return min(len(spec.adapters), MAX_LORAS_IN_BATCH)


def _device_arguments(spec: ServerSpec, plan: ServingPlan, settings: Settings) -> list[str]:
    if spec.device == "cpu":
        # A prompt cut into chunks ends the engine on CPU where its request has a seed
        # (vllm 0.32: "CPU Generator does not use offset").
        unchunked = ["--no-enable-chunked-prefill", "--max-num-batched-tokens"]
        n_tokens = max(CPU_BATCHED_TOKENS, plan.max_model_len)
        return ["--dtype", "bfloat16", "--enforce-eager", *unchunked, str(n_tokens)]
    arguments = ["--gpu-memory-utilization", str(plan.gpu_memory_utilization)]
    if plan.dtype != "auto":
        arguments += ["--dtype", plan.dtype]
    if plan.max_num_batched_tokens:
        arguments += ["--max-num-batched-tokens", str(plan.max_num_batched_tokens)]
    largest = settings.max_cudagraph_capture_size or largest_graph(plan.max_num_seqs)
    arguments += ["--max-cudagraph-capture-size", str(largest)]
    if settings.async_scheduling is not None:
        arguments.append(f"--{'' if settings.async_scheduling else 'no-'}async-scheduling")
    return arguments


def _gpu_environment(plan: ServingPlan, settings: Settings) -> dict[str, str]:
    has_sampler = settings.flashinfer_sampler
    if has_sampler is None:
        has_sampler = can_build_flashinfer()
    extra = {"VLLM_USE_FLASHINFER_SAMPLER": str(int(has_sampler))}
    if plan.gpus:
        # nvidia-smi counts along the bus, CUDA by speed unless it is told otherwise.
        extra["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        extra["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, plan.gpus))
    return extra


def can_build_flashinfer() -> bool:
    """Tell whether FlashInfer's sampler can run: its kernels are built at first use, with nvcc."""
    if find_spec("flashinfer") is None:
        return False
    if find_spec("flashinfer_jit_cache") is not None:
        return True
    toolkit = Path(os.environ.get("CUDA_HOME") or "/usr/local/cuda")
    has_compiler = shutil.which("nvcc") or (toolkit / "bin" / "nvcc").is_file()
    has_ninja = shutil.which("ninja") or (Path(sys.executable).parent / "ninja").is_file()
    return bool(has_compiler and has_ninja)


def _environment(
    spec: ServerSpec, settings: Settings, environ: Mapping[str, str], openmp: Path | None
) -> dict[str, str]:
    assert spec.plan is not None
    extra = {
        HOME_VARIABLE: str(settings.home_dir),
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
    }
    if spec.adapters:  # see ``serving.engine.supervisor``
        extra["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if spec.device == "cpu":
        extra["VLLM_CPU_KVCACHE_SPACE"] = str(settings.kv_cache_gib)
        preloaded = environ.get("LD_PRELOAD", "")
        if openmp is not None and "omp" not in preloaded:
            extra["LD_PRELOAD"] = ":".join(filter(None, (str(openmp), preloaded)))
    else:
        extra |= _gpu_environment(spec.plan, settings)
    return extra


def ray_command(
    spec: ServerSpec, cluster: RayCluster, settings: Settings, *, port: int, api_key: str
) -> Command:
    """Return how to start the child that serves ``spec`` on ``cluster``, through ``port`` here."""
    spec = spec.planned(settings)
    assert spec.plan is not None
    one = spec.model_copy(update={"plan": spec.plan.model_copy(update={"data_parallel": 1})})
    own = _environment(spec, settings, {}, None)
    home = own.pop(HOME_VARIABLE)  # replicas end with their application, not as strays
    deployment = RayDeployment(
        cluster=cluster,
        application=application_name(settings.home_dir),
        port=port,
        model=spec.model,
        served_name=spec.served_name,
        arguments=tuple(_arguments(one, settings)),
        device=spec.device,
        gpus_per_replica=spec.plan.gpus_per_engine,
        environment={**QUIET, **own},
        request_timeout_s=settings.request_timeout_s,
    )
    env = {**PRIVATE, HOME_VARIABLE: home, "VLLM_API_KEY": api_key}
    return Command(argv=ray_arguments(deployment), env=env)


def find_openmp() -> Path | None:
    """Return Intel's OpenMP library of this environment, if it is installed."""
    library = Path(sys.prefix) / "lib" / "libiomp5.so"
    return library if library.is_file() else None


def free_port() -> int:
    """Return a port on 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Say whether a server could listen on ``port`` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def new_command(spec: ServerSpec, settings: Settings) -> tuple[Command, int, str]:
    """Return the command with a port and a random key, and these two.

    Raises:
        EngineUnavailable: the port of the settings is taken, or Ray is needed and not installed.
    """
    port = settings.server_port or free_port()
    key = secrets.token_urlsafe(32)
    if spec.ray is not None:  # at a given port Ray Serve may listen already, for others too
        check_ray_installed()
        return ray_command(spec, spec.ray, settings, port=port, api_key=key), port, key
    if not is_free(port):
        raise EngineUnavailable(
            "Port {port} for the model server is taken by another program. "
            "End that program, or set server_port = 0 in q2q.toml to take a free one.",
            port=port,
        )
    made = command(spec, settings, port=port, api_key=key, environ=os.environ, openmp=find_openmp())
    return made, port, key


def new_log(home: Path) -> Path:
    """Return the path of a new server log under ``home``; old ones but the last few are deleted."""
    folder = home / "logs"
    for old in sorted(folder.glob("server-*.log"))[: -(KEPT_LOGS - 1)]:
        old.unlink(missing_ok=True)
    return folder / f"server-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log"
