"""Keeps the workbench's own model server running: adopts, starts, watches, restarts, ends.

Knows no database: it tells each change of state to a callback, and the worker stores it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from db.messages import Message
from db.settings import Settings
from serving.engine.client import CompletionClient
from serving.engine.command import ServerSpec, fingerprint, new_command
from serving.engine.hardware import find_gpus, idle
from serving.engine.messages import Endpoint, EngineError, EngineUnavailable, OutOfMemory
from serving.engine.plan import ServingPlan, lowered
from serving.engine.probe import ProbeResult, probe
from serving.engine.server import (
    MakeCommand,
    RunningServer,
    adopt,
    follow_until_healthy,
    planned,
    read_record,
    start,
    write_record,
)
from serving.engine.server_log import LoadProgress

State = Literal["stopped", "starting", "ready", "unhealthy", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """What the server does now, for people and for the store."""

    state: State
    message: str
    progress: float | None = None
    """Share of loading done, 0 to 1, while starting."""
    spec: ServerSpec | None = None
    probe: ProbeResult | None = None
    """What it can do, once ready."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Adapters that the server refused, with its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorPolicy:
    """How patient the supervisor is."""

    check_every_s: float = 5.0
    health_timeout_s: float = 15.0
    misses: int = 3
    """Health checks in a row that a living server may miss before it counts as hung."""
    restarts: int = 5
    """Restarts in a row, without ``stable_s`` between them, before it is given up."""
    first_pause_s: float = 1.0
    """Before the first restart; doubles with each further one."""
    max_pause_s: float = 60.0
    stable_s: float = 300.0
    grace_s: float = 15.0
    """Between asking a server to end and killing it."""

    def pause_s(self, failures: int) -> float:
        """Return the pause before restart number ``failures``."""
        return min(self.first_pause_s * 2.0 ** (failures - 1), self.max_pause_s)


class EngineSupervisor:
    """Owner of the workbench's model server. One at a time: the owner of the device lock.

    Call ``ensure`` for the model wanted and run ``watch`` as a task beside it. In the end either
    ``stop`` the server or ``detach`` from it, and cancel the task.
    """

    def __init__(
        self,
        settings: Settings,
        on_state: Callable[[EngineState], None],
        *,
        policy: SupervisorPolicy | None = None,
        make_command: MakeCommand = new_command,
    ) -> None:
        self.state = EngineState(state="stopped", message="The model server is stopped.")
        self.endpoint: Endpoint | None = None
        """Where requests go; None while no server is ready."""
        self._settings = settings
        self._on_state = on_state
        self._policy = policy or SupervisorPolicy()
        self._make_command = make_command
        self._server: RunningServer | None = None
        self._lock = asyncio.Lock()
        self._interrupted = asyncio.Event()
        self._changed = asyncio.Event()
        self._failures = 0
        self._misses = 0
        self._ready_at = 0.0

    @property
    def plan(self) -> ServingPlan:
        """How the server at hand serves.

        Raises:
            EngineUnavailable: There is none.
        """
        plan = None if self._server is None else self._server.record.spec.plan
        if plan is None:
            raise EngineUnavailable(self.state.message)
        return plan

    async def ensure(self, spec: ServerSpec) -> Endpoint:
        """Return the endpoint of a ready server for ``spec``: this one, an adopted or a new one.

        Raises:
            EngineError: it cannot be brought up; the sentence says why and what to do.
        """
        async with self._lock:
            self._interrupted.clear()
            if self.endpoint is not None and await self._serves(spec):
                return self.endpoint
            if self.endpoint is not None:  # what fits in no way does not end what runs
                await asyncio.to_thread(_check_fit, spec, self._settings)
            self._failures = 0
            try:
                return await self._bring_up(spec)
            except EngineError as error:
                await self._end()
                self._notify("failed", str(error), spec=spec)
                raise

    async def ready(self) -> Endpoint:
        """Return the endpoint as soon as a starting or restarting server is ready.

        Raises:
            EngineUnavailable: the server is stopped or was given up.
        """
        while self.endpoint is None:
            if self.state.state in ("stopped", "failed"):
                raise EngineUnavailable(self.state.message)
            await self._changed.wait()
        return self.endpoint

    async def watch(self) -> None:
        """Restart the server whenever it crashes or hangs; runs until cancelled."""
        while True:
            await asyncio.sleep(self._policy.check_every_s)
            server = self._server
            if server is None or self.endpoint is None:
                continue
            problem = await self._problem_of(server)
            if server is not self._server:
                continue
            if problem is not None:
                await self._recover(server, problem)
            elif server.has_news() and self.state.probe is not None:
                self._notify_ready(server, self.state.probe, self.state.left_out)

    async def stop(self) -> None:
        """End the server, all its processes, also one that is starting or on record only."""
        self._interrupted.set()
        async with self._lock:
            await self._end()
            self._notify("stopped", "The model server is stopped.")

    def detach(self) -> None:
        """Let the server run on for the next owner, who adopts or ends it."""
        if self._server is not None:
            self._server.process.leave()
        self._server = self.endpoint = None

    async def _serves(self, spec: ServerSpec) -> bool:
        server = self._server
        return (
            server is not None
            and server.record.fingerprint == fingerprint(spec, self._settings)
            and server.process.is_alive()
            and await self._is_healthy(server)
        )

    async def _bring_up(self, spec: ServerSpec) -> Endpoint:
        self.endpoint = None
        self._notify("starting", "Looking for a model server that runs.", progress=0.0, spec=spec)
        if self._server is not None:
            await self._end()
        server = await asyncio.to_thread(adopt, spec, self._settings, grace_s=self._policy.grace_s)
        if server is not None:
            try:
                return await self._make_ready(server)
            except EngineError:
                if self._interrupted.is_set():
                    raise
                await self._end()
        return await self._start(spec)

    async def _start(self, spec: ServerSpec) -> Endpoint:
        """Start a server; where its GPU has too little memory after all, again with less."""
        while True:
            server = await asyncio.to_thread(start, spec, self._settings, self._make_command)
            spec = server.record.spec
            try:
                return await self._make_ready(server)
            except OutOfMemory as error:
                plan = spec.plan and lowered(spec.plan, spec.limits.over(self._settings))
                if not plan or self._interrupted.is_set():
                    raise
                await self._end()
                again = Message("{problem} It is started again with less.", problem=error)
                self._notify("starting", again, progress=0.0, spec=spec)
                spec = spec.model_copy(update={"plan": plan})

    async def _make_ready(self, server: RunningServer) -> Endpoint:
        self._server = server
        spec = server.record.spec

        def on_progress(progress: LoadProgress) -> None:
            self._notify("starting", progress.message, progress=progress.share, spec=spec)

        await follow_until_healthy(
            server,
            silence_s=self._settings.server_start_timeout_s,
            on_progress=on_progress,
            interrupted=self._interrupted,
        )
        left_out = await load_adapters(server.endpoint, spec)
        found = await probe(server.endpoint, model=spec.served_name)
        served = [one for one in spec.adapters if one.name not in left_out]
        spec = spec.model_copy(update={"adapters": tuple(served)})
        server.record = server.record.model_copy(
            update={
                "software": found.software or "unknown",
                "spec": spec,
                "fingerprint": fingerprint(spec, self._settings),
            }
        )
        write_record(self._settings.home_dir, server.record)
        self._ready_at = time.monotonic()
        self._misses = 0
        self.endpoint = found.endpoint(server.endpoint)
        self._notify_ready(server, found, left_out)
        return self.endpoint

    def _notify_ready(
        self, server: RunningServer, found: ProbeResult, left_out: Mapping[str, str]
    ) -> None:
        spec = server.record.spec
        message = _ready(found, spec, left_out)
        if server.report is not None:
            message = Message("{ready} {replicas}", ready=message, replicas=server.report)
        self._notify("ready", message, spec=spec, found=found, left_out=left_out)

    async def _problem_of(self, server: RunningServer) -> str | None:
        if not server.process.is_alive():
            return server.why_it_ended()
        if await self._is_healthy(server):
            self._misses = 0
            if time.monotonic() - self._ready_at > self._policy.stable_s:
                self._failures = 0
            return None
        self._misses += 1
        if self._misses < self._policy.misses or not server.process.is_alive():
            return None
        return Message(
            "The model server hangs: {n} health checks in a row had no answer.", n=self._misses
        )

    async def _recover(self, broken: RunningServer, problem: str) -> None:
        spec = broken.record.spec
        self.endpoint = None
        while self._failures < self._policy.restarts:
            self._failures += 1
            restart = Message(
                "{problem} Restart {n} of {most} follows.",
                problem=problem,
                n=self._failures,
                most=self._policy.restarts,
            )
            self._notify("unhealthy", restart, spec=spec)
            await asyncio.sleep(self._policy.pause_s(self._failures))
            async with self._lock:
                if self._server is not broken:  # stopped, or replaced by ``ensure``
                    return
                try:
                    await self._bring_up(spec)
                except EngineError as error:
                    if self._interrupted.is_set():
                        return
                    problem = str(error)
                    await self._end()
                    self._server = broken
                else:
                    return
        async with self._lock:
            if self._server is broken:
                await self._end()
                given_up = Message(
                    "{problem} It was given up after {n} restarts in a row.",
                    problem=problem,
                    n=self._failures,
                )
                self._notify("failed", given_up, spec=spec)

    async def _is_healthy(self, server: RunningServer) -> bool:
        async with CompletionClient(server.endpoint) as client:
            return await client.health(timeout_s=self._policy.health_timeout_s)

    async def _end(self) -> None:
        """End the server at hand or, if there is none, the one on record."""
        self.endpoint = None
        server, self._server = self._server, None
        home, grace_s = self._settings.home_dir, self._policy.grace_s
        record = read_record(home)
        if server is not None:
            await asyncio.to_thread(server.end, home, grace_s=grace_s)
        elif record is not None:
            await asyncio.to_thread(RunningServer(record).end, home, grace_s=grace_s)

    def _notify(
        self,
        state: State,
        message: str,
        *,
        progress: float | None = None,
        spec: ServerSpec | None = None,
        found: ProbeResult | None = None,
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        self.state = EngineState(
            state=state,
            message=message,
            progress=progress,
            spec=spec,
            probe=found,
            left_out=left_out or {},
        )
        self._on_state(self.state)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _check_fit(spec: ServerSpec, settings: Settings) -> None:
    """Return if a model fits this machine while nothing else uses it.

    Raises:
        EngineUnavailable: It does not.
    """
    planned(spec, settings, idle(find_gpus()))


def _ready(found: ProbeResult, spec: ServerSpec, left_out: Mapping[str, str]) -> str:
    ready: str = Message(
        "{software} serves {model}.", software=found.software, model=spec.served_name
    )
    for name, why in left_out.items():
        ready = Message(
            "{ready} Left out: the adapter {name} ({why}).", ready=ready, name=name, why=why
        )
    return ready


async def load_adapters(endpoint: Endpoint, spec: ServerSpec) -> dict[str, str]:
    """Load the adapters of ``spec`` that the server lacks; return those it refuses, with why.

    Named on vLLM's command line, one that is refused would end the whole server.

    Raises:
        EngineUnavailable: The server does not answer.
    """
    if not spec.adapters:
        return {}
    async with CompletionClient(endpoint) as client:
        there = {model.name for model in await client.models()}
        refused = {
            adapter.name: await client.load_adapter(adapter.name, adapter.path)
            for adapter in spec.adapters
            if adapter.name not in there
        }
    return {name: why for name, why in refused.items() if why is not None}
