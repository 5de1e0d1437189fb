"""How busy the model servers and their GPUs are, written to the store for pages and commands."""

import asyncio
import logging
import time
from collections.abc import Sequence

from db.database import Database
from db.engines import EngineUse, GpuUse, save_load
from db.errors import Q2QError
from serving.engine.client import CompletionClient
from serving.engine.hardware import Gpu, find_gpus
from serving.engine.messages import CoreLoad
from workbench.jobs.external import ExternalServers, answers
from workbench.jobs.local import LocalServer

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
ASK_EVERY_S = 60.0
"""How often a server that tells no load is asked whether it answers: somebody may count that."""


class EngineWatch:
    """Looks at every server of one worker again and again, and notes those that are away."""

    def __init__(self, database: Database, local: LocalServer, external: ExternalServers) -> None:
        self._database = database
        self._local = local
        self._external = external
        self._before: dict[tuple[int, int], tuple[float, int]] = {}
        """Server and engine → when it was looked at, and the tokens it had written."""
        self._written: dict[int, Sequence[EngineUse]] = {}
        self._asked: dict[int, float] = {}
        """Server that tells no load → when it was asked last."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Q2QError as error:  # the store is busy, say; the next look may write
                log.warning("%s", error)

    async def look(self) -> None:
        """Look at all servers once; only what has changed is written."""
        ready = await self._local.ready()
        if ready is not None:
            client, plan = ready
            found = await asyncio.to_thread(find_gpus) if plan.gpus else ()
            by_index = {gpu.index: gpu for gpu in found}
            gpus = [by_index[index] for index in plan.gpus if index in by_index]
            await self._look_at(self._local.engine_id, client, gpus, plan.gpus_per_engine)
        # Not in the event loop: while a store that is away is waited for, all else would stop.
        await asyncio.to_thread(self._external.note_probes_of_others)
        for server in await asyncio.to_thread(lambda: self._external.servers):
            if server.client.endpoint.capabilities.metrics:
                is_there = await self._look_at(server.engine_id, server.client)
            elif time.monotonic() < self._asked.get(server.engine_id, -ASK_EVERY_S) + ASK_EVERY_S:
                continue
            else:
                self._asked[server.engine_id], is_there = time.monotonic(), False
            is_there = is_there or await answers(server.client)
            await self._external.note_answering(server, is_there)

    async def _look_at(
        self,
        engine_id: int,
        client: CompletionClient,
        gpus: Sequence[Gpu] = (),
        each: int = 0,
    ) -> bool:
        """Write how busy one server is, whose engines have ``each`` of ``gpus``.

        Returns:
            Whether it told.
        """
        load = await client.metrics()
        uses = [
            EngineUse(
                engine=core.engine,
                running=core.running,
                waiting=core.waiting,
                kv_cache_usage=round(core.kv_cache_usage, 3),
                tokens_per_second=self._rate(engine_id, core),
                node=core.node,
                gpus=tuple(map(_gpu_use, gpus[core.engine * each : (core.engine + 1) * each])),
            )
            for core in (load.cores if load is not None else ())
        ]
        if self._written.get(engine_id) != uses:
            await asyncio.to_thread(self._save, engine_id, uses)
            self._written[engine_id] = uses
        return load is not None

    def _save(self, engine_id: int, uses: Sequence[EngineUse]) -> None:
        with self._database.write() as session:
            save_load(session, engine_id, uses)

    def _rate(self, engine_id: int, core: CoreLoad) -> float | None:
        """Return the tokens that an engine has written a second since the look before."""
        key, now = (engine_id, core.engine), time.monotonic()
        before = self._before.get(key)
        self._before[key] = now, core.generated_tokens
        if before is None or core.generated_tokens < before[1]:  # it was started anew
            return None
        return round((core.generated_tokens - before[1]) / max(now - before[0], 1e-9), 1)


def _gpu_use(gpu: Gpu) -> GpuUse:
    return GpuUse(
        index=gpu.index,
        name=gpu.name,
        memory_used_gib=round(gpu.used_gib, 1),
        memory_total_gib=round(gpu.total_gib, 1),
    )
