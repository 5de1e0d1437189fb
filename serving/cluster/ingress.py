"""What runs on the nodes of a Ray cluster: replicas that tell their load, and a keyed ingress.

Nodes need Ray and vLLM, not the workbench: Ray ships this module by value, so it imports nothing of
ours.
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from fastapi import Response
from prometheus_client import generate_latest
from ray import serve
from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.core.configs.openai_api_models import to_model_metadata
from ray.llm._internal.serve.core.ingress.ingress import init as new_fastapi_app
from ray.serve.llm import LLMConfig, build_llm_deployment
from ray.serve.llm.deployment import LLMServer
from ray.serve.llm.ingress import OpenAiIngress, make_fastapi_ingress

log = logging.getLogger("ray.serve")
INGRESS = "ingress"
"""Name of the deployment that requests reach first."""
REPORT_EVERY_S = 0.5
LOST_AFTER_S = 10.0
"""A replica that has told nothing for so long is gone, or hangs."""
_ON_HEAD_NODE = {"node:__internal_head__": 0.001}


class Replica(LLMServer):
    """One vLLM engine, which tells the ingress what its own ``/metrics`` would."""

    async def start(self) -> None:
        """Start the engine, and then to report."""
        await super().start()
        self._reporting = asyncio.create_task(self._report())

    async def _report(self) -> None:
        context = serve.get_replica_context()
        told = context.replica_id.unique_id, ray.util.get_node_ip_address()
        ingress = serve.get_deployment_handle(INGRESS, context.app_name)
        while True:
            text = generate_latest().decode()
            lines = [line for line in text.splitlines() if line.startswith("vllm:")]
            try:
                await ingress.report.remote(*told, "\n".join(lines))
            except Exception:  # Serve restarts the ingress, which is told then
                log.exception("The ingress took no report.")
            await asyncio.sleep(REPORT_EVERY_S)


class LocalFolder(CallbackBase):
    """Leaves out fetching the model: it lies in a folder that every node has.

    Ray looks for it on each node with a task, whose process first imports vLLM.
    """

    async def on_before_node_init(self) -> None:
        """Say so."""
        self.ctx.run_init_node = False


@dataclass(frozen=True)
class Report:
    """What a replica told last."""

    number: int
    """Of the replica, from 0: the first that was free when it came."""
    node: str
    """Address of its machine."""
    metrics: str
    at: float = field(default_factory=time.monotonic)


class Ingress(OpenAiIngress):
    """The OpenAI API over all replicas, with vLLM's ``/health`` and ``/metrics`` beside it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reports: dict[str, Report] = {}
        """The last one of each replica, by its id."""
        self._has_run = False

    async def report(self, replica: str, node: str, metrics: str) -> None:
        """Take note of what ``replica`` on ``node`` tells of its load: lines of ``/metrics``."""
        known = self._current()
        taken = {one.number for one in known.values()}
        free = next(number for number in range(len(taken) + 1) if number not in taken)
        number = known[replica].number if replica in known else free
        self._reports = {**known, replica: Report(number, node, metrics)}
        self._has_run = True

    async def health(self) -> Response:
        """Answer 200 once a replica has run; while none does, requests wait until one is back."""
        return Response(status_code=200 if self._has_run else 503)

    async def metrics(self) -> Response:
        """Answer the metrics of all replicas, each an engine by number, with its node."""
        pages = (
            one.metrics.replace('engine="0"', f'engine="{one.number}",node="{one.node}"')
            for one in self._current().values()
        )
        return Response("\n".join([*pages, ""]), media_type="text/plain")

    def _current(self) -> dict[str, Report]:
        oldest = time.monotonic() - LOST_AFTER_S
        return {name: one for name, one in self._reports.items() if one.at > oldest}


class KeyGuard:
    """Refuses requests without the key; only its hash is known on the cluster."""

    def __init__(self, app: Callable[..., Awaitable[None]], key_hash: str) -> None:
        self._app = app
        self._key_hash = key_hash

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 401, or let the request through."""
        if scope["type"] == "http" and not self._may_pass(scope):
            await Response("Unauthorized", status_code=401)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may_pass(self, scope: Any) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in ("/health", "/metrics"):
            return True
        given = dict(scope["headers"]).get(b"authorization", b"").removeprefix(b"Bearer ")
        return hmac.compare_digest(hashlib.sha256(given).hexdigest(), self._key_hash)


def build_app(config: LLMConfig, key_hash: str, request_timeout_s: float) -> serve.Application:
    """Return the application: replicas of ``config`` behind one ingress on the head node."""
    timeout = {"RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT": str(request_timeout_s)}
    api = new_fastapi_app()
    api.add_middleware(KeyGuard, key_hash=key_hash)
    endpoints = {
        "models": lambda app: app.get("/v1/models"),
        "completions": lambda app: app.post("/v1/completions"),
        "health": lambda app: app.get("/health"),
        "metrics": lambda app: app.get("/metrics"),
    }
    ingress = serve.deployment(
        make_fastapi_ingress(Ingress, endpoint_map=endpoints, app=api),
        name=INGRESS,
        num_replicas=1,
        max_ongoing_requests=100_000,
        ray_actor_options={
            "num_cpus": 0,
            "resources": _ON_HEAD_NODE,
            "runtime_env": {"env_vars": timeout},
        },
    )
    name = config.model_id
    return ingress.bind(
        llm_deployments={name: build_llm_deployment(config, deployment_cls=Replica)},
        model_cards={name: to_model_metadata(name, config)},
    )
