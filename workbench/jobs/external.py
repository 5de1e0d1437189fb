"""Model servers that somebody else runs: probed for what they can do, reached by URL."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from db.database import Database
from db.engines import (
    EngineRow,
    list_engines,
    save_engine_state,
    save_external,
    save_offer,
)
from db.errors import UsageError
from db.messages import Message
from db.models import ModelRow
from db.settings import Settings
from serving.engine.client import CompletionClient, ServedModel
from serving.engine.equality import MAX_GAP, gap
from serving.engine.messages import (
    Endpoint,
    EngineError,
    EngineUnavailable,
    RequestRefused,
    ServerMisconfigured,
)
from serving.engine.pool import pooled
from serving.engine.probe import ProbeResult, fingerprint_of
from serving.formats.tokenizer import PromptTokenizer
from workbench.jobs.endpoints import endpoint_of
from workbench.jobs.offers import (
    chosen,
    declared,
    found,
    offered_capabilities,
    price_of,
    tokenizer_of,
)

log = logging.getLogger(__name__)

BACK_WITHIN_S = 60.0
"""How long a job waits for a server that is away."""
ASK_AGAIN_S = 2.0
_LASTING = (ServerMisconfigured, RequestRefused, UsageError)
"""Problems that waiting does not cure: a certificate, a redirect, a wrong key."""


@dataclass(slots=True, kw_only=True)
class RemoteServer:
    """A server that has answered a probe."""

    engine_id: int
    name: str
    client: CompletionClient
    models: Mapping[int, ServedModel]
    main_name: str
    """Of the model that was probed, in requests."""
    fingerprint: tuple[float, ...]
    """Of its weights, as the last probe found them; empty where it tells none."""
    answers: bool = True
    """False since it was found away; it may come back."""
    n_settled: int
    """Lost connections to it after which it was found to be as its probe told."""
    in_store: frozenset[int] | None = None
    """The versions that it offers by the probe of another worker; None where none was noted."""
    confirming: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_doubted(self) -> bool:
        """Whether it is to be asked what it offers before anything that it writes is used."""
        return self.client.n_lost > self.n_settled


class ExternalServers:
    """All servers reached by URL. Call ``close`` at the end."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._servers: dict[int, RemoteServer] = {}
        """By engine id; also those that are away now, since they may come back."""
        self._probing = asyncio.Lock()
        self._last_message: dict[int, str] = {}
        self._problems: dict[str, Exception] = {}
        """By name; of the servers that did not answer their last probe."""

    async def start(self) -> None:
        """Write the servers of the settings to the store, and probe all that are known."""
        with self._database.write() as session:
            for server in self._settings.servers:
                save_external(
                    session,
                    server.name,
                    str(server.url),
                    api_key_env=server.api_key_env,
                    tokenizer_path=server.tokenizer,
                    model_name=server.model,
                    offers={
                        name: {} if price is None else price.model_dump()
                        for name, price in (server.offers or {}).items()
                    },
                )
        await self.probe(None, afresh=False)

    async def probe(self, name: str | None, *, afresh: bool = True) -> None:
        """Ask one server, or all, what they can do, and store it; one that is away says so.

        Args:
            name: Of the server; None asks all.
            afresh: Also ask those again whose requests somebody pays for: all that take messages
                alone, of which it is known what they can do.

        Raises:
            UsageError: There is no server called ``name``.
        """
        engines = [engine for engine in self._engines() if name in (None, engine.name)]
        if name is not None and not engines:
            raise UsageError("There is no external model server {name!r}.", name=name)
        async with self._probing:
            await asyncio.gather(*(self._probe(engine, afresh) for engine in engines))

    async def serve(self, models: Sequence[ModelRow]) -> dict[int, ServedModel]:
        """Return the models as the servers offer them; waits a while for one that is away.

        Raises:
            EngineUnavailable: No server offers one of them.
        """
        if models:
            await self._catch_up()
        return {model.id: await self._serve(model) for model in models}

    async def _catch_up(self) -> None:
        """Probe the servers of which another worker of the store knows other offers than this."""
        async with self._probing:
            engines = [engine for engine in self._engines() if self._is_news(engine)]
            await asyncio.gather(*(self._probe(engine, afresh=False) for engine in engines))

    def _is_news(self, engine: EngineRow) -> bool:
        known = self._servers.get(engine.id)
        here = {one: model.served_name for one, model in known.models.items()} if known else {}
        return engine.state == "ready" and here != {
            one.model_version_id: one.served_name for one in engine.models
        }

    async def close(self) -> None:
        """Close all connections."""
        for server in self._servers.values():
            await server.client.close()
        self._servers.clear()

    @property
    def servers(self) -> tuple[RemoteServer, ...]:
        """All that are in use and have answered a probe, also those that are away now."""
        in_use = {engine.id for engine in self._engines()}
        return tuple(self._servers[one] for one in sorted(self._servers.keys() & in_use))

    def note_probes_of_others(self) -> None:
        """Note what other workers found since, and which servers people have removed."""
        engines = {engine.id: engine for engine in self._engines()}
        for engine_id, server in list(self._servers.items()):
            engine = engines.get(engine_id)
            if engine is None:
                server.in_store = frozenset()
            elif engine.state == "ready":
                server.in_store = frozenset(one.model_version_id for one in engine.models)

    async def still_offers(self, client: CompletionClient, engine_id: int, model_id: int) -> bool:
        """Tell whether a server offers a version, as far as probes know; asks one in doubt."""
        server = self._servers.get(engine_id)
        if server is None or server.client is not client:
            return False
        if server.is_doubted:
            async with server.confirming:
                await self._confirm(engine_id)
            server = self._servers.get(engine_id, server)
        is_noted = server.in_store is None or model_id in server.in_store
        is_there = server.client is client and model_id in server.models
        return is_there and is_noted and not server.is_doubted

    async def _confirm(self, engine_id: int) -> None:
        """Ask a server in doubt for its fingerprint alone, and probe it where that is another."""
        server = self._servers.get(engine_id)
        if server is None or not server.is_doubted:
            return
        n_lost = server.client.n_lost
        try:
            apart = await self._gap(server)
            if apart is not None and apart > MAX_GAP:
                log.warning("Model server %s has other weights now; it is probed.", server.name)
                await self.probe(server.name, afresh=False)
            elif apart is not None:
                server.n_settled = n_lost
        except (EngineError, UsageError) as error:  # it stays in doubt
            log.warning("Model server %s could not be asked what it offers: %s", server.name, error)

    async def _gap(self, server: RemoteServer) -> float | None:
        """Return how far its weights are from what its probe found; 0 where it never told."""
        if not server.fingerprint:
            return 0.0
        return gap(server.fingerprint, await fingerprint_of(server.client, server.main_name))

    def offers(self, model_id: int) -> list[ServedModel]:
        """Return a version on each server that offers it, or did so before it was away."""
        return [one.models[model_id] for one in self.servers if model_id in one.models]

    async def note_answering(self, server: RemoteServer, answers: bool) -> None:
        """Say in the store that a server is away, or ask one that is back what it offers."""
        if server.answers == answers:
            return
        if answers:
            await self.probe(server.name, afresh=False)
            return
        server.answers = False
        message = Message("It does not answer now; it is used again as soon as it does.")
        log.warning("Model server %s: %s", server.name, message)

        def save() -> None:
            with self._database.write() as session:
                save_engine_state(session, server.engine_id, "unhealthy", message=message)

        await asyncio.to_thread(save)

    async def _serve(self, model: ModelRow) -> ServedModel:
        deadline = asyncio.get_running_loop().time() + BACK_WITHIN_S
        while True:
            async with self._probing:  # a probe under way may bring it
                pass
            await self._settle_doubts(model.id)
            offered = self.offers(model.id)
            if any(await asyncio.gather(*(answers(one.client) for one in offered))):
                return pooled(offered)
            await self.probe(None, afresh=False)
            if any(server.answers and model.id in server.models for server in self.servers):
                continue
            is_hopeless = bool(self._problems) and all(
                isinstance(problem, _LASTING) for problem in self._problems.values()
            )
            if is_hopeless or asyncio.get_running_loop().time() > deadline:
                why = "".join(f" {name}: {error}" for name, error in self._problems.items())
                raise EngineUnavailable(
                    "No model server offers {name} now; start its server, or see"
                    " `q2q serve status --probe`.{why}",
                    name=model.name,
                    why=why,
                )
            await asyncio.sleep(ASK_AGAIN_S)

    async def _settle_doubts(self, model_id: int) -> None:
        doubted = [one for one in self.servers if one.is_doubted]
        await asyncio.gather(
            *(self.still_offers(one.client, one.engine_id, model_id) for one in doubted)
        )

    async def _probe(self, engine: EngineRow, afresh: bool) -> None:
        known = self._servers.get(engine.id)
        n_lost = known.client.n_lost if known is not None else 0
        with self._database.write() as session:
            save_engine_state(session, engine.id, "starting", message="Being probed.")
        try:
            endpoint = await asyncio.to_thread(endpoint_of, engine, self._settings)
            result = chosen(engine, await found(engine, endpoint, afresh))
            tokenizer = tokenizer_of(engine, result)
        except (EngineError, UsageError) as error:
            self._problems[engine.name] = error
            if engine.id in self._servers:
                self._servers[engine.id].answers = False
            with self._database.write() as session:
                save_engine_state(session, engine.id, "unhealthy", message=str(error))
            self._log(engine, logging.WARNING, str(error))
            return
        self._problems.pop(engine.name, None)
        models = self._store(engine, result, tokenizer)
        await self._remember(engine, result, result.endpoint(endpoint), models, tokenizer, n_lost)
        self._log(engine, logging.INFO, f"It offers {', '.join(models)}.")

    def _log(self, engine: EngineRow, level: int, message: str) -> None:
        """Log what a probe found, unless the one before found the same."""
        if self._last_message.get(engine.id) != message:
            self._last_message[engine.id] = message
            log.log(level, "Model server %s: %s", engine.name, message)

    def _store(
        self, engine: EngineRow, result: ProbeResult, tokenizer: PromptTokenizer | None
    ) -> dict[str, ModelRow]:
        with self._database.write() as session:
            models, message = declared(session, engine, result, tokenizer)
            save_offer(
                session,
                engine.id,
                {name: model.id for name, model in models.items()},
                software=result.software,
                capabilities=offered_capabilities(result.capabilities, result.reasons),
                message=message,
            )
        return models

    async def _remember(
        self,
        engine: EngineRow,
        result: ProbeResult,
        endpoint: Endpoint,
        models: Mapping[str, ModelRow],
        tokenizer: PromptTokenizer | None,
        n_lost: int,
    ) -> None:
        known = self._servers.get(engine.id)
        if known is not None and known.client.endpoint == endpoint:
            client = known.client
        else:
            await self._forget(engine.id)
            client = CompletionClient(endpoint, timeout_s=self._settings.request_timeout_s)
        self._servers[engine.id] = RemoteServer(
            engine_id=engine.id,
            name=engine.name,
            client=client,
            main_name=result.models[0].name if result.models else "",
            fingerprint=result.fingerprint,
            n_settled=min(n_lost, client.n_lost),
            models={
                model.id: ServedModel(
                    model_version_id=model.id,
                    engine_id=engine.id,
                    client=client,
                    served_name=name,
                    tokenizer=tokenizer,
                    context_length=model.context_length,
                    capabilities=endpoint.capabilities,
                    max_num_seqs=None,
                    engine_version=endpoint.software,
                    price=price_of(engine, name),
                    offer=_Offer(self, client, engine.id, model.id),
                )
                for name, model in models.items()
            },
        )

    async def _forget(self, engine_id: int) -> None:
        server = self._servers.pop(engine_id, None)
        if server is not None:
            await server.client.close()

    def _engines(self) -> list[EngineRow]:
        with self._database.read() as session:
            return [engine for engine in list_engines(session) if engine.kind == "external"]


@dataclass(frozen=True, slots=True)
class _Offer:
    """A version on one server, as those see it who send there."""

    servers: ExternalServers
    client: CompletionClient
    engine_id: int
    model_id: int

    async def holds(self) -> bool:
        return await self.servers.still_offers(self.client, self.engine_id, self.model_id)


async def answers(client: CompletionClient) -> bool:
    """Tell whether a server answers now."""
    try:
        await client.models()
    except RequestRefused as error:  # some have no list of models, and answer so
        return error.status in (404, 405)
    except EngineError:
        return False
    return True
