"""Size, not speed of a model: planning 1,000,000 slots, and running 100,000 against a fake server.

    python -m benchmarks.sweep_scale [OUT.json] [--slots 100000]

The fake server answers at once from a process of its own, so that what is measured is ours:
rendering, slots, requests, checks, search index, commits. What else the machine does counts in
``rows_per_second``, and not in ``rows_per_second_of_one_core``. Peak memory is that of this
process; a run with a tenth of the slots stands beside it: a window's worth does not grow.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
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


def fill(database: Database, n_questions: int) -> None:
    """Put questions and a remote model into the store."""
    texts = [question(i) for i in range(n_questions)]
    with database.write() as session:
        session.execute(
            insert(Question),
            [
                {"text": text, "content_hash": question_hash(text), "language": "en"}
                for text in texts
            ],
        )
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


async def run(folder: Path, port: int, n_slots: int) -> dict[str, Any]:
    """Run a sweep of ``n_slots`` against the fake server; return rows per second and memory."""
    database = new_store(None, folder)
    fill(database, n_slots // 20)
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        sweep_id = save_sweep(session, plan_sweep(session, parse_spec(spec(4, 4)), registry))
    process = psutil.Process()
    peak = before = process.memory_info().rss

    def watch(_: object) -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)

    async with CompletionClient(Endpoint(url=f"http://127.0.0.1:{port}/v1")) as client:
        model = ServedModel(
            model_version_id=1,
            engine_id=None,
            client=client,
            served_name="fake",
            tokenizer=PromptTokenizer.load(ensure_embedded_model()),
            context_length=8192,
            capabilities=Capabilities(),
            max_num_seqs=256,
            engine_version="fake",
        )
        started, busy_before = time.perf_counter(), time.process_time()
        outcome = await run_sweep(database, sweep_id, FixedEngines([model]), on_progress=watch)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy_before
    with database.read() as session:
        rows = session.scalar(select(func.count()).select_from(Generation))
    assert outcome.done == outcome.cells == rows, outcome
    note(f"{rows:,} slots in {seconds:.1f} s, {(peak - before) / 2**20:.0f} MiB more at the peak")
    return {
        "slots": rows,
        "seconds": round(seconds, 2),
        "rows_per_second": round(outcome.cells / seconds),
        "rows_per_second_of_one_core": round(outcome.cells / busy),
        "memory_before_mib": round(before / 2**20),
        "memory_peak_mib": round(peak / 2**20),
    }


def main() -> None:
    """Run the benchmark and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--slots", type=int, default=100_000)
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.server", "--port", "0", "--latency-ms", "5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[-1])
        with tempfile.TemporaryDirectory() as folder:
            result = {
                "plan": plan_seconds(Path(folder)),
                "runs": [
                    asyncio.run(run(Path(folder), port, n))
                    for n in (options.slots // 10, options.slots)
                ],
            }
    finally:
        server.terminate()
        server.wait()
    write_result(options.out, result)


if __name__ == "__main__":
    main()
