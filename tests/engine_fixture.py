"""The one real vLLM server that all tests of a session share, with the embedded model.

Take the fixture ``vllm_server`` and mark the test ``engine``. It starts with the first test that
asks for it (a minute or two on two cores) and ends with the session. Leave it as you found it:
a test that kills its server starts one of its own.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.identity import AS_STORED
from db.settings import Settings
from serving.engine.command import ServerSpec
from serving.engine.messages import Endpoint
from serving.engine.server import ServerRecord, read_record, write_record
from serving.engine.supervisor import EngineState, EngineSupervisor
from serving.models.embedded import ensure_embedded_model
from serving.models.folder import inspect_folder

LIMITS = {"kv_cache_gib": 1, "max_model_len": 1024, "max_num_seqs": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmServer:
    """A real server that is ready."""

    endpoint: Endpoint
    model: str
    """The name it serves the model by."""
    folder: Path
    """Weights and tokenizer of the model."""
    context_length: int
    """Of the server, which is less than the model's own."""
    home: Path
    """Its ``Q2Q_HOME``, with ``server.json`` and the log."""
    told: tuple[EngineState, ...]
    """The states it went through while starting."""

    @property
    def record(self) -> ServerRecord:
        """What its ``server.json`` holds."""
        record = read_record(self.home)
        assert record is not None
        return record

    def lend(self, home: Path) -> dict[str, str]:
        """Put it on record in ``home`` too; return the environment of a worker that adopts it.

        Kill such a worker: one that is asked to end would end the server with it.
        """
        write_record(home, self.record)
        limits = {f"Q2Q_{name.upper()}": str(value) for name, value in LIMITS.items()}
        return limits | {"Q2Q_HOME": str(home), "Q2Q_DEVICE": "cpu"}


def embedded_spec() -> ServerSpec:
    """Return how to serve the embedded model, made first if need be."""
    folder = ensure_embedded_model()
    context_length = inspect_folder(folder).context_length
    assert context_length is not None
    return ServerSpec(
        model=folder,
        served_name="smollm2-135m-instruct",
        context_length=context_length,
        precision=AS_STORED,
    )


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """The shared server."""
    settings = Settings(home=tmp_path_factory.mktemp("vllm"), **LIMITS)
    spec = embedded_spec()
    told: list[EngineState] = []
    starter = EngineSupervisor(settings, told.append)
    endpoint = asyncio.run(starter.ensure(spec))
    plan = starter.plan
    starter.detach()
    try:
        yield VllmServer(
            endpoint=endpoint,
            model=spec.served_name,
            folder=spec.model,
            context_length=plan.max_model_len,
            home=settings.home_dir,
            told=tuple(told),
        )
    finally:
        asyncio.run(EngineSupervisor(settings, told.append).stop())
