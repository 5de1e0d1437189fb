"""What a server is to serve, and the command line and environment of vLLM that serve it."""

import hashlib
import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from db.settings import Settings
from serving.device import Device, gpu_memory_gib
from serving.engine.messages import EngineUnavailable

HOME_VARIABLE = "Q2Q_SERVER_HOME"
"""In the environment of a server: the workbench it belongs to, so that a lost one is found."""
CPU_MAX_MODEL_LEN = 4096
CPU_MAX_NUM_SEQS = 64
CPU_BATCHED_TOKENS = 4096
LARGE_GPU_MAX_NUM_SEQS, GPU_MAX_NUM_SEQS = 1024, 256
"""vLLM's own defaults for GPUs of 70 GiB and more, and for others; told, so that we know them."""
LARGE_GPU_GIB = 70
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
    """What a server is to serve. Two equal specs are served by one server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    """Folder of the weights."""
    served_name: str
    """The name requests know the model by."""
    context_length: int = Field(ge=1)
    """Tokens that the model itself can hold."""
    adapters: tuple[Adapter, ...] = ()
    device: Device = "cpu"

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.served_name, *(adapter.name for adapter in self.adapters)]
        if len(set(names)) < len(names):
            raise ValueError(f"two served models share a name: {', '.join(names)}")
        return self

    def max_model_len(self, settings: Settings) -> int:
        """Return the tokens that one request may hold, prompt and completion together."""
        limit = settings.max_model_len or (
            CPU_MAX_MODEL_LEN if self.device == "cpu" else self.context_length
        )
        return min(limit, self.context_length)

    def max_num_seqs(self, settings: Settings) -> int:
        """Return how many sequences the server decodes together."""
        if settings.max_num_seqs is not None:
            return settings.max_num_seqs
        if self.device == "cpu":
            return CPU_MAX_NUM_SEQS
        is_large = gpu_memory_gib() >= LARGE_GPU_GIB
        return LARGE_GPU_MAX_NUM_SEQS if is_large else GPU_MAX_NUM_SEQS


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
    return Command(
        argv=(
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *_arguments(spec, settings),
        ),
        env={**_environment(spec, settings, environ, openmp), "VLLM_API_KEY": api_key},
    )


def fingerprint(spec: ServerSpec, settings: Settings) -> str:
    """Return a hash of all that shapes the server: one with an equal hash may be adopted."""
    shape = [
        sys.executable,
        spec.model_dump(mode="json"),
        _arguments(spec, settings),
        settings.kv_cache_gib,
    ]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:32]


def _arguments(spec: ServerSpec, settings: Settings) -> list[str]:
    arguments = [*_model_arguments(spec, settings), *_device_arguments(spec, settings)]
    return [*arguments, *settings.vllm_args]


def _model_arguments(spec: ServerSpec, settings: Settings) -> list[str]:
    arguments = [
        *("--model", str(spec.model), "--served-model-name", spec.served_name),
        *("--max-model-len", str(spec.max_model_len(settings))),
        *("--generation-config", "vllm", "--scheduling-policy", "priority"),
        *("--enable-prefix-caching", "--disable-uvicorn-access-log"),
    ]
    if spec.adapters:
        rank = max(adapter.rank for adapter in spec.adapters)
        kernel_rank = next(known for known in _LORA_RANKS if known >= rank)
        arguments += ["--enable-lora", "--max-loras", str(_lora_slots(spec))]
        arguments += ["--max-lora-rank", str(kernel_rank)]
    return arguments


def _lora_slots(spec: ServerSpec) -> int:
    """Return how many adapters one batch may hold."""
    if spec.device == "cpu":
        # A row without an adapter takes the one in the last slot there (vllm 0.32 indexes the slots
        # with -1), so that a base would write as its adapter does: that slot is kept empty.
        return len(spec.adapters) + 1
    return min(len(spec.adapters), MAX_LORAS_IN_BATCH)


def _device_arguments(spec: ServerSpec, settings: Settings) -> list[str]:
    batch = ["--max-num-seqs", str(spec.max_num_seqs(settings))]
    if spec.device == "cpu":
        # A prompt cut into chunks ends the engine on CPU where its request has a seed
        # (vllm 0.32: "CPU Generator does not use offset").
        unchunked = ["--no-enable-chunked-prefill", "--max-num-batched-tokens"]
        n_tokens = max(CPU_BATCHED_TOKENS, spec.max_model_len(settings))
        return ["--dtype", "bfloat16", "--enforce-eager", *batch, *unchunked, str(n_tokens)]
    return ["--gpu-memory-utilization", str(settings.gpu_memory_utilization), *batch]


def _environment(
    spec: ServerSpec, settings: Settings, environ: Mapping[str, str], openmp: Path | None
) -> dict[str, str]:
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
    return extra


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
        EngineUnavailable: the port of the settings is taken.
    """
    port = settings.server_port or free_port()
    if not is_free(port):
        raise EngineUnavailable(
            f"Port {port} for the model server is taken by another program. "
            "End that program, or set server_port = 0 in q2q.toml to take a free one."
        )
    key = secrets.token_urlsafe(32)
    made = command(spec, settings, port=port, api_key=key, environ=os.environ, openmp=find_openmp())
    return made, port, key


def new_log(home: Path) -> Path:
    """Return the path of a new server log under ``home``; old ones but the last few are deleted."""
    folder = home / "logs"
    for old in sorted(folder.glob("server-*.log"))[: -(KEPT_LOGS - 1)]:
        old.unlink(missing_ok=True)
    return folder / f"server-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.log"
