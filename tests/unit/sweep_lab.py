"""What the tests of sweeps share: a store with questions and models, engines, a way to run."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from db.database import Database
from db.questions import NewQuestion, add_question
from db.tables import Engine, ModelVersion
from serving.engine.client import CompletionClient, RetryPolicy, ServedModel
from serving.engine.messages import Capabilities, Endpoint
from serving.formats.library import Registry, load_definitions, sync_definitions
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.run import SweepOutcome, run_sweep
from serving.sweeps.spec import parse_spec
from tests.fakes.engines import FixedEngines

QUICK = RetryPolicy(attempts=2, stalls=1, first_pause_s=0.01, max_pause_s=0.05)


def fill(database: Database, n_questions: int = 3, models: Sequence[str] = ("fake",)) -> None:
    """Put definitions, questions and declared models into the store."""
    with database.write() as session:
        sync_definitions(session, load_definitions())
        for i in range(n_questions):
            add_question(
                session,
                NewQuestion(
                    text=f"What is the colour of thing number {i}?",
                    reference_answer="blue" if i % 2 == 0 else None,
                    role="translator" if i % 3 == 2 else "assistant",
                ),
            )
        for name in models:
            session.add(ModelVersion(name=name, kind="declared", context_length=4096))
        session.add(Engine(name="lab", kind="external", url="http://127.0.0.1:1/v1"))


def registry_of(database: Database) -> Registry:
    with database.write() as session:
        return sync_definitions(session, load_definitions())


def save(database: Database, **spec: Any) -> int:
    """Plan and store a sweep over the tagged format, which needs no tokenizer."""
    registry = registry_of(database)
    parsed = parse_spec({"name": "lab", "formats": ["tagged@1"], **spec})
    with database.write() as session:
        return save_sweep(session, plan_sweep(session, parsed, registry))


def served(
    client: CompletionClient, model_id: int = 1, name: str = "fake", **changes: Any
) -> ServedModel:
    values: dict[str, Any] = {
        "model_version_id": model_id,
        "engine_id": 1,
        "client": client,
        "served_name": name,
        "tokenizer": None,
        "context_length": 4096,
        "capabilities": client.endpoint.capabilities,
        "max_num_seqs": 64,
        "engine_version": client.endpoint.software,
    }
    return ServedModel(**values | changes)


@asynccontextmanager
async def fixed_engines(
    endpoint: Endpoint, models: Sequence[str] = ("fake",), *, together: bool = True, **changes: Any
) -> AsyncIterator[FixedEngines]:
    """Yield engines that serve ``models`` (ids 1, 2, …) from one server."""
    timeout_s = changes.pop("timeout_s", 30.0)
    async with CompletionClient(endpoint, timeout_s=timeout_s, retry=QUICK) as client:
        yield FixedEngines(
            [served(client, i, name, **changes) for i, name in enumerate(models, 1)],
            together=together,
        )


async def run(
    database: Database, sweep_id: int, endpoint: Endpoint, *models: str, **options: Any
) -> SweepOutcome:
    """Run a sweep against one server within a deadline."""
    engine_options = {
        key: options.pop(key)
        for key in ("together", "timeout_s", "tokenizer", "context_length", "max_num_seqs")
        if key in options
    }
    async with fixed_engines(endpoint, models or ("fake",), **engine_options) as engines:
        return await asyncio.wait_for(run_sweep(database, sweep_id, engines, **options), 60)


def scalar(database: Database, query: str) -> Any:
    with database.read() as session:
        return session.execute(text(query)).scalar()


def rows(database: Database, query: str) -> list[Any]:
    with database.read() as session:
        return [tuple(row) for row in session.execute(text(query))]


def assert_every_slot_once(database: Database, sweep_id: int, cells: int) -> None:
    """Check what no crash may break: each slot done once, every text in place, nothing half."""
    linked = (
        "SELECT count(*), count(DISTINCT g.slot_key) FROM sweep_generation s"
        f" JOIN generation g ON g.id = s.generation_id WHERE s.sweep_id = {sweep_id} AND g.ok"
    )
    assert rows(database, linked) == [(cells, cells)]
    assert scalar(database, "SELECT count(*) FROM generation WHERE ok") == scalar(
        database,
        "SELECT (SELECT count(*) FROM reasoning_variant WHERE source = 'model')"
        " + (SELECT count(*) FROM answer WHERE source = 'model')",
    )


NO_LISTS = Capabilities(prompt_list=False)
