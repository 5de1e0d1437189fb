"""How many replicas workers feed: 1, 2 and 4 workers of one PostgreSQL store, against fake servers.

    python -m benchmarks.scaling [OUT.json] [--slots 8000] [--workers 1 2 4] [--replicas 1 2 4]

Each worker is a process with a home of its own; texts have 256 tokens. First the servers answer at
once, so that what is measured is ours: claims, rendering, requests, checks, search index, commits.
CPU seconds of workers, servers and PostgreSQL are told apart: they hold on a machine with more
cores as well. Then one worker has a pool of replicas that each write at the pace of an H200
(``TEXTS_PER_GPU``), and it is told how much of that pace it kept.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web
from sqlalchemy import func, select, text

from benchmarks.setting import note, write_result
from benchmarks.sweep_scale import fill, spec
from db.database import Database, open_database
from db.jobs import JobRow, enqueue_sweep, get_job
from db.store.schema import upgrade
from db.tables import Engine, Generation, Worker
from serving.formats.library import load_definitions, sync_definitions
from serving.models.embedded import ensure_embedded_model
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.spec import parse_spec
from tests.fakes.behaviours import Behaviour, prompts_of
from tests.fakes.server import FakeServer
from tests.postgres_fixture import find_binaries, postgres_server

OUT = Path(__file__).parent / "results" / "scaling_cpu.json"
N_TOKENS = 256
TEXTS_PER_GPU = {"bf16": 13_870 / N_TOKENS, "fp8": 19_110 / N_TOKENS}
"""Texts a second of one H200 with Phi-3-medium's shape, measured with vLLM alone."""
LATENCY_S = 4.0
"""Of a text of 256 tokens on a full H200."""
POSTGRES = "-c listen_addresses='' -c shared_buffers=128MB -c fsync=off"
_VOCABULARY = [
    f"{a}{b}" for a in ("re", "con", "de", "in", "pro") for b in ("mit", "tract", "spect")
]


def long_text(prompt: str, choice_index: int, seed: int | None) -> str:
    """Return 256 words in sentences of 16."""
    drawn = random.Random(zlib.crc32(f"{prompt}|{choice_index}|{seed}".encode()))
    words = drawn.choices(_VOCABULARY, k=N_TOKENS)
    parts = (words[start : start + 16] for start in range(0, N_TOKENS, 16))
    return " ".join(f"You {' '.join(part[1:])}." for part in parts)


class PacedServer(FakeServer):
    """Writes so many texts a second, or as fast as it can where that is None."""

    def __init__(self, texts_per_second: float | None) -> None:
        super().__init__(text=long_text, keep_requests=10)
        self._pace = texts_per_second
        self._free_at = 0.0

    async def _behave(
        self, behaviour: Behaviour, request: web.Request, body: dict[str, Any]
    ) -> web.StreamResponse:
        if self._pace is not None:
            n = int(body.get("n") or 1) * len(prompts_of(body["prompt"]))
            now = asyncio.get_running_loop().time()
            self._free_at = max(now, self._free_at) + n / self._pace
            await asyncio.sleep(max(LATENCY_S, self._free_at - now))
        return await super()._behave(behaviour, request, body)


class Bench:
    """A store, fake servers and workers, each a process of its own."""

    def __init__(self, url: str, folder: Path, n_workers: int, n_replicas: int) -> None:
        self.folder, self.n_workers, self.n_replicas = folder, n_workers, n_replicas
        name = f"scaling_{time.monotonic_ns()}"
        server = open_database(url)
        with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        self.url = server.engine.url.set(database=name).render_as_string(hide_password=False)
        server.close()
        self.database: Database = open_database(self.url)
        upgrade(self.database)
        self.servers: list[psutil.Popen] = []
        self.workers: list[psutil.Popen] = []

    @contextmanager
    def running(self, pace: float | None) -> Iterator[None]:
        """Run the servers and the workers; end all of them afterwards."""
        try:
            for _ in range(self.n_replicas):
                self._start_server(pace)
            for number in range(self.n_workers):
                self._start_worker(number)
            yield
        finally:
            for process in (*self.workers, *self.servers):
                process.send_signal(signal.SIGTERM)
            for process in (*self.workers, *self.servers):
                process.wait(60)
            self.database.close()

    def _start_server(self, pace: float | None) -> None:
        command = [sys.executable, "-m", "benchmarks.scaling", "--serve", str(pace or 0)]
        self.servers.append(psutil.Popen(command, stdout=subprocess.PIPE, text=True))

    def _start_worker(self, number: int) -> None:
        if not hasattr(self, "_urls"):
            ports = [server.stdout.readline().split()[-1] for server in self.servers]
            self._urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
        tokenizer = str(ensure_embedded_model())
        servers = [
            {"name": f"replica{i}", "url": url, "tokenizer": tokenizer}
            for i, url in enumerate(self._urls)
        ]
        environment = os.environ | {
            "Q2Q_HOME": str(self.folder / f"{self.database.engine.url.database}-{number}"),
            "Q2Q_DATABASE_URL": self.url,
            "Q2Q_SERVERS": json.dumps(servers),
        }
        command = [sys.executable, "-m", "workbench.cli.main", "worker", "run"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.workers.append(psutil.Popen(command, env=environment, **quiet))

    def run(self, n_slots: int) -> dict[str, Any]:
        """Run a sweep of ``n_slots`` once all is up; return rows a second and CPU seconds."""
        self._until(lambda: self._count(Worker.id) == self.n_workers)
        ready = Engine.state == "ready"
        self._until(lambda: self._count(Engine.id, ready) == self.n_replicas)
        fill_questions(self.database, n_slots // 20)
        with self.database.write() as session:
            registry = sync_definitions(session, load_definitions())
            plan = plan_sweep(session, parse_spec(spec(4, 4)), registry)
            job_id = enqueue_sweep(session, save_sweep(session, plan))
        self._until(lambda: self._job(job_id).state == "running")
        before, started = self._cpu(), time.perf_counter()
        wal, connections = self._wal(), 0
        while self._job(job_id).is_active:
            connections = max(connections, self._connections())
            time.sleep(0.2)
        seconds = time.perf_counter() - started
        rows = self._count(Generation.id)
        assert (self._job(job_id).state, rows) == ("done", n_slots), self._job(job_id)
        cpu = {name: value - before[name] for name, value in self._cpu().items()}
        return {
            "workers": self.n_workers,
            "replicas": self.n_replicas,
            "rows": rows,
            "seconds": round(seconds, 2),
            "rows_per_second": round(rows / seconds, 1),
            "cpu_ms_per_row": {name: round(1000 * one / rows, 3) for name, one in cpu.items()},
            "wal_bytes_per_row": round((self._wal() - wal) / rows),
            "connections": connections,
        }

    def _cpu(self) -> dict[str, float]:
        postmaster = next(
            one
            for one in psutil.process_iter(["name", "cmdline"])
            if one.info["name"] == "postgres"
            and str(self.database.engine.url.query["host"]) in " ".join(one.info["cmdline"])
        )
        groups = {
            "workers": self.workers,
            "servers": self.servers,
            "postgresql": [postmaster, *postmaster.children(recursive=True)],
        }
        return {
            name: sum(sum(one.cpu_times()[:4]) for one in processes)
            for name, processes in groups.items()
        }

    def _wal(self) -> int:
        return int(self._scalar("SELECT pg_current_wal_lsn() - '0/0'"))

    def _connections(self) -> int:
        return int(
            self._scalar("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        )

    def _scalar(self, query: str) -> Any:
        with self.database.read() as session:
            return session.scalar(text(query))

    def _count(self, column: Any, *conditions: Any) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count(column)).where(*conditions)) or 0

    def _job(self, job_id: int) -> JobRow:
        with self.database.read() as session:
            return get_job(session, job_id)

    @staticmethod
    def _until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.1)


def fill_questions(database: Database, n_questions: int) -> None:
    """Put questions into the store; the model is known by its servers."""
    fill(database, n_questions, with_model=False)


def measure(url: str, n_slots: int, workers: Sequence[int], replicas: Sequence[int]) -> Any:
    """Return the runs against servers that answer at once, and those at an H200's pace."""
    at_once, paced = [], []
    with tempfile.TemporaryDirectory() as folder:
        for n in workers:
            bench = Bench(url, Path(folder), n, n)
            with bench.running(None):
                found = bench.run(n_slots)
            note(f"{n} workers: {found['rows_per_second']:.0f} rows/s, {found['cpu_ms_per_row']}")
            at_once.append(found)
        for n in replicas:
            pace = TEXTS_PER_GPU["fp8"]
            bench = Bench(url, Path(folder), 1, n)
            with bench.running(pace):
                found = bench.run(max(2_000, 20 * round(n * pace * 25 / 20)))
            found["share_of_pace"] = round(found["rows_per_second"] / (n * pace), 3)
            note(f"{n} replicas at an H200's pace: {found['share_of_pace']:.1%} of it")
            paced.append(found)
    return at_once, paced


def serve(pace: float) -> None:
    """Be one fake server until SIGTERM."""
    server = PacedServer(pace or None)

    async def run() -> None:
        await server.open(0)
        sys.stdout.write(f"listening on {server.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(run())


def main() -> None:
    """Run the benchmark and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--slots", type=int, default=8_000)
    parser.add_argument("--workers", type=int, nargs="*", default=(1, 2, 4))
    parser.add_argument("--replicas", type=int, nargs="*", default=(1, 2, 4))
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    binaries = find_binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed (apt-get install postgresql).")
    load = os.getloadavg()[0]
    with postgres_server(binaries, POSTGRES) as url:
        at_once, paced = measure(url, options.slots, options.workers, options.replicas)
    write_result(
        options.out,
        {
            "texts_per_second_of_a_gpu": {k: round(v, 1) for k, v in TEXTS_PER_GPU.items()},
            "load_before": round(load, 2),
            "at_once": at_once,
            "paced_fp8": paced,
        },
    )


if __name__ == "__main__":
    main()
