"""The workbench's own model server as the store and its jobs see it."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from db.database import Database
from db.engines import EngineRow, ensure_local, save_engine_state, save_offer, set_wanted
from db.errors import StoreBusy
from db.messages import Message
from db.models import ModelRow, get_model, limits_of, list_models, mark_unserved, note_fingerprint
from db.settings import Settings
from serving.engine.client import CompletionClient, ServedModel
from serving.engine.command import ServerSpec
from serving.engine.messages import FREE, Endpoint, EngineUnavailable
from serving.engine.plan import Limits, ServingPlan
from serving.engine.ray_cluster import cluster_of
from serving.engine.server import read_record
from serving.engine.supervisor import EngineState, EngineSupervisor
from serving.formats.tokenizer import PromptTokenizer
from serving.models.as_served import as_served
from serving.models.servable import served_rank, server_spec
from serving.models.tensor_files import ModelError
from workbench.jobs.offers import offered_capabilities

log = logging.getLogger(__name__)
_NO_ADAPTERS = "does not support LoRA"
"""Of vLLM's own sentence about an architecture."""
WRITE_EVERY_S = 0.5
"""Progress is written to the store at most so often."""


class LocalServer:
    """One vLLM child at a time: ``open``, serve, ``stop`` or ``hand_over``, ``close``."""

    def __init__(
        self, settings: Settings, database: Database, worker_id: int | None = None
    ) -> None:
        self._settings = settings
        self._database = database
        self._worker_id = worker_id
        self._supervisor = EngineSupervisor(settings, self._on_state)
        self._engine_id = 0
        self.cluster = cluster_of(settings)
        """Whose nodes serve the models; None: this machine does."""
        self._models: dict[str, ModelRow] = {}
        """Name in requests → version, of what is loaded or loading."""
        self._client: CompletionClient | None = None
        self._client_serves: tuple[int | None, int] = (None, 0)
        """The base that it is for, and the sequences that its server decodes together."""
        self._tokenizers: dict[str, PromptTokenizer] = {}
        self.was_running = False
        """A server ran when this worker came, whether or not it is still the same one."""
        self._tasks: list[asyncio.Task[None]] = []
        self._states: list[EngineState] = []
        self._has_state = asyncio.Event()
        self._last_message = ""

    async def open(self) -> None:
        """Begin to watch the server and to write its state."""
        record = read_record(self._settings.home_dir)
        self.was_running = record is not None and record.process.is_alive()
        if record is not None and self.was_running:
            self.cluster = record.spec.ray  # as the last one who loaded a model asked for
        with self._database.write() as session:
            self._engine_id = ensure_local(session, self._worker_id).id
            if not self.was_running:
                save_engine_state(session, self._engine_id, "stopped")
        self._tasks = [
            asyncio.create_task(self._supervisor.watch(), name="engine watch"),
            asyncio.create_task(self._write_states(), name="engine states"),
        ]

    async def close(self) -> None:
        """End the watching; what was not written yet is written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._write_state()
        if self._client is not None:
            await self._client.close()

    @property
    def loaded(self) -> tuple[ModelRow, ...]:
        """What is loaded or loading; empty where nothing is."""
        return tuple(self._models.values())

    @property
    def family_id(self) -> int | None:
        """The base that is loaded or loading."""
        return next((model.family_id for model in self._models.values()), None)

    @property
    def engine_id(self) -> int:
        """Its row in the store."""
        return self._engine_id

    async def ready(self) -> tuple[CompletionClient, ServingPlan] | None:
        """Return how it is reached and how it serves; None while it does not."""
        endpoint = self._supervisor.endpoint
        if endpoint is None:
            return None
        return await self._client_of(endpoint), self._supervisor.plan

    @property
    def is_wanted(self) -> bool:
        """False once a person stopped it."""
        return self._row().wanted

    def set_wanted(self, wanted: bool) -> None:
        """Remember what people want of it."""
        with self._database.write() as session:
            set_wanted(session, self._engine_id, wanted)

    async def serve(self, models: Sequence[ModelRow]) -> dict[int, ServedModel]:
        """Return ``models``, all of one family, once they are loaded.

        A caller that is cancelled leaves the loading go on.

        Raises:
            EngineUnavailable: They cannot be served; the sentence says why and what to do.
        """
        spec = self._spec(models)
        endpoint = await self._ensure(spec)
        self._check_served(models)
        client = await self._client_of(endpoint)
        plan = self._supervisor.plan
        return {
            model.id: ServedModel(
                model_version_id=model.id,
                engine_id=self._engine_id,
                client=client,
                served_name=model.name,
                tokenizer=self._tokenizer(spec.model),
                context_length=plan.max_model_len,
                capabilities=endpoint.capabilities,
                max_num_seqs=plan.total_num_seqs,
                engine_version=endpoint.software,
                price=FREE,
            )
            for model in models
        }

    async def _ensure(self, spec: ServerSpec) -> Endpoint:
        """Bring the server up, without adapters where vLLM has none for this architecture."""
        try:
            endpoint = await self._load(spec)
        except EngineUnavailable as error:
            if not spec.adapters or _NO_ADAPTERS not in str(error):
                raise
            self._forget(dict.fromkeys([one.name for one in spec.adapters], str(error)))
            return await self._load(spec.model_copy(update={"adapters": ()}))
        self._forget(self._supervisor.state.left_out)
        return endpoint

    async def _load(self, spec: ServerSpec) -> Endpoint:
        loading = asyncio.ensure_future(self._supervisor.ensure(spec))
        loading.add_done_callback(_retrieve)
        return await asyncio.shield(loading)

    def _forget(self, refused: Mapping[str, str]) -> None:
        note_refused(self._database, list(self._models.values()), refused)
        self._models = {name: one for name, one in self._models.items() if name not in refused}

    def _check_served(self, models: Sequence[ModelRow]) -> None:
        """Return if all ``models`` are served.

        Raises:
            EngineUnavailable: One is an adapter that was left out.
        """
        missing = next((model for model in models if model.name not in self._models), None)
        if missing is not None and self.cluster is not None:
            raise EngineUnavailable(
                "{model} is an adapter, and replicas on a Ray cluster serve whole models. Merge it "
                "with `q2q merge {model}`, and use the merged model.",
                model=missing.name,
            )
        if missing is not None:
            with self._database.read() as session:
                note = get_model(session, missing.id).note
            raise EngineUnavailable("{name} is not served: {why}", name=missing.name, why=note)

    async def stop(self) -> None:
        """End the server, also one that is starting or that an earlier worker left."""
        self._models = {}
        await self._supervisor.stop()

    async def hand_over(self) -> None:
        """Leave the server running for the next worker."""
        self._supervisor.detach()

    def _row(self) -> EngineRow:
        with self._database.write() as session:
            return ensure_local(session, self._worker_id)

    def _spec(self, models: Sequence[ModelRow]) -> ServerSpec:
        """Return the server for a family: its base and every adapter of it that is ready."""
        with self._database.write() as session:
            base = get_model(session, models[0].family_id)
            limits = Limits(**limits_of(session, base))
            adapters = [
                as_served(session, model, base.precision)
                if base.stored_id and base.precision
                else model
                for model in list_models(session)
                if model.kind == "adapter" and model.base_id == (base.stored_id or base.id)
            ]
        adapters = [model for model in adapters if _is_usable(model)]
        unusable = [model for model in models if not _is_usable(model)]
        if unusable:
            note = f" ({unusable[0].note})" if unusable[0].note else ""
            raise EngineUnavailable(
                "The model {unusable_name} is {state}{note}, or its folder is gone;"
                " add it again: `q2q model add`.",
                unusable_name=unusable[0].name,
                state=unusable[0].state,
                note=note,
            )
        adapters = servable(self._database, adapters) if self.cluster is None else []
        self._models = {model.name: model for model in (base, *adapters)}
        spec = server_spec(base, self._settings, adapters)
        return spec.model_copy(update={"ray": self.cluster, "limits": limits})

    def _tokenizer(self, folder: Path) -> PromptTokenizer:
        key = str(folder)
        if key not in self._tokenizers:
            self._tokenizers[key] = PromptTokenizer.load(folder)
        return self._tokenizers[key]

    async def _client_of(self, endpoint: Endpoint) -> CompletionClient:
        """Return its client, which follows a server that was started again to its new port."""
        serves = (self.family_id, self._supervisor.plan.total_num_seqs)
        if self._client is None or self._client_serves != serves:
            before, self._client_serves = self._client, serves
            self._client = CompletionClient(endpoint, timeout_s=self._settings.request_timeout_s)
            if before is not None:
                await before.close()
        elif self._client.endpoint != endpoint:
            await self._client.move_to(endpoint)
        return self._client

    def _on_state(self, state: EngineState) -> None:
        self._states.append(state)
        self._has_state.set()
        if state.message != self._last_message:
            self._last_message = state.message
            log.info("%s", state.message)

    async def _write_states(self) -> None:
        while True:
            await self._has_state.wait()
            newest = self._states[-1:]
            try:
                self._write_state()
            except StoreBusy as error:
                log.warning("The state of the model server could not be written: %s", error)
                self._states[:0] = newest
                self._has_state.set()
            await asyncio.sleep(WRITE_EVERY_S)

    def _write_state(self) -> None:
        """Write the newest state; those before it are of no interest any more."""
        self._has_state.clear()
        if not self._states:
            return
        state = self._states[-1]
        self._states.clear()
        with self._database.write() as session:
            if state.state == "ready" and state.probe is not None:
                if state.spec is not None and state.spec.served_name in self._models:
                    base = self._models[state.spec.served_name]
                    note_fingerprint(session, base.id, state.probe.fingerprint)
                save_offer(
                    session,
                    self._engine_id,
                    {
                        name: model.id
                        for name, model in self._models.items()
                        if name not in state.left_out
                    },
                    software=state.probe.software,
                    capabilities=offered_capabilities(
                        state.probe.capabilities, state.probe.reasons
                    ),
                    message=_plan_sentence(state) if self.cluster is None else state.message,
                )
            else:
                save_engine_state(
                    session,
                    self._engine_id,
                    state.state,
                    progress=state.progress,
                    message=state.message,
                )


def _plan_sentence(state: EngineState) -> str | None:
    plan = state.spec.plan if state.spec is not None else None
    return plan.why or None if plan is not None else None


def _is_usable(model: ModelRow) -> bool:
    return model.state == "ready" and model.folder is not None


def _retrieve(loading: asyncio.Future[Endpoint]) -> None:
    """Take note of how loading ended, also where nobody waits for it any more."""
    with contextlib.suppress(asyncio.CancelledError):
        loading.exception()


def servable(database: Database, adapters: Iterable[ModelRow]) -> list[ModelRow]:
    """Return the adapters that vLLM can serve; of others the store says why not."""
    found = []
    for adapter in adapters:
        try:
            served_rank(Path(adapter.path or ""))
        except ModelError as error:
            _leave_out(database, adapter, str(error))
        else:
            found.append(adapter)
    return found


def note_refused(
    database: Database, models: Sequence[ModelRow], refused: Mapping[str, str]
) -> None:
    """Write down which adapters the server refused, and why."""
    for model in models:
        if model.name in refused and model.kind == "adapter":
            _leave_out(
                database,
                model,
                Message(
                    "vLLM refused it ({why}). Merge it with `q2q merge {name}`, or add it again"
                    " with `q2q model add` to try once more.",
                    why=refused[model.name],
                    name=model.name,
                ),
            )


def _leave_out(database: Database, adapter: ModelRow, why: str) -> None:
    log.warning("The adapter %s is left out: %s", adapter.name, why)
    with database.write() as session:
        mark_unserved(session, adapter.id, why)
