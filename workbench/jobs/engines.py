"""The model servers of one worker: its own child, and those reached by URL.

One local server at a time (one device): a job leases the family of models that it needs, a base
with its adapters; the server is switched to another family when no other job uses the present one.
"""

import asyncio
import contextlib
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Literal, Self

from db.cancelling import Cancelled
from db.database import Database
from db.engines import LOCAL
from db.errors import Q2QError
from db.models import ModelRow, get_model
from db.settings import Settings
from serving.engine.client import ServedModel
from serving.engine.pool import pooled
from serving.engine.ray_cluster import RayCluster, cluster_of
from serving.models.as_served import served_version, stored_version
from serving.models.register import ensure_default_model
from training.merge.prune import rebuild
from workbench.jobs.engine_watch import EngineWatch
from workbench.jobs.external import ExternalServers
from workbench.jobs.local import LocalServer

log = logging.getLogger(__name__)

AtEnd = Literal["stop", "keep", "as_found"]
"""What happens to the local server: end it, leave it running, or leave it if it ran before."""


class JobEngines:
    """The servers as one job sees them; implements ``serving.engine.client.Engines``."""

    def __init__(
        self, pool: "EnginePool", *, is_interactive: bool = False, is_shared: bool = False
    ) -> None:
        self._pool = pool
        self._is_shared = is_shared
        self.is_interactive = is_interactive
        """Somebody waits for it: it still begins while others are let finish."""

    def groups(self, model_version_ids: Collection[int]) -> Sequence[frozenset[int]]:
        """Return one set for each local family, the loaded one first, remote models with it.

        Workers that share a sweep have one order, whatever each has loaded.
        """
        return self._pool.groups(model_version_ids, loaded_first=not self._is_shared)

    async def serve(self, group: frozenset[int]) -> Mapping[int, ServedModel]:
        """Return the models of ``group`` once they are served.

        Raises:
            EngineUnavailable: A model cannot be served.
        """
        return await self._pool.serve(self, group)


class EnginePool:
    """All servers of one worker. Use it in an ``async with`` block."""

    def __init__(
        self, settings: Settings, database: Database, worker_id: int | None = None
    ) -> None:
        self._settings = settings
        self._database = database
        self._external = ExternalServers(settings, database)
        self._local = LocalServer(settings, database, worker_id)
        self._leases: dict[JobEngines, int] = {}
        """Job → id of the base that it needs."""
        self._changed = asyncio.Condition()
        self._device_turn = asyncio.Lock()
        self._is_draining = self._is_taken = False
        self._device_note: Callable[[], str] | None = None
        self._switching = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()
        self._notifications: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._local.open()
        watch = EngineWatch(self._database, self._local, self._external)
        self._watch = asyncio.create_task(watch.run(), name="engine loads")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end_background()
        await asyncio.gather(*self._notifications)
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._external.close()
        await self._local.close()

    async def start(self, *, load_default: bool) -> None:
        """Look for the servers in the background; load the default model if people want one."""
        self._in_background(self._external.start())
        if load_default and self._local.is_wanted:
            self._in_background(self._load_default())

    async def end_server(self, at_end: AtEnd) -> None:
        """Stop, leave or hand over the local server when the worker ends."""
        await self._end_background()
        if at_end == "stop" or (at_end == "as_found" and not self._local.was_running):
            await self._local.stop()
        else:
            await self._local.hand_over()

    @contextmanager
    def for_job(
        self, *, is_interactive: bool = False, is_shared: bool = False
    ) -> Iterator[JobEngines]:
        """Yield the servers as one job sees them; what it leased is free afterwards."""
        engines = JobEngines(self, is_interactive=is_interactive, is_shared=is_shared)
        try:
            yield engines
        finally:
            if self._leases.pop(engines, None) is not None:
                # Never cancelled with the background: somebody may wait for just this.
                notification = asyncio.ensure_future(self._notify())
                self._notifications.add(notification)
                notification.add_done_callback(self._notifications.discard)

    def groups(
        self, model_version_ids: Collection[int], *, loaded_first: bool = True
    ) -> list[frozenset[int]]:
        """Return one set for each local family, remote models with the first."""
        models = self._models(model_version_ids)
        remote = {model.id for model in models if self._is_elsewhere(model)}
        families: dict[int, set[int]] = {}
        for model in models:
            if model.id not in remote:
                families.setdefault(model.family_id, set()).add(model.id)
        first = self._local.family_id if loaded_first else None
        ordered = sorted(families, key=lambda family: family != first)
        groups = [families[family] for family in ordered] or [set()]
        groups[0] |= remote
        return [frozenset(group) for group in groups if group]

    async def serve(self, user: JobEngines, group: frozenset[int]) -> dict[int, ServedModel]:
        """Return the models of ``group`` for ``user`` once they are served."""
        models = self._models(group)
        elsewhere = [model for model in models if self._is_elsewhere(model)]
        served = await self._external.serve(elsewhere)
        own = [model for model in models if model.id not in served]
        if own:
            await self._lease(user, own[0].family_id)
            async with self._switching:
                here = await self._local.serve(await self._restored(own))
            for model_id, model in here.items():
                served[model_id] = pooled([model, *self._external.offers(model_id)])
        return served

    def _is_elsewhere(self, model: ModelRow) -> bool:
        """Tell whether a version is on servers by URL only; one loaded here is one of its pool."""
        is_here = model.family_id == self._local.family_id
        return model.kind == "declared" or (not is_here and bool(self._external.offers(model.id)))

    async def _restored(self, models: Sequence[ModelRow]) -> list[ModelRow]:
        """Return ``models``, those that were pruned made again; the device is free meanwhile."""
        pruned = [model for model in models if model.state == "pruned"]
        if pruned:
            await self._local.stop()
        for model in pruned:
            log.info("Making the pruned model %s again", model.name)
            with self._database.read() as session:
                stored = stored_version(session, model)
            await rebuild(self._database, self._settings, stored)
        return self._models([model.id for model in models])

    async def load(self, model: ModelRow, cluster: RayCluster | None) -> None:
        """Load a model because a person asked for it, on a Ray cluster or on this machine.

        Raises:
            EngineUnavailable: It cannot be served.
            Q2QError: Jobs are using another one.
        """
        if model.kind == "declared":
            raise Q2QError(
                "{model_name} is on a remote server; it needs no loading here.",
                model_name=model.name,
            )
        others = [family for family in self._leases.values() if family != model.family_id]
        if others:
            raise Q2QError("A job uses another model now; cancel it, or wait for its end.")
        self._local.set_wanted(True)
        async with self._switching:
            self._local.cluster = cluster
            await self._local.serve([model])

    async def stop_local(self) -> None:
        """End the local server because a person asked for it; workers then leave it alone.

        Raises:
            Q2QError: Jobs are using it.
        """
        if self._leases:
            raise Q2QError("A job uses the model server now; cancel it first, or wait for its end.")
        await self._end_background()
        self._local.set_wanted(False)
        async with self._switching:
            await self._local.stop()
            self._local.cluster = cluster_of(self._settings)

    async def probe(self, name: str | None) -> None:
        """Ask one server, or all, what they can do."""
        if name != LOCAL:
            await self._external.probe(name)

    async def default_model(self) -> ModelRow:
        """Return the model of the settings as it is served, made and registered if need be."""
        return await asyncio.to_thread(self._default_model)

    def _default_model(self) -> ModelRow:
        model = ensure_default_model(self._database, self._settings)
        with self._database.write() as session:
            return served_version(session, model, self._settings)

    @asynccontextmanager
    async def device(self) -> AsyncIterator[None]:
        """Free the device for the block, and bring the model that was loaded back afterwards."""
        await self._end_background()
        async with self._switching:
            before = self._local.loaded
            await self._local.stop()
            try:
                yield
            finally:
                if before:
                    self._in_background(self._bring_back(before))

    @property
    def device_note(self) -> str | None:
        """What to tell those who wait for the server while a job has the device to itself."""
        return self._device_note() if self._device_note is not None else None

    @asynccontextmanager
    async def device_for(
        self, user: JobEngines, note: Callable[[], str], cancelled: asyncio.Event
    ) -> AsyncIterator[None]:
        """Have the device to itself for the block, within a job that also uses the server.

        Jobs that use the local server are let finish; new ones wait until the block is left, but
        for those that somebody waits for, which wait only once the device is taken. The model that
        was loaded comes back whatever happens.

        Args:
            user: The job; what it leased is given up first.
            note: Tells those who wait what goes on, whenever they ask.
            cancelled: Ends the waiting for others.

        Raises:
            Cancelled: It was cancelled before it had the device.
        """
        async with self._device_turn:
            watch = asyncio.create_task(self._notify_when(cancelled))
            try:
                async with self._changed:
                    self._leases.pop(user, None)
                    self._is_draining = True
                    self._changed.notify_all()
                    await self._changed.wait_for(lambda: not self._leases or cancelled.is_set())
                    if cancelled.is_set():
                        raise Cancelled
                    self._is_taken, self._device_note = True, note
                async with self.device():
                    yield
            finally:
                watch.cancel()
                self._is_draining = self._is_taken = False
                self._device_note = None
                await self._notify()

    async def _notify_when(self, cancelled: asyncio.Event) -> None:
        await cancelled.wait()
        await self._notify()

    def _is_open_to(self, user: JobEngines, family_id: int) -> bool:
        if self._is_taken or (self._is_draining and not user.is_interactive):
            return False
        return all(family == family_id for family in self._leases.values())

    async def _bring_back(self, models: Sequence[ModelRow]) -> None:
        async with self._switching:
            await self._local.serve(models)

    async def _load_default(self) -> None:
        model = await self.default_model()
        async with self._switching:
            await self._local.serve([model])

    async def _lease(self, user: JobEngines, family_id: int) -> None:
        async with self._changed:
            self._leases.pop(user, None)
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._is_open_to(user, family_id))
            self._leases[user] = family_id

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _models(self, model_version_ids: Collection[int]) -> list[ModelRow]:
        with self._database.read() as session:
            return [get_model(session, model_id) for model_id in model_version_ids]

    def _in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._log_failure(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _log_failure(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Q2QError as error:
            log.warning("%s", error)

    async def _end_background(self) -> None:
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
