"""The job that compares precisions, against servers whose likelihoods are known."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from math import exp, log
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db.cancelling import Cancelled
from db.database import Database
from db.identity import AS_STORED
from db.settings import settings
from db.tables import ModelVersion
from serving.engine.client import CompletionClient
from serving.formats.tokenizer import PromptTokenizer
from tests.fakes.engines import FixedEngines
from tests.fakes.server import FakeServer
from tests.unit.sweep_lab import QUICK, assert_every_slot_once, fill, registry_of, served
from workbench.jobs.contracts import JobContext
from workbench.precision.job import _Comparison
from workbench.precision.spec import CompareSpec
from workbench.precision.store import comparisons_of
from workbench.precision.texts import Asked, prepare

SPEC = CompareSpec(model="base", questions=4, max_tokens=64, format="tagged@1")
REFERENCE, OTHER = -1.0, -2.0
"""What either server finds each token worth, in nats."""


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    """Two servers: the second one ends every text with another word."""
    made = [
        FakeServer(models=("base",), log_prob=lambda *_: REFERENCE, text=lambda *_: "so it is"),
        FakeServer(models=("base@fp8",), log_prob=lambda *_: OTHER, text=lambda *_: "so it was"),
    ]
    for server in made:
        server.start()
    yield made
    for server in made:
        server.stop()


def context_of(database: Database, said: list[str]) -> JobContext:
    context = JobContext(
        job=cast(Any, SimpleNamespace(priority=0)),
        database=database,
        settings=settings(),
        pool=cast(Any, SimpleNamespace(device_note=None)),
    )
    context.report = lambda done, total, message: said.append(f"{done}/{total} {message}")  # type: ignore[method-assign]
    return context


async def compared(
    context: JobContext, asked: list[Asked], servers: list[FakeServer], folder: Path
) -> dict[str, Any]:
    tokenizer = PromptTokenizer.load(folder)
    async with AsyncExitStack() as stack:
        models = []
        for one, server in zip(asked, servers, strict=True):
            client = CompletionClient(server.endpoint, timeout_s=10, retry=QUICK)
            await stack.enter_async_context(client)
            models.append(served(client, one.model.id, one.model.name, tokenizer=tokenizer))
        engines = cast(Any, FixedEngines(models, together=False))
        return await _Comparison(context, SPEC, asked).run(engines)


@pytest.fixture
def asked(database: Database) -> list[Asked]:
    fill(database, 4, ())
    registry = registry_of(database)
    with database.write() as session:
        values = {"name": "base", "kind": "base", "precision": AS_STORED, "digest": "sha256:b"}
        session.add(ModelVersion(**values, path="/models/base", context_length=4096))
        session.flush()
        return prepare(session, registry, SPEC)


async def test_the_figures_are_those_of_the_servers_likelihoods(
    database: Database, asked: list[Asked], servers: list[FakeServer], embedded_model: Path
) -> None:
    said: list[str] = []
    result = await compared(context_of(database, said), asked, servers, embedded_model)
    (found,) = result["comparisons"]
    p, q = exp(REFERENCE), exp(OTHER)
    expected = p * (REFERENCE - OTHER) + (1 - p) * log((1 - p) / (1 - q))
    assert found["kl"]["value"] == pytest.approx(expected, rel=1e-6)
    assert found["rest"] == pytest.approx(1 - p)
    assert (found["identical"]["value"], found["n_questions"]) == (0.0, 4)
    assert 0 < found["prefix"]["value"] < found["length"]
    for one in asked:
        assert_every_slot_once(database, one.sweep_id, one.n_slots)
    with database.read() as session:
        (stored,) = comparisons_of(session, asked[0].model.id)
    assert {"model": stored.model, "precision": stored.precision, **stored.result} == found
    assert said[-1].startswith("20/20 base@fp8: reading likelihoods")
    assert any("left" in line for line in said)


async def test_a_second_run_writes_nothing_anew_and_a_cancelled_one_ends(
    database: Database, asked: list[Asked], servers: list[FakeServer], embedded_model: Path
) -> None:
    await compared(context_of(database, []), asked, servers, embedded_model)
    before = [server.written_tokens for server in servers]
    await compared(context_of(database, []), asked, servers, embedded_model)
    # Each text that is scored has one token written after it, which nobody reads.
    assert [one.written_tokens for one in servers] == [n + SPEC.questions for n in before]
    context = context_of(database, [])
    context.cancelled.set()
    with pytest.raises(Cancelled):
        await compared(context, asked, servers, embedded_model)
