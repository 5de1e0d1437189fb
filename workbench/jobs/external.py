"""Model servers that somebody else runs: probed for what they can do, reached by URL."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

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
from db.models import ModelRow, declare_model, find_model, note_fingerprint
from db.settings import Settings
from serving.engine.client import CompletionClient, ServedModel
from serving.engine.equality import MAX_GAP, gap
from serving.engine.messages import (
    Capabilities,
    Endpoint,
    EngineError,
    EngineUnavailable,
    OfferedModel,
    Price,
    RequestRefused,
    ServerMisconfigured,
)
from serving.engine.pool import pooled
from serving.engine.probe import ProbeResult, offered_models, probe
from serving.formats.tokenizer import PromptTokenizer
from serving.models.as_served import as_served, split_precision
from workbench.jobs.endpoints import endpoint_of

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
    answers: bool = True
    """False since it was found away; it may come back."""


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

    async def _probe(self, engine: EngineRow, afresh: bool) -> None:
        with self._database.write() as session:
            save_engine_state(session, engine.id, "starting", message="Being probed.")
        try:
            endpoint = await asyncio.to_thread(endpoint_of, engine, self._settings)
            result = _chosen(engine, await _found(engine, endpoint, afresh))
            tokenizer = _tokenizer(engine, result)
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
        await self._remember(engine, result.endpoint(endpoint), models, tokenizer)
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
            models, message = _declared(session, engine, result, tokenizer)
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
        endpoint: Endpoint,
        models: Mapping[str, ModelRow],
        tokenizer: PromptTokenizer | None,
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
                    price=_price(engine, name),
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


def _declared(
    session: Session, engine: EngineRow, result: ProbeResult, tokenizer: PromptTokenizer | None
) -> tuple[dict[str, ModelRow], Message | None]:
    """Return the versions that a server offers, by its names for them, and what is odd about them.

    Weights that are clearly not those of the version that the server says, or is said, to offer
    are a version of their own.
    """

    def declare(served: OfferedModel, equal_to: str | None) -> ModelRow:
        name, precision = split_precision(equal_to or "")
        if precision is not None:
            with suppress(UsageError):  # a model that this store does not know is only declared
                equal_to = as_served(session, find_model(session, name), precision).name
        return declare_model(
            session,
            served.name,
            engine.name,
            context_length=served.context_length,
            tokenizer_hash=tokenizer.content_hash if tokenizer else None,
            precision=precision,
            equal_to=equal_to,
        )

    message = None
    main = next((one for one in result.models if one.base is None), None)
    models = {one.name: declare(one, None) for one in result.models if one is not main}
    if main is not None:
        model = declare(main, engine.model_name)
        apart = gap(note_fingerprint(session, model.id, result.fingerprint), result.fingerprint)
        if apart is not None and apart > MAX_GAP:
            other = declare(main, f"{model.name}@{engine.name}")
            message = Message(
                "Its weights are not those of {model}: {gap:.2f} nats a token apart on a fixed"
                " text. What it offers is {other} here.",
                model=model.name,
                gap=apart,
                other=other.name,
            )
            model = other
        models = {main.name: model, **models}
    return models, message


def offered_capabilities(capabilities: Capabilities, reasons: Mapping[str, str]) -> dict[str, Any]:
    """Return what is stored of a probe: each capability, and why some are missing."""
    return {**asdict(capabilities), "reasons": dict(reasons)}


async def _found(engine: EngineRow, endpoint: Endpoint, afresh: bool) -> ProbeResult:
    first = next(iter(engine.offers or ()), None)
    can = engine.capabilities
    if afresh or engine.probed_at is None or can.get("completions", True):
        return await probe(endpoint, model=first)
    async with CompletionClient(endpoint) as client:
        models = await offered_models(client, named=first)
    known = {one.name: can[one.name] for one in fields(Capabilities) if one.name in can}
    for name in ("refused_fields", "refused_neutral"):
        known[name] = tuple(known.get(name, ()))
    return ProbeResult(
        software=engine.software,
        models=models,
        context_length=None,
        capabilities=Capabilities(**known),
        reasons=can.get("reasons", {}),
    )


MAX_LISTED = 50
"""A server that lists more models is a market of them: people choose."""


def _chosen(engine: EngineRow, result: ProbeResult) -> ProbeResult:
    """Return what was found of the models that are used.

    Raises:
        EngineUnavailable: It lists too many, and nobody has chosen.
    """
    if engine.offers is None and len(result.models) > MAX_LISTED:
        raise EngineUnavailable(
            "It lists {n} models; choose those to be used, on Models or with `q2q serve add"
            " --offers`.",
            n=len(result.models),
        )
    if engine.offers is None:
        return result
    listed = {one.name: one for one in result.models}
    chosen = (listed.get(one, OfferedModel(name=one, context_length=None)) for one in engine.offers)
    return replace(result, models=tuple(chosen))


def _price(engine: EngineRow, name: str) -> Price | None:
    told = (engine.offers or {}).get(name)
    return Price(told["input"], told["output"]) if told else None


def _tokenizer(engine: EngineRow, result: ProbeResult) -> PromptTokenizer | None:
    """Return its tokenizer where prompts can be sent as ids; otherwise they go as text."""
    if engine.tokenizer_path is None or not result.capabilities.token_ids:
        return None
    return PromptTokenizer.load(Path(engine.tokenizer_path).expanduser())


async def answers(client: CompletionClient) -> bool:
    """Tell whether a server answers now."""
    try:
        await client.models()
    except RequestRefused as error:  # some have no list of models, and answer so
        return error.status in (404, 405)
    except EngineError:
        return False
    return True
