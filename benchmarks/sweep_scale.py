"""Size, not speed of a model: planning 1,000,000 slots, and running 100,000 against a fake server.

    python -m benchmarks.sweep_scale [OUT.json] [--slots 100000] [--engines 1 2 4 8]

The fake server answers at once from a process of its own, so that what is measured is ours:
rendering, slots, requests, checks, search index, commits. It has room for so many engines of 256
sequences each. What else the machine does counts in ``rows_per_second``, and not in
``rows_per_second_of_one_core``. Each run has a process of its own; a run with a fifth of the slots
stands first. Memory is what the process holds for itself, the page cache of SQLite (64 MiB a
connection) included; beside it stand the pages of the store's file that are mapped, which the
kernel takes back when it needs them.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from benchmarks.setting import new_store, note, question, write_result
from db.database import Database
from db.identity import question_hash
from db.tables import Generation, ModelVersion, Question
from serving.engine.client import CompletionClient, ServedModel
from serving.engine.messages import Capabilities, Endpoint
from serving.formats.library import load_definitions, sync_definitions
from serving.formats.tokenizer import PromptTokenizer
from serving.models.embedded import ensure_embedded_model
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.run import run_sweep
from serving.sweeps.spec import parse_spec
from tests.fakes.engines import FixedEngines

OUT = Path(__file__).parent / "results" / "sweep_scale_cpu.json"


def fill(database: Database, n_questions: int, *, with_model: bool = True) -> None:
    """Put questions, and a remote model unless its server is to tell of it, into the store."""
    texts = [question(i) for i in range(n_questions)]
    with database.write() as session:
        session.execute(
            insert(Question),
            [
                {"text": text, "content_hash": question_hash(text), "language": "en"}
                for text in texts
            ],
        )
        if with_model:
            session.add(ModelVersion(name="fake", kind="declared", context_length=8192))


def spec(variants: int, answers: int) -> dict[str, Any]:
    """Return a sweep of reasonings and answers."""
    return {"name": "scale", "models": ["fake"], "variants": variants, "answers": answers}


def plan_seconds(folder: Path) -> dict[str, Any]:
    """Return the time to plan 1,000,000 slots: 10,000 questions × (10 + 10 × 9)."""
    database = new_store(None, folder)
    fill(database, 10_000)
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
    started = time.perf_counter()
    with database.read() as session:
        plan = plan_sweep(session, parse_spec(spec(10, 9)), registry)
    seconds = time.perf_counter() - started
    note(f"planned {plan.cells:,} slots in {seconds:.2f} s")
    return {"slots": plan.cells, "seconds": round(seconds, 3)}


def memory_mib() -> tuple[float, float]:
    """Return what this process holds for itself, and what it maps of files, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return tuple(int(found[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))  # type: ignore[return-value]


async def run(folder: Path, port: int, n_slots: int, n_engines: int) -> dict[str, Any]:
    """Run a sweep of ``n_slots`` against the fake server; return rows per second and memory."""
    database = new_store(None, folder)
    fill(database, n_slots // 20)
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        sweep_id = save_sweep(session, plan_sweep(session, parse_spec(spec(4, 4)), registry))
    (before, _), peaks = memory_mib(), [0.0, 0.0]

    def watch(_: object) -> None:
        peaks[:] = map(max, peaks, memory_mib())

    async with CompletionClient(Endpoint(url=f"http://127.0.0.1:{port}/v1")) as client:
        model = ServedModel(
            model_version_id=1,
            engine_id=None,
            client=client,
            served_name="fake",
            tokenizer=PromptTokenizer.load(ensure_embedded_model()),
            context_length=8192,
            capabilities=Capabilities(),
            max_num_seqs=256 * n_engines,
            engine_version="fake",
        )
        started, busy_before = time.perf_counter(), time.process_time()
        outcome = await run_sweep(database, sweep_id, FixedEngines([model]), on_progress=watch)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy_before
    with database.read() as session:
        rows = session.scalar(select(func.count()).select_from(Generation))
    assert outcome.done == outcome.cells == rows, outcome
    note(f"{n_engines} engines: {rows:,} slots in {seconds:.1f} s, {peaks[0]:.0f} MiB at the peak")
    return {
        "engines": n_engines,
        "slots": rows,
        "seconds": round(seconds, 2),
        "rows_per_second": round(outcome.cells / seconds),
        "rows_per_second_of_one_core": round(outcome.cells / busy),
        "memory_before_mib": round(before),
        "memory_peak_mib": round(peaks[0]),
        "mapped_files_peak_mib": round(peaks[1]),
    }


def run_apart(port: int, n_slots: int, n_engines: int) -> dict[str, Any]:
    """Run in a process of its own, so that no run sees the memory of another."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [folder, str(port), str(n_slots), str(n_engines)]
        command = [sys.executable, "-m", "benchmarks.sweep_scale", "--one", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Run the benchmark and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--slots", type=int, default=100_000)
    parser.add_argument("--engines", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        folder, port, n_slots, n_engines = options.one
        done = asyncio.run(run(Path(folder), int(port), int(n_slots), int(n_engines)))
        print(json.dumps(done))
        return
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.server", "--port", "0", "--latency-ms", "5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[-1])
        with tempfile.TemporaryDirectory() as folder:
            plan = plan_seconds(Path(folder))
        runs = [run_apart(port, options.slots // 5, options.engines[0])]
        runs += [run_apart(port, options.slots, n_engines) for n_engines in options.engines]
    finally:
        server.terminate()
        server.wait()
    result = {"plan": plan, "runs": runs}
    write_result(options.out, result)


if __name__ == "__main__":
    main()
