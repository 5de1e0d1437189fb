"""Model servers as the store knows them: state and progress for pages, written by the worker."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.settings import check_server_name, check_server_url, masked
from db.tables import Engine, EngineModel, ModelVersion, Worker, utc_now
from db.tables.base import as_row
from db.workers.leases import is_live, store_now
from db.workers.live import live_workers

LOCAL = "local"
"""Name of the workbench's own server."""

Offers = Mapping[str, Mapping[str, float]]
"""Name of a model in requests → its price, see ``EngineRow.offers``."""
EngineState = Literal["stopped", "starting", "ready", "unhealthy", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """A model version that an engine offers now."""

    model_version_id: int
    name: str
    served_name: str
    """How requests call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """Memory of one GPU, whoever uses it."""

    index: int
    name: str
    memory_used_gib: float
    memory_total_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineUse:
    """How busy one of the engines behind a server's URL is."""

    engine: int
    """Its number; there are several with data parallelism."""
    running: int
    """Sequences that it decodes."""
    waiting: int
    kv_cache_usage: float
    """0 to 1."""
    tokens_per_second: float | None
    """Written since the look before; None at the first."""
    gpus: tuple[GpuUse, ...] = ()
    """Those that it has, where the server runs on this machine."""
    node: str | None = None
    """Address of its machine, where a server's engines are on several."""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "EngineUse":
        """Return what ``save_load`` wrote."""
        return cls(**{**told, "gpus": tuple(GpuUse(**gpu) for gpu in told["gpus"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One engine; safe to use after the session is closed."""

    id: int
    name: str
    kind: str
    worker_id: int | None
    """Whose child it is."""
    worker: str | None
    """Host and home of that worker."""
    url: str | None
    """For reading and for requests; user and password of older stores are masked."""
    api_key_env: str | None
    tokenizer_path: str | None
    model_name: str | None
    offers: dict[str, dict[str, float]] | None
    """Of its models, those that are used, by their names in requests, each with its price where it
    has one (``input`` and ``output``, US dollars for a million tokens). None: all, without."""
    state: str
    wanted: bool
    progress: float | None
    message: str | None
    software: str | None
    capabilities: dict[str, Any]
    probed_at: datetime | None
    updated_at: datetime
    models: tuple[ServedVersion, ...]
    load: tuple[EngineUse, ...]
    """Of each of its engines; nothing while it is not ready, or does not tell."""


def list_engines(session: Session) -> list[EngineRow]:
    """Return the engines, the workbench's own first; those of workers that ended are left out.

    So are external ones that were removed. They keep their rows for the sake of what they wrote.
    """
    query = (
        select(Engine)
        .where(or_(Engine.kind == "child", Engine.wanted))
        .order_by(Engine.kind, Engine.id)
    )
    engines = [_row(session, engine) for engine in session.scalars(query)]
    own = [engine for engine in engines if engine.kind == "child"]
    if len(own) > 1:
        live = {worker.id for worker in live_workers(session)}
        shown = [engine for engine in own if engine.worker_id in live] or own[:1]
        engines = [engine for engine in engines if engine.kind != "child" or engine in shown]
    return engines


def ensure_local(session: Session, worker_id: int | None = None) -> EngineRow:
    """Return the own engine of a worker, writing its row where it has none.

    It takes over the row of a worker that lives no more. The first one is called ``local``,
    further ones ``local@2`` and so on.
    """
    others = select(Worker.id).where(is_live(store_now(session)), Worker.id != (worker_id or 0))
    is_free = or_(Engine.worker_id.is_(None), Engine.worker_id.not_in(others))
    engine = session.scalar(
        select(Engine)
        .where(Engine.kind == "child", is_free)
        .order_by((Engine.worker_id == worker_id).is_not(True), Engine.id)
    )
    if engine is None:
        n = session.scalar(select(func.count()).where(Engine.kind == "child")) or 0
        engine = Engine(name=f"{LOCAL}@{n + 1}" if n else LOCAL, kind="child")
        session.add(engine)
    engine.worker_id = worker_id or engine.worker_id
    session.flush()
    return _row(session, engine)


def save_external(
    session: Session,
    name: str,
    url: str,
    *,
    api_key_env: str | None = None,
    tokenizer_path: str | None = None,
    model_name: str | None = None,
    offers: Offers | None = None,
) -> int:
    """Write what the settings say of an external engine, new or changed, and return its id.

    Raises:
        UsageError: The name is that of the workbench's own engine, or the URL cannot be kept.
    """
    check_server_url(url)
    if name == LOCAL:
        raise UsageError(
            "The name {local!r} belongs to the workbench's own server; choose another.", local=LOCAL
        )
    engine = session.scalar(select(Engine).where(Engine.name == name))
    if engine is None:
        engine = Engine(name=name, kind="external", url=url)
        session.add(engine)
    elif engine.url != url:
        engine.state, engine.message, engine.probed_at = "stopped", None, None
    engine.url, engine.api_key_env, engine.tokenizer_path = url, api_key_env, tokenizer_path
    engine.model_name = model_name
    engine.offers = {name: dict(price) for name, price in offers.items()} if offers else None
    engine.wanted = True
    session.flush()
    return engine.id


def add_external(
    session: Session,
    name: str,
    url: str,
    *,
    api_key_env: str | None = None,
    tokenizer_path: str | None = None,
    model_name: str | None = None,
    offers: Offers | None = None,
) -> int:
    """Add an external engine by URL and return its id; the worker probes it next.

    Raises:
        UsageError: The name is taken or no name, or the URL is no URL or holds a password.
    """
    check_server_name(name)
    known = session.scalar(select(Engine).where(Engine.name == name, Engine.wanted))
    if known is not None:
        raise UsageError(
            "There is a model server {name!r} already; choose another name.", name=name
        )
    return save_external(
        session,
        name,
        url,
        api_key_env=api_key_env,
        tokenizer_path=tokenizer_path,
        model_name=model_name,
        offers=offers,
    )


def set_price(session: Session, name: str, model: str, price: Mapping[str, float]) -> None:
    """Write the price of a model of an external engine, in US dollars for a million tokens.

    Args:
        session: One that writes.
        name: Of the engine.
        model: Its name in requests.
        price: ``input`` and ``output``; empty where it is not known.

    Raises:
        UsageError: There is no such engine, or it does not offer the model.
    """
    engine = _external(session, name)
    offered = session.scalars(
        select(EngineModel.served_name).where(EngineModel.engine_id == engine.id)
    )
    known = engine.offers or {one: {} for one in offered}
    if model not in known:
        raise UsageError(
            "The server {name} offers no model {model!r} (it offers {known}).",
            name=name,
            model=model,
            known=", ".join(known) or "none",
        )
    engine.offers = {**known, model: dict(price)}


def remove_external(session: Session, name: str) -> str | None:
    """Take an external engine out of use. What it wrote stays.

    Returns:
        Its address, where no other one in use has it: what is kept for it may go.

    Raises:
        UsageError: There is none with this name.
    """
    engine = _external(session, name)
    engine.wanted, engine.state, engine.message = False, "stopped", None
    session.execute(delete(EngineModel).where(EngineModel.engine_id == engine.id))
    session.flush()
    others = session.scalars(select(Engine.url).where(Engine.wanted, Engine.url.is_not(None)))
    used = {one.rstrip("/") for one in others if one is not None}
    return engine.url if engine.url is not None and engine.url.rstrip("/") not in used else None


def _external(session: Session, name: str) -> Engine:
    engine = session.scalar(select(Engine).where(Engine.name == name, Engine.kind == "external"))
    if engine is None or not engine.wanted:
        raise UsageError("There is no external model server {name!r}.", name=name)
    return engine


def save_engine_state(
    session: Session,
    engine_id: int,
    state: EngineState,
    *,
    progress: float | None = None,
    message: str | None = None,
) -> None:
    """Write what an engine does now. An engine that isn't ready offers no models."""
    engine = session.get_one(Engine, engine_id)
    engine.state, engine.progress, engine.message = state, progress, message
    engine.updated_at = utc_now()
    if state != "ready":
        session.execute(delete(EngineModel).where(EngineModel.engine_id == engine_id))


def save_offer(
    session: Session,
    engine_id: int,
    models: Mapping[str, int],
    *,
    software: str | None,
    capabilities: Mapping[str, Any],
    message: str | None = None,
) -> None:
    """Write what a probe found: the engine is ready.

    Args:
        session: One that writes.
        engine_id: The engine that was probed.
        models: Name in requests → id of the model version.
        software: Name and version that it reports.
        capabilities: What it was seen to do.
        message: What people should know of it.
    """
    save_engine_state(session, engine_id, "ready", progress=1.0, message=message)
    engine = session.get_one(Engine, engine_id)
    engine.software, engine.capabilities = software, dict(capabilities)
    engine.probed_at = utc_now()
    session.execute(delete(EngineModel).where(EngineModel.engine_id == engine_id))
    session.add_all(
        EngineModel(engine_id=engine_id, model_version_id=model_id, served_name=name)
        for name, model_id in models.items()
    )
    session.flush()


def servers_of(session: Session, model_version_ids: Collection[int]) -> dict[int, tuple[str, ...]]:
    """Return the names of the servers that offer each version now; several are one pool."""
    rows = session.execute(
        select(EngineModel.model_version_id, Engine.name)
        .join(Engine, Engine.id == EngineModel.engine_id)
        .where(EngineModel.model_version_id.in_(model_version_ids))
        .order_by(Engine.kind, Engine.id)
    )
    found: dict[int, tuple[str, ...]] = {}
    for model_id, name in rows:
        found[model_id] = (*found.get(model_id, ()), name)
    return found


def save_load(session: Session, engine_id: int, uses: Sequence[EngineUse]) -> None:
    """Write how busy the engines of a server are."""
    session.get_one(Engine, engine_id).load = {"engines": [asdict(use) for use in uses]}


def set_wanted(session: Session, engine_id: int, wanted: bool) -> None:
    """Write whether people want the engine to run; a worker leaves an unwanted one alone."""
    session.get_one(Engine, engine_id).wanted = wanted


def _row(session: Session, engine: Engine) -> EngineRow:
    offered = session.execute(
        select(EngineModel.model_version_id, ModelVersion.name, EngineModel.served_name)
        .join(ModelVersion, ModelVersion.id == EngineModel.model_version_id)
        .where(EngineModel.engine_id == engine.id)
        .order_by(EngineModel.id)
    )
    models = tuple(ServedVersion(**row._mapping) for row in offered)
    url, message = engine.url and masked(engine.url), engine.message and masked(engine.message)
    told = (engine.load or {}).get("engines", ()) if engine.state == "ready" else ()
    load = tuple(map(EngineUse.from_json, told))
    worker = session.get(Worker, engine.worker_id) if engine.worker_id is not None else None
    return as_row(
        EngineRow,
        engine,
        models=models,
        url=url,
        message=message,
        load=load,
        worker=f"{worker.host} ({worker.home})" if worker is not None else None,
    )
