"""Whatever a server, a disk or a kill does: no sweep hangs, no slot is lost or done twice."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest

from db import errors
from db.database import Database, open_database
from serving.engine.client import CompletionClient, RetryPolicy, ServedModel
from serving.engine.messages import Capabilities, Endpoint, EngineUnavailable
from serving.sweeps import record
from serving.sweeps.run import run_sweep
from tests.fakes.engines import FixedEngines
from tests.fakes.fixtures import ROOT, fake_server_process
from tests.fakes.server import Behaviour, FakeServer
from tests.unit import sweep_lab as lab


@pytest.mark.parametrize(
    "behaviour",
    ["stall", "drop", "reset", "error_500", "busy_429", "garbage", "not_an_object", "no_choices"],
)
async def test_a_fault_that_passes_is_cured_by_trying_again(
    database: Database, fake_server: FakeServer, behaviour: Behaviour
) -> None:
    lab.fill(database)
    sweep_id = lab.save(database, variants=2, answers=1)
    fake_server.script("ok", behaviour, "ok")
    outcome = await lab.run(database, sweep_id, fake_server.endpoint, timeout_s=0.3)
    assert outcome.state == "done"
    assert outcome.done + outcome.failed + outcome.blocked == outcome.cells
    assert outcome.failed <= 2  # a stall is not repeated in this test, the rest is
    retried = await lab.run(database, sweep_id, fake_server.endpoint, retry_failed=True)
    assert retried.done == retried.cells
    lab.assert_every_slot_once(database, sweep_id, 12)


@pytest.mark.parametrize(
    "behaviour", ["stall", "drop", "error_500", "garbage", "no_choices", "too_long"]
)
async def test_a_fault_that_stays_becomes_failed_rows_and_blocked_answers(
    database: Database, fake_server: FakeServer, behaviour: Behaviour
) -> None:
    lab.fill(database, 2)
    sweep_id = lab.save(database, variants=2, answers=3)
    fake_server.default = behaviour
    outcome = await lab.run(database, sweep_id, fake_server.endpoint, timeout_s=0.2)
    assert (outcome.state, outcome.done) == ("done", 0)
    assert (outcome.failed, outcome.blocked) == (4, 12)
    assert lab.scalar(database, "SELECT min(length(error)) FROM generation") > 20
    assert lab.scalar(database, "SELECT count(*) FROM generation WHERE text IS NOT NULL") == 0

    resumed = await lab.run(database, sweep_id, fake_server.endpoint, timeout_s=0.2)
    assert lab.scalar(database, "SELECT max(attempt) FROM generation") == 1
    assert (resumed.failed, resumed.blocked) == (4, 12)

    fake_server.default = "ok"
    retried = await lab.run(database, sweep_id, fake_server.endpoint, retry_failed=True)
    assert (retried.done, retried.failed, retried.blocked) == (16, 0, 0)
    attempts = "SELECT count(*) FROM generation WHERE ok AND attempt = 2"
    assert lab.scalar(database, attempts) == 4


@pytest.mark.parametrize("behaviour", ["few_choices", "bad_choice", "aborted"])
async def test_of_a_partly_answered_request_the_good_choices_count(
    database: Database, fake_server: FakeServer, behaviour: Behaviour
) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database, variants=3, answers=0)
    fake_server.default = behaviour
    outcome = await lab.run(database, sweep_id, fake_server.endpoint)
    assert (outcome.done, outcome.failed) == (2, 1)


async def test_one_bad_prompt_does_not_stop_those_it_was_sent_with(
    database: Database, fake_server: FakeServer
) -> None:
    def text(prompt: str, choice_index: int, seed: int | None) -> str:
        if "number 7?" in prompt:
            raise RuntimeError("this prompt breaks the server")
        return "You should look."

    fake_server.text = text
    lab.fill(database, 60)
    sweep_id = lab.save(database, variants=1, answers=0)
    outcome = await lab.run(database, sweep_id, fake_server.endpoint, max_num_seqs=1024)
    assert (outcome.done, outcome.failed) == (59, 1)
    failed = "SELECT q.text FROM generation g JOIN question q ON q.id = g.question_id WHERE NOT ok"
    assert lab.scalar(database, failed) == "What is the colour of thing number 7?"


async def test_a_request_that_the_server_lost_is_sent_again_long_before_its_deadline(
    database: Database, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.engine.limiter.LOST_AFTER_S", 0.6)
    fake_server.script("ok", "lost", "ok")
    lab.fill(database, 6)
    sweep_id = lab.save(database, variants=2, answers=1)
    policy = RetryPolicy(attempts=3, stalls=2, first_pause_s=0.01)
    async with CompletionClient(fake_server.endpoint, timeout_s=600, retry=policy) as client:
        engines = FixedEngines([lab.served(client)])
        outcome = await asyncio.wait_for(run_sweep(database, sweep_id, engines), 60)
    assert fake_server.lost == 1
    assert (outcome.done, outcome.failed) == (outcome.cells, 0)


async def test_a_swarm_of_faults_never_hangs_and_loses_nothing(
    database: Database, fake_server: FakeServer
) -> None:
    kinds: list[Behaviour] = ["drop", "reset", "error_500", "busy_429", "garbage", "few_choices"]
    fake_server.faults = dict.fromkeys(kinds, 0.05)
    lab.fill(database, 20)
    sweep_id = lab.save(database, variants=3, answers=2)
    outcome = await lab.run(database, sweep_id, fake_server.endpoint, timeout_s=1.0)
    assert outcome.state == "done"
    assert outcome.done + outcome.failed + outcome.blocked == outcome.cells
    fake_server.faults = {}
    retried = await lab.run(database, sweep_id, fake_server.endpoint, retry_failed=True)
    assert retried.done == retried.cells
    lab.assert_every_slot_once(database, sweep_id, retried.cells)


class Restarting(FixedEngines):
    """Engines whose server dies; ``serve`` starts it again, on another port."""

    def __init__(self, model: ServedModel, server: FakeServer) -> None:
        super().__init__([model])
        self._model = model
        self._server = server
        self.clients: list[CompletionClient] = []

    async def serve(self, group: frozenset[int]) -> dict[int, ServedModel]:
        if self._server._thread is None:
            self._server.start()
        client = CompletionClient(self._server.endpoint, timeout_s=5, retry=lab.QUICK)
        self.clients.append(client)
        return {1: lab.served(client, max_num_seqs=8)}


async def test_a_server_that_dies_is_waited_for_and_nothing_counts_as_failed(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.latency_s = 0.03
    lab.fill(database, 15)
    sweep_id = lab.save(database, variants=3, answers=2)
    async with CompletionClient(fake_server.endpoint) as client:
        engines = Restarting(lab.served(client), fake_server)
        run = asyncio.create_task(run_sweep(database, sweep_id, engines))
        while fake_server.count < 12:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(fake_server.stop)
        outcome = await asyncio.wait_for(run, 60)
        for used in engines.clients:
            await used.close()
    assert len(engines.clients) > 1
    assert (outcome.state, outcome.done, outcome.failed) == ("done", outcome.cells, 0)
    lab.assert_every_slot_once(database, sweep_id, outcome.cells)


async def test_a_server_that_never_comes_back_ends_the_sweep_with_a_sentence(
    database: Database,
) -> None:
    lab.fill(database, 1)
    sweep_id = lab.save(database, variants=1, answers=1)
    outcome = await lab.run(database, sweep_id, Endpoint(url="http://127.0.0.1:9/v1"))
    assert (outcome.state, outcome.failed) == ("failed", 0)
    assert "Nothing answers" in (outcome.error or "")


async def test_an_engine_that_cannot_be_served_ends_the_sweep_with_its_sentence(
    database: Database, fake_server: FakeServer
) -> None:
    class Broken(FixedEngines):
        async def serve(self, group: frozenset[int]) -> dict[int, ServedModel]:
            raise EngineUnavailable("The model folder is gone; add the model again.")

    lab.fill(database, 1)
    outcome = await run_sweep(database, lab.save(database), Broken([]))
    assert (outcome.state, outcome.error) == (
        "failed",
        "The model folder is gone; add the model again.",
    )


@pytest.mark.parametrize("key", ["wrong", None])
async def test_a_wrong_key_fails_the_sweep_not_its_slots(
    database: Database, fake_server: FakeServer, key: str | None
) -> None:
    fake_server.api_key = "right"
    lab.fill(database, 2)
    sweep_id = lab.save(database)
    endpoint = Endpoint(url=fake_server.url, api_key=key)
    outcome = await lab.run(database, sweep_id, endpoint)
    assert (outcome.state, outcome.failed) == ("failed", 0)
    assert "does not accept the key" in (outcome.error or "")


async def test_a_prompt_that_kills_the_server_again_and_again_is_singled_out(
    database: Database,
) -> None:
    class Client:
        """A server that dies whenever it meets question 3."""

        def __init__(self, inner: CompletionClient) -> None:
            self._inner = inner
            self.endpoint = inner.endpoint
            self.metrics, self.health = inner.metrics, inner.health

        async def complete(self, request):  # type: ignore[no-untyped-def]
            if any("number 3?" in prompt for prompt in request.prompts):
                raise EngineUnavailable("The server died.")
            return await self._inner.complete(request)

    lab.fill(database, 6)
    sweep_id = lab.save(database, variants=1, answers=0)
    server = FakeServer()
    server.start()
    try:
        async with CompletionClient(server.endpoint) as inner:
            model = lab.served(Client(inner), capabilities=Capabilities(), engine_version=None)
            outcome = await asyncio.wait_for(
                run_sweep(database, sweep_id, FixedEngines([model])), 60
            )
    finally:
        server.stop()
    assert (outcome.state, outcome.done, outcome.failed) == ("done", 5, 1)
    assert "lost 3 times" in lab.scalar(database, "SELECT error FROM generation WHERE NOT ok")


async def test_a_full_disk_stops_the_sweep_and_leaves_nothing_half_written(
    database: Database, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.fill(database, 10)
    sweep_id = lab.save(database, variants=2, answers=1)

    def full(*arguments: object) -> None:
        raise errors.StoreFull("the store")

    with monkeypatch.context() as patch:
        patch.setattr(record, "store_findings", full)  # the last step of a commit
        outcome = await lab.run(database, sweep_id, fake_server.endpoint)
    assert outcome.state == "failed"
    assert "The disk of the store is full" in (outcome.error or "")
    assert lab.scalar(database, "SELECT count(*) FROM generation") == 0
    assert lab.scalar(database, "SELECT count(*) FROM reasoning_variant") == 0
    resumed = await lab.run(database, sweep_id, fake_server.endpoint)
    assert resumed.done == resumed.cells


async def test_a_run_that_is_torn_down_leaves_a_store_that_resumes(
    database: Database, fake_server: FakeServer
) -> None:
    fake_server.latency_s = 0.03
    lab.fill(database, 15)
    sweep_id = lab.save(database, variants=3, answers=2)
    async with lab.fixed_engines(fake_server.endpoint, max_num_seqs=4) as engines:
        run = asyncio.create_task(run_sweep(database, sweep_id, engines))
        while not lab.scalar(database, "SELECT count(*) FROM answer"):
            await asyncio.sleep(0.01)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    fake_server.latency_s = 0
    resumed = await lab.run(database, sweep_id, fake_server.endpoint)
    assert (resumed.state, resumed.done) == ("done", resumed.cells)
    lab.assert_every_slot_once(database, sweep_id, resumed.cells)


RUN_IN_A_PROCESS = """
import asyncio, sys
from db.database import open_database
from serving.engine.messages import Endpoint
from tests.unit import sweep_lab as lab
url, server, sweep_id = sys.argv[1:]
asyncio.run(lab.run(open_database(url), int(sweep_id), Endpoint(url=server), max_num_seqs=8))
"""


async def test_kill_9_in_mid_sweep_loses_no_committed_row_and_doubles_none(
    database: Database,
) -> None:
    lab.fill(database, 40)
    sweep_id = lab.save(database, variants=3, answers=2)
    url = str(database.engine.url)
    with fake_server_process("--latency-ms", "30") as (_, server):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN_IN_A_PROCESS, url, server, str(sweep_id)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        deadline = time.monotonic() + 60
        n_rows = 0
        while n_rows < 20 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            n_rows = lab.scalar(database, "SELECT count(*) FROM generation")
        process.send_signal(signal.SIGKILL)
        process.wait()
        committed = lab.rows(database, "SELECT id, text FROM generation ORDER BY id")
        assert 20 <= len(committed) < 40 * 9
        outcome = await lab.run(database, sweep_id, Endpoint(url=server))
    assert (outcome.state, outcome.done, outcome.failed) == ("done", 40 * 9, 0)
    lab.assert_every_slot_once(database, sweep_id, 40 * 9)
    assert lab.scalar(database, "PRAGMA integrity_check") == "ok"
    after = lab.rows(database, "SELECT id, text FROM generation ORDER BY id")
    assert after[: len(committed)] == committed


def test_stores_that_two_workers_share_by_mistake_still_hold_each_slot_once(
    database: Database, fake_server: FakeServer
) -> None:
    lab.fill(database, 5)
    sweeps = [lab.save(database, variants=2, answers=1) for _ in range(2)]
    other = open_database(str(database.engine.url) + "?timeout=30")  # claims of its own
    fake_server.latency_s = 0.05

    async def both() -> None:
        await asyncio.gather(
            lab.run(database, sweeps[0], fake_server.endpoint),
            lab.run(other, sweeps[1], fake_server.endpoint),
        )

    asyncio.run(both())
    other.close()
    for sweep_id in sweeps:
        lab.assert_every_slot_once(database, sweep_id, 20)


async def test_what_comes_while_the_last_batch_ends_is_written_too() -> None:
    written: list[int] = []
    ends, goes_on = threading.Event(), threading.Event()

    def read(batch: Sequence[int]) -> None:
        if not batch:  # of what is left after the last batch
            ends.set()
            goes_on.wait(10)

    def write(batch: Sequence[int]) -> Sequence[None]:
        written.extend(batch)
        return [None] * len(batch)

    async with record.Writer[int, None](write, lambda *_: None, read=read) as writer:
        writer.put([1])
        await asyncio.to_thread(ends.wait, 10)
        writer.put([2])
        asyncio.get_running_loop().call_later(0.01, goes_on.set)
    assert written == [1, 2]
