"""A round as one job: its steps, its pause, what kills and failures leave, and the device."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import HttpUrl

from db.cancelling import Cancelled
from db.database import Database, open_database
from db.errors import Q2QError, UsageError
from db.jobs import JobRow, get_job, request_cancel
from db.models import declare_model, find_model, get_model
from db.rounds import (
    ON_DEVICE,
    RoundRow,
    decide_round,
    find_round,
    is_rejected,
    list_rounds,
    move_round,
    reject_round,
)
from db.settings import ExternalServer, Settings
from db.store.schema import upgrade
from db.tables import ModelVersion, Question, TrainingRun
from db.workers.live import register_worker
from serving.importers.questions import import_questions
from serving.importers.readers import read_rows
from tests.fakes.server import FakeServer
from workbench.jobs.contracts import JobContext
from workbench.jobs.engines import EnginePool
from workbench.jobs.loop import Worker
from workbench.rounds.job import RoundRun
from workbench.rounds.spec import load_round, parse_round
from workbench.rounds.start import begin_round, check_disk, needed_bytes, queue_round

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "rounds" / "first.yaml"


def whole(prompt: str, choice_index: int, seed: int | None) -> str:
    return f"You should look at it {choice_index} times.\n<|response|>It is so {choice_index}."


@pytest.fixture(autouse=True)
def base_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a model on a fake server stands for the base, which no training would take."""
    monkeypatch.setattr("workbench.rounds.start.check_training", lambda *given: None)


class Lab:
    """A store with some of the example training set, a fake server with two models, a worker.

    The training itself is for other tests: here it only leaves the rows that a round points at.
    """

    def __init__(self, home: Path, server: FakeServer) -> None:
        server.models = ("small", "small-first", "small-adapter")
        server.text = whole
        servers = [ExternalServer(name="lab", url=HttpUrl(server.url))]
        self.settings = Settings(home=home, servers=servers)
        self.database: Database = open_database(self.settings.database)
        upgrade(self.database)
        import_questions(
            self.database,
            read_rows(ROOT / "examples" / "training" / "held_out.jsonl"),
            read_rows(ROOT / "examples" / "training" / "japanese.jsonl"),
            source="example",
        )
        with self.database.write() as session:
            held_out = session.query(Question).filter(Question.held_out.is_(True)).all()
            assert len(held_out) > 20
            session.add(ModelVersion(name="small", kind="declared", context_length=4096))
        self.calls: list[str] = []
        self.fails: str | None = None
        self.hangs: str | None = None
        self.flaw: str | None = None

    def begin(self, **changes: Any) -> RoundRow:
        config = load_round(EXAMPLE).as_config() | {"base": "small"} | changes
        config["compare"] = {"questions": {"held_out": True, "limit": 6}, "variants": 2}
        return begin_round(self.database, self.settings, parse_round(config))

    async def prepare(self, context: JobContext, found: RoundRow) -> None:
        """Nothing was pruned here."""

    async def train(self, context: JobContext, found: RoundRow, settings: Mapping[str, Any]) -> int:
        await self._note("train", context)
        assert found.dataset_id is not None
        with self.database.write() as session:
            run = TrainingRun(
                dataset_id=found.dataset_id,
                base_model_version_id=found.starts_from_id,
                method="sft",
                config=dict(settings),
                state="done",
            )
            session.add(run)
            session.flush()
            return run.id

    def adapter(self, context: JobContext, found: RoundRow) -> int:
        self.calls.append("adapter")
        return self._model("small-adapter")

    async def merge(self, context: JobContext, found: RoundRow) -> int:
        await self._note("merge", context)
        return self._model("small-first")

    async def verify(self, context: JobContext, model_id: int) -> str | None:
        await self._note("verify", context)
        return self.flaw

    def _model(self, name: str) -> int:
        with self.database.write() as session:
            return declare_model(session, name, "lab", context_length=4096, tokenizer_hash=None).id

    async def _note(self, name: str, context: JobContext) -> None:
        self.calls.append(name)
        assert "round 'first'" in (context.pool.device_note or "")
        if self.fails == name:
            raise Q2QError(f"{name} went wrong.")
        if self.hangs == name:
            await context.cancelled.wait()
            raise Cancelled

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[EnginePool]:
        stop = asyncio.Event()
        async with EnginePool(self.settings, self.database) as pool:
            await pool.start(load_default=False)
            with self.database.write() as session:
                row = register_worker(session, host="here", home=str(self.settings.home_dir))
            worker = Worker(
                self.database,
                self.settings,
                pool,
                lambda kind: lambda context: RoundRun(context, self).run(),
                row,
                heartbeat_s=0.02,
            )
            running = asyncio.create_task(worker.run(stop))
            try:
                yield pool
            finally:
                stop.set()
                await running

    def queue(self, round_id: int, *, approved: bool = False) -> int:
        with self.database.write() as session:
            return queue_round(session, round_id, approved=approved)

    def read(self) -> RoundRow:
        with self.database.read() as session:
            return find_round(session, "first")

    def job(self, job_id: int) -> JobRow:
        with self.database.read() as session:
            return get_job(session, job_id)

    async def ended(self, job_id: int) -> JobRow:
        async with asyncio.timeout(20):
            while self.job(job_id).is_active:
                await asyncio.sleep(0.02)
        return self.job(job_id)


@pytest.fixture
def lab(tmp_path: Path, fake_server: FakeServer) -> Iterator[Lab]:
    lab = Lab(tmp_path, fake_server)
    yield lab
    lab.database.close()


async def test_a_round_pauses_for_approval_and_then_goes_through(lab: Lab) -> None:
    found = lab.begin()
    assert (found.step, found.parent_id) == ("dataset", None)
    async with lab.worker():
        job = await lab.ended(lab.queue(found.id))
        assert job.result is not None
        assert job.result["waiting_for"] == "approval"
        assert set(job.result["seconds"]) == {"dataset"}
        waiting = lab.read()
        assert (waiting.step, waiting.state, lab.calls) == ("approval", "waiting", [])
        assert waiting.dataset_id is not None
        with lab.database.write() as session:
            with pytest.raises(UsageError, match="Say why"):
                reject_round(session, found.id, " ")
            rejected = reject_round(session, found.id, "One question gives half of the rows.")
            assert is_rejected(rejected)
            assert (rejected.step, rejected.state) == ("approval", "done")
        job = await lab.ended(lab.queue(found.id, approved=True))  # after all
    assert job.error is None
    assert job.result is not None
    steps = ["device", "train", "merge", "verify", "server", "sweep", "compare"]
    assert list(job.result["seconds"]) == steps
    ended = lab.read()
    assert (ended.step, ended.state) == ("ended", "done")
    assert ended.verdict == "not_enough_questions", "six questions show no absence of harm"
    assert "100 % of its outputs are well-formed" in (ended.reason or "")
    assert lab.calls == ["train", "merge", "verify"]
    with lab.database.write() as session, pytest.raises(UsageError, match="has ended"):
        queue_round(session, found.id)
    with lab.database.write() as session, pytest.raises(UsageError, match="at the step ended"):
        reject_round(session, found.id, "too late")


@pytest.mark.parametrize("step", ["train", "merge", "verify"])
async def test_a_failed_step_is_said_and_done_again(lab: Lab, step: str) -> None:
    found = lab.begin()
    lab.fails = step
    async with lab.worker():
        job = await lab.ended(lab.queue(found.id, approved=True))
        assert (job.state, job.error) == ("failed", f"{step} went wrong.")
        assert lab.read().state == "failed"
        assert lab.read().step == step
        before = len(lab.calls)
        lab.fails = None
        job = await lab.ended(lab.queue(found.id, approved=True))
    assert job.state == "done", job.error
    assert lab.calls[before:] == list(ON_DEVICE[ON_DEVICE.index(step) :])
    assert lab.read().state == "done"


async def test_a_merge_that_fails_its_proof_is_not_used_and_merged_anew(lab: Lab) -> None:
    found = lab.begin()
    lab.flaw = "The stop token was lost."
    async with lab.worker():
        job = await lab.ended(lab.queue(found.id, approved=True))
        assert job.error == ("The merge failed its proof and is not used. The stop token was lost.")
        failed = lab.read()
        assert (failed.step, failed.state, failed.sweep_id) == ("merge", "failed", None)
        assert failed.merged_model_version_id is None
        lab.flaw = None
        job = await lab.ended(lab.queue(found.id, approved=True))
    assert job.state == "done", job.error
    assert lab.calls == ["train", "merge", "verify", "merge", "verify"]


async def test_a_round_without_merge_serves_its_adapter(lab: Lab) -> None:
    found = lab.begin(merge=False)
    async with lab.worker():
        job = await lab.ended(lab.queue(found.id, approved=True))
    assert job.state == "done", job.error
    assert lab.calls == ["train", "adapter"]
    with lab.database.read() as session:
        assert get_model(session, lab.read().merged_model_version_id or 0).name == "small-adapter"


async def test_a_cancelled_round_goes_on_at_its_step(lab: Lab) -> None:
    found = lab.begin()
    lab.hangs = "train"
    async with lab.worker():
        job_id = lab.queue(found.id, approved=True)
        async with asyncio.timeout(20):
            while not lab.calls:
                await asyncio.sleep(0.02)
        with lab.database.write() as session:
            request_cancel(session, job_id)
        assert (await lab.ended(job_id)).state == "cancelled"
        assert (lab.read().step, lab.read().state) == ("train", "open")
        lab.hangs = None
        await lab.ended(lab.queue(found.id))
    assert lab.calls == ["train", "train", "merge", "verify"]


async def test_a_worker_that_ends_leaves_the_round_to_the_next_one(lab: Lab) -> None:
    found = lab.begin()
    lab.hangs = "train"
    async with lab.worker():
        job_id = lab.queue(found.id, approved=True)
        async with asyncio.timeout(20):
            while not lab.calls:
                await asyncio.sleep(0.02)
    assert lab.job(job_id).state == "queued"
    lab.hangs = None
    async with lab.worker():
        assert (await lab.ended(job_id)).state == "done"
    assert lab.read().verdict == "not_enough_questions"


async def test_the_device_waits_for_others_and_others_wait_for_it(lab: Lab) -> None:
    order: list[str] = []
    never = asyncio.Event()
    async with EnginePool(lab.settings, lab.database) as pool:
        with pool.for_job() as first, pool.for_job() as second, pool.for_job() as own:
            await pool._lease(first, 1)
            holds = asyncio.Event()

            async def hold() -> None:
                async with pool.device_for(own, lambda: "until soon", never):
                    order.append(f"device: {pool.device_note}")
                    holds.set()
                    await asyncio.sleep(0.05)
                order.append("free")

            async def late() -> None:
                await pool._lease(second, 1)
                order.append("second")

            holding = asyncio.create_task(hold())
            await asyncio.sleep(0.01)
            waiting = asyncio.create_task(late())
            await asyncio.sleep(0.01)
            assert order == []
            with pool.for_job(is_interactive=True) as person:
                await asyncio.wait_for(pool._lease(person, 1), 1)
            pool._leases.pop(first)
            await pool._notify()
            await holds.wait()
            await asyncio.gather(holding, waiting)
        assert order == ["device: until soon", "free", "second"]
        assert pool.device_note is None
        stopped = asyncio.Event()
        with pool.for_job() as other, pool.for_job() as own:
            await pool._lease(other, 1)
            asyncio.get_running_loop().call_later(0.02, stopped.set)
            with pytest.raises(Cancelled):
                async with pool.device_for(own, lambda: "", stopped):
                    pass


def test_a_round_is_begun_once_and_says_where_it_starts(lab: Lab) -> None:
    assert lab.begin() == lab.begin()
    with pytest.raises(UsageError, match="another config"):
        lab.begin(train={"preset": "laptop"})
    with pytest.raises(UsageError, match="no model to go on from yet"):
        lab.begin(name="second", **{"from": "first"})
    with lab.database.write() as session:
        move_round(session, lab.read().id, merged_model_version_id=1)
    second = lab.begin(name="second", **{"from": "first"})
    assert (second.parent_id, second.starts_from_id) == (lab.read().id, 1)
    with lab.database.read() as session:
        assert [one.name for one in list_rounds(session)] == ["second", "first"]


def test_a_verdict_needs_its_reason_and_a_comparison(lab: Lab) -> None:
    found = lab.begin()
    with lab.database.write() as session:
        with pytest.raises(UsageError, match="once it has been compared"):
            decide_round(session, found.id, "drop", "It is worse.")
        move_round(session, found.id, step="ended")
        with pytest.raises(UsageError, match="Say why"):
            decide_round(session, found.id, "drop", " ")
        assert decide_round(session, found.id, "branch", "Odd. ").reason == "Odd."
        with pytest.raises(UsageError, match="choose one of keep, drop, branch"):
            decide_round(session, found.id, "not_enough_questions", "Hm.")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"base": "x"}}, "base is the round's own key"),
        ({"compare": {"temprature": 1}}, "compare.temprature"),
        ({"compare": {"margins": {"clean": 0}}}, "compare.margins.clean"),
        ({"compare": {"margins": {"tokens": 1}}}, "compare.margins.tokens"),
        ({"name": "a b"}, "name"),
        ({"dataset": {"name": "x", "kind": "sft", "take": {}}}, "at least one of rated"),
    ],
)
def test_mistakes_in_a_round_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_round({"name": "x", "dataset": "d"} | changes)


def test_a_disk_that_is_too_small_is_said_before_anything_runs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab.database.read() as session:
        model = find_model(session, "small")
    assert needed_bytes(model, merge=True) == 1_000_000_000
    seven = replace(model, n_parameters=7_000_000_000)
    assert needed_bytes(seven, merge=True) - needed_bytes(seven, merge=False) == 14_000_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(Q2QError, match=r"writes about 1\.0 GB"):
        check_disk(lab.settings.home_dir, model, merge=True)


def test_a_round_called_by_a_number_is_not_mistaken_for_the_one_of_that_number(lab: Lab) -> None:
    first = lab.begin()
    second = lab.begin(name="1")
    assert (first.id, second.id) == (1, 2)
    with lab.database.write() as session:
        assert find_round(session, 1).name == "first"
        assert find_round(session, "1").name == "1"
        queue_round(session, first.id)
    with pytest.raises(UsageError, match="There is no round 9"), lab.database.read() as session:
        find_round(session, 9)
