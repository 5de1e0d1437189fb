"""A real vLLM server as a child: what it tells while it starts, and who may use it.

How it dies and comes back: ``test_worker_crash``.
"""

from pathlib import Path

import psutil
import pytest

from serving.engine.client import CompletionClient
from serving.engine.messages import CompletionRequest, Endpoint, RequestRefused, SamplingParameters
from serving.engine.server import (
    ServerRecord,
    read_record,
)
from tests.engine_fixture import VllmServer

pytestmark = pytest.mark.engine

IDS = [504, 3575, 282, 4649, 314]
GREEDY = SamplingParameters(temperature=0, max_tokens=12)


async def ask(endpoint: Endpoint, model: str) -> str:
    async with CompletionClient(endpoint, timeout_s=120) as client:
        request = CompletionRequest(model=model, prompts=[IDS], sampling=GREEDY)
        return (await client.complete(request)).choices[0].text


def record_in(home: Path) -> ServerRecord:
    record = read_record(home)
    assert record is not None
    return record


def test_loading_was_told_step_by_step(vllm_server: VllmServer) -> None:
    loading = [told for told in vllm_server.told if told.state == "starting"]
    shares = [told.progress or 0 for told in loading]
    assert len(shares) >= 6
    assert shares == sorted(shares)
    assert "Loading the weights." in {told.message for told in loading}
    ready = vllm_server.told[-1]
    assert ready.state == "ready"
    assert ready.message.startswith("vllm 0.")
    assert ready.probe is not None
    assert ready.probe.reasons == {}


async def test_only_who_has_the_key_is_served(vllm_server: VllmServer) -> None:
    stranger = Endpoint(url=vllm_server.endpoint.url)
    with pytest.raises(RequestRefused, match="does not accept the key"):
        await ask(stranger, vllm_server.model)


def test_the_key_shows_nowhere_but_in_the_private_record(vllm_server: VllmServer) -> None:
    record = record_in(vllm_server.home)
    assert (vllm_server.home / "server.json").stat().st_mode & 0o777 == 0o600
    for pid in record.process.members():
        assert record.api_key not in " ".join(psutil.Process(pid).cmdline())
    assert record.api_key not in record.log.read_text()


def test_the_server_listens_on_this_machine_only(vllm_server: VllmServer) -> None:
    record = record_in(vllm_server.home)
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(record.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == record.port
    ]
    assert listening == ["127.0.0.1"]
