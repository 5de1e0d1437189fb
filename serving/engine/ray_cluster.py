"""A Ray cluster as the place of the model server: what is asked of it, and of the child for it.

The child (``serving.cluster.deploy``) is the only process that imports Ray; it stands where vLLM's
own server stands otherwise, so that starting, watching, adopting and ending are the same.
"""

import hashlib
import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from db.settings import Settings
from serving.device import Device
from serving.engine.hardware import Gpu, described_gpus
from serving.engine.messages import EngineUnavailable

PRIVATE: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0",
}
"""Ray reports no usage, and writes no prompts to its logs."""


class RayCluster(BaseModel):
    """Where on how many nodes' worth of replicas a model is to be served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(min_length=1)
    """Of the cluster's head node, e.g. ``10.0.0.1:6379``; ``auto`` is the one of this machine."""
    replicas: int = Field(default=1, ge=1)
    """Engines, each with the whole model."""


class RayDeployment(BaseModel):
    """All that the child is told, but for the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: RayCluster
    application: str
    """Name of the Serve application, and first part of its path."""
    port: int
    """Of Serve's HTTP proxy on 127.0.0.1 of the head node."""
    model: Path
    """Folder of the weights, the same on every node."""
    served_name: str
    arguments: tuple[str, ...]
    """vLLM's, as on its command line."""
    device: Device
    gpus_per_replica: int
    environment: dict[str, str]
    """Variables of the replicas."""
    request_timeout_s: float


def application_name(home: Path) -> str:
    """Return the Serve application of the workbench in ``home``: a cluster may serve several."""
    return f"q2q-{hashlib.sha256(f'{socket.gethostname()}:{home}'.encode()).hexdigest()[:10]}"


def check_ray_installed() -> None:
    """Return if the child can import Ray.

    Raises:
        EngineUnavailable: It is not installed.
    """
    if find_spec("ray") is None:
        raise EngineUnavailable(
            "Ray is not installed here. Install it with "
            "`uv pip install -r requirements-cluster.txt`, here and on every node."
        )


def ray_arguments(deployment: RayDeployment) -> tuple[str, ...]:
    """Return the command line of the child."""
    return (sys.executable, "-m", "serving.cluster.deploy", deployment.model_dump_json())


def cluster_of(settings: Settings) -> RayCluster | None:
    """Return the cluster that the settings name; None: models are served on this machine."""
    if settings.ray_address is None:
        return None
    return RayCluster(address=settings.ray_address, replicas=settings.ray_replicas)


def node_gpus(settings: Settings) -> tuple[Gpu, ...] | None:
    """Return the GPUs of one node of the cluster; None: they are as those of this machine.

    Raises:
        UsageError: The setting describes none.
    """
    return None if settings.ray_gpus is None else described_gpus(settings.ray_gpus)
