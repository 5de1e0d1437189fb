"""Real vLLM, real SIGKILL: the worker, then the server, die in mid-sweep; nothing is lost.

The server has adapters too: one that vLLM refuses ends nothing, the other one comes back with it.
"""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from db.settings import Settings
from serving.engine.client import CompletionClient
from serving.engine.command import HOME_VARIABLE
from serving.engine.messages import CompletionRequest, Endpoint, SamplingParameters
from serving.engine.server import ServerRecord, read_record

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
N_QUESTIONS, VARIANTS, ANSWERS = 4, 4, 2
CELLS = N_QUESTIONS * (VARIANTS + VARIANTS * ANSWERS)
SPEC = """
name: {name}
questions: {{file: questions.jsonl}}
formats: [chat@1]
variants: {variants}
answers: {answers}
reasoning_sampling: [{{temperature: {temperature}, max_tokens: 48}}]
answer_sampling: [{{temperature: {temperature}, max_tokens: 48}}]
"""
BASE = "smollm2-135m-instruct"
IDS = [504, 3575, 282, 4649, 314]
GREEDY = SamplingParameters(temperature=0, max_tokens=12)
QUESTIONS = (
    "Why do leaves change their colour in autumn?",
    "How does a bicycle stay upright?",
    "What makes bread rise?",
    "Why is sea water salty?",
)


class Workbench:
    """A home of its own, reached through the command line only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.env = os.environ | {
            "Q2Q_HOME": str(self.home),
            "Q2Q_DEVICE": "cpu",
            "Q2Q_KV_CACHE_GIB": "1",
            "Q2Q_MAX_MODEL_LEN": "1024",
            "Q2Q_MAX_NUM_SEQS": "8",
        }
        lines = (json.dumps({"instruction": text}) for text in QUESTIONS)
        (folder / "questions.jsonl").write_text("\n".join(lines), "utf-8")

    def spec(self, name: str, temperature: float) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(
            SPEC.format(name=name, variants=VARIANTS, answers=ANSWERS, temperature=temperature),
            "utf-8",
        )
        return path

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        with (self.folder / "stderr.log").open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "workbench.cli.main", *map(str, arguments)],
                cwd=ROOT,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def run(self, *arguments: object) -> Any:
        process = self.start(*arguments, "--json")
        return self.result(process)

    def result(self, process: "subprocess.Popen[str]") -> Any:
        out, _ = process.communicate(timeout=400)
        assert process.returncode == 0, (self.folder / "stderr.log").read_text()
        return json.loads(out)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        path = self.home / "q2q.sqlite"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    @property
    def record(self) -> ServerRecord:
        """What is on record of its server."""
        record = read_record(self.home)
        assert record is not None
        return record

    async def ask(self, *names: str) -> list[str]:
        """Return what its server writes as each of ``names``, asked for together."""
        record = self.record
        endpoint = Endpoint(url=record.url, api_key=record.api_key)
        async with CompletionClient(endpoint, timeout_s=120) as client:
            requests = [
                CompletionRequest(model=one, prompts=[IDS], sampling=GREEDY) for one in names
            ]
            results = await asyncio.gather(*map(client.complete, requests))
        return [result.choices[0].text for result in results]

    def written(self, sweep_id: int) -> dict[int, str]:
        """Return the texts that the sweep has so far, by generation."""
        found = self.rows(
            "SELECT g.id, g.text FROM generation g JOIN sweep_generation l"
            f" ON l.generation_id = g.id WHERE g.ok AND l.sweep_id = {sweep_id}"
        )
        return dict(found)

    def leftovers(self) -> list[int]:
        """Return processes of any model server of this home, whoever their parent is."""
        mark = f"{HOME_VARIABLE}={self.home}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def assert_complete(self, sweep_id: int, before: dict[int, str]) -> None:
        after = self.written(sweep_id)
        assert len(after) == CELLS
        assert {one: after.get(one) for one in before} == before, "a committed row changed"
        twice = "SELECT slot_key FROM generation WHERE ok GROUP BY slot_key HAVING count(*) > 1"
        assert self.rows(twice) == []
        assert self.rows("SELECT id FROM generation WHERE NOT ok") == []
        texts = "SELECT (SELECT count(*) FROM reasoning_variant), (SELECT count(*) FROM answer)"
        ok = "SELECT sum(kind = 'reasoning'), sum(kind = 'answer') FROM generation WHERE ok"
        assert self.rows(texts) == self.rows(ok)


def make_adapter(folder: Path, base: Path, module: str, rank: int = 4) -> Path:
    """Write a LoRA of random values over every query projection of ``base``, or what is so called.

    vLLM knows no module that is called otherwise than in its own build of the model.
    """
    config = json.loads((base / "config.json").read_text())
    width = config["hidden_size"]
    drawn = np.random.default_rng(len(folder.name))
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
        tensors[f"{name}.lora_A.weight"] = drawn.normal(size=(rank, width)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = drawn.normal(size=(width, rank)).astype(np.float32)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank}
    told |= {"target_modules": ["q_proj"], "bias": "none", "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, embedded_model: Path) -> Iterator[Workbench]:
    """A workbench whose model server runs and is left running between commands.

    In the end the server is killed: what it leaves behind is ended all the same.
    """
    bench = Workbench(tmp_path_factory.mktemp("crash"))
    bench.run("model", "add", embedded_model, "--name", BASE)
    for name in ("loud", "strange"):
        folder = make_adapter(bench.folder / name, embedded_model, "q_proj")
        bench.run("model", "add", folder, "--base", BASE)
    shutil.rmtree(bench.folder / "strange")
    make_adapter(bench.folder / "strange", embedded_model, "other_proj")
    try:
        bench.run("serve", "start")
        yield bench
    finally:
        process = bench.record.process
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not process.is_alive(), 10)
        assert process.members(), "vLLM's own children outlive it"
        bench.run("serve", "stop")
        assert bench.leftovers() == process.members() == []


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


async def test_an_adapter_that_is_refused_ends_nothing_and_a_batch_mixes_none(
    bench: Workbench,
) -> None:
    assert [one.name for one in bench.record.spec.adapters] == ["loud"]
    notes = {one["name"]: one["note"] for one in bench.run("model", "list")}
    assert "other_proj" in notes["strange"]
    assert notes["loud"] is None
    plain, loud = await bench.ask(BASE, "loud")
    assert plain != loud
    mixed = await bench.ask(*(BASE, "loud") * 6)
    assert loud not in mixed[::2]  # in one batch with its adapter, a base still writes as a base
    assert plain not in mixed[1::2]


def test_a_sweep_whose_worker_was_killed_goes_on_where_it_was(bench: Workbench) -> None:
    process = bench.start("sweep", "run", bench.spec("worker-dies", 0.8))
    until(lambda: len(bench.written(1)) >= 6)
    process.kill()
    process.communicate()
    before = bench.written(1)
    assert 6 <= len(before) < CELLS
    assert bench.rows("SELECT state FROM job WHERE sweep_id = 1") == [("running",)]
    record = bench.record

    result = bench.run("sweep", "resume", "1")

    assert (result["done"], result["failed"], result["blocked"]) == (CELLS, 0, 0)
    bench.assert_complete(1, before)
    assert bench.rows("SELECT state, starts FROM job WHERE sweep_id = 1") == [("done", 2)]
    assert bench.record.pid == record.pid, "the server of the dead worker is used again"


def test_a_sweep_whose_server_was_killed_waits_for_the_new_one(bench: Workbench) -> None:
    process = bench.start("sweep", "run", bench.spec("server-dies", 0.9), "--json")
    until(lambda: len(bench.written(2)) >= 6)
    record = bench.record
    os.kill(record.pid, signal.SIGKILL)
    before = bench.written(2)
    assert len(before) < CELLS

    result = bench.result(process)

    assert (result["done"], result["failed"]) == (CELLS, 0)
    bench.assert_complete(2, before)
    assert record.process.members() == [], "the children of the killed server are gone"
    again = bench.record
    assert again.api_key != record.api_key
    assert [one.name for one in again.spec.adapters] == ["loud"]
    assert again.process.members(), "a server that ran before the command runs after it"
    assert bench.rows("SELECT state, starts FROM job WHERE sweep_id = 2") == [("done", 1)]


def test_ctrl_c_ends_a_run_cleanly_and_it_can_be_resumed(bench: Workbench) -> None:
    spec = bench.spec("interrupted", 0.7)
    process = bench.start("sweep", "run", spec)
    until(lambda: len(bench.written(3)) >= 6)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "q2q sweep resume 3" in (bench.folder / "stderr.log").read_text()
    before = bench.written(3)
    assert bench.rows("SELECT state FROM sweep WHERE id = 3") == [("cancelled",)]

    result = bench.run("sweep", "run", spec)

    assert (result["sweep_id"], result["done"]) == (3, CELLS)
    bench.assert_complete(3, before)


async def test_the_server_that_came_back_has_its_adapter_and_is_on_record_for_its_owner_only(
    bench: Workbench,
) -> None:
    settings = Settings(home=bench.home)
    assert (settings.home_dir / "server.json").stat().st_mode & 0o077 == 0
    plain, loud = await bench.ask(BASE, "loud")
    assert plain != loud
