"""Completion tokens per second of our sweep, the best raw load, vLLM in process, and one by one.

    python -m benchmarks.sweep_throughput [OUT.json] [--model FOLDER] [--device cuda]
        [--questions 64] [--answers 8] [--max-tokens 256] [--repeats 3] [--in-process]
        [--precision fp8] [--data-parallel 2] [--tensor-parallel 2] [--no-two-steps]

All ways write the same: ``answers`` completions of each prompt at four lengths. On one
server, in one run, taking turns: (a) a sweep with its commits, (b) bare HTTP requests in several
shapes, of which the best counts, (d) one prompt at a time; then, with the server gone, (c) vLLM in
process. (a) and (b) are measured without and with seeds. An edited reasoning is re-answered eight
times on the idle server, and in the interactive lane while one more sweep runs. A sweep of two
steps (reasonings, then answers) stands beside its own prompts sent bare. Ratios are of runs side by
side. Bare requests in flight grow with the engines behind the URL.
"""

import argparse
import asyncio
import dataclasses
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.in_process import in_process
from benchmarks.raw_load import Load, Shape, bodies, run_load
from benchmarks.setting import new_store, note, write_result
from benchmarks.timed_sweep import NAME, Asked, edit_latency, fill, sampling, sent, spec_of, sweep
from db.settings import Settings
from serving.engine.client import CompletionClient, ServedModel
from serving.engine.command import ServerSpec
from serving.engine.messages import Endpoint
from serving.engine.probe import probe
from serving.engine.supervisor import EngineSupervisor
from serving.formats.tokenizer import PromptTokenizer
from serving.models.embedded import ensure_embedded_model
from tests.fakes.engines import FixedEngines

OUT = Path(__file__).parent / "results" / "sweep_throughput_cpu.json"
SHAPES = (
    Shape(name="n completions a request", prompts_per_request=1, n=8, in_flight=128),
    Shape(name="32 prompts a request", prompts_per_request=32, n=1, in_flight=32),
    Shape(name="one completion a request", prompts_per_request=1, n=1, in_flight=1024),
)
ONE = Shape(name="one prompt at a time", prompts_per_request=1, n=1, in_flight=1)


async def served(
    endpoint: Endpoint, client: CompletionClient, options: argparse.Namespace, max_num_seqs: int
) -> ServedModel:
    """Return the model under test as the sweep runner wants it."""
    found = await probe(endpoint)
    client.endpoint = found.endpoint(endpoint)
    return ServedModel(
        model_version_id=1,
        engine_id=None,
        client=client,
        served_name=NAME,
        tokenizer=PromptTokenizer.load(options.model),
        context_length=options.max_model_len,
        capabilities=found.capabilities,
        max_num_seqs=max_num_seqs,
        engine_version=found.software,
    )


def requests_of(
    asked: Sequence[Asked],
    n: int,
    shape: Shape,
    seed: int | None = None,
    cache_salt: str | None = None,
) -> list[bytes]:
    """Return bare requests for what a sweep asked, with exactly its sampling, well mixed.

    With a salt they share prefixes among themselves only, not with what ran before.
    """
    common = {"model": NAME, "seed": seed, "cache_salt": cache_salt}
    requests = [
        body
        for level in asked
        for body in bodies(level.prompts, n, shape, level.parameters | common)
    ]
    random.Random(0).shuffle(requests)
    return requests


Save = Callable[[str, Any], None]


async def measure(options: argparse.Namespace, folder: Path, save: Save) -> list[Asked]:
    """Measure every way on one server, saving figures as they come; return what was asked."""
    template = new_store(None, folder)
    fill(template, options)
    with template.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    path = template.path
    template.close()
    assert path is not None
    settings = Settings(
        home=folder / "home",
        precision=options.precision,
        data_parallel_size=options.data_parallel,
        tensor_parallel_size=options.tensor_parallel,
        gpu_memory_utilization=options.gpu_memory_utilization,
        max_num_seqs=options.max_num_seqs,
        max_model_len=options.max_model_len,
        vllm_args=("--load-format", options.load_format, *options.vllm_args),
    )
    supervisor = EngineSupervisor(settings, lambda state: note(state.message))
    started = time.perf_counter()
    spec = ServerSpec(
        model=options.model,
        served_name=NAME,
        context_length=options.max_model_len,
        device=options.device,
    )
    endpoint = await supervisor.ensure(spec)
    save("server_start_s", round(time.perf_counter() - started, 1))
    save("plan", supervisor.plan.model_dump(mode="json"))
    try:
        async with CompletionClient(endpoint) as client:
            engines = FixedEngines(
                [await served(endpoint, client, options, supervisor.plan.total_num_seqs)]
            )
            return await take_turns(options, folder, path, engines, endpoint, save)
    finally:
        await supervisor.stop()


async def take_turns(
    options: argparse.Namespace,
    folder: Path,
    template: Path,
    engines: FixedEngines,
    at: Endpoint,
    save: Save,
) -> list[Asked]:
    """Measure sweep and raw loads in turns, then one by one, then an edit during a sweep."""
    key = at.api_key or ""
    warm = new_store(template, folder)
    load, sweep_id = await sweep(warm, engines, spec_of(options, seed=None))
    asked = sent(warm, sweep_id)
    note(f"warm-up: {load.tokens_per_second:,.0f} tokens/s")
    rows: list[dict[str, Any]] = []
    for repeat in range(options.repeats):
        for seed in (None, 7) if repeat < options.seeded_repeats else (None,):
            store = new_store(template, folder)
            load, _ = await sweep(store, engines, spec_of(options, seed))
            store.close()
            rows.append(row("sweep", load, repeat, seed))
            for shape in options.shapes if seed is None else options.shapes[:1]:
                requests = requests_of(asked, options.answers, shape, seed)
                in_flight = shape.in_flight * options.data_parallel
                load = await run_load(at.api, key, requests, in_flight=in_flight)
                rows.append(row(shape.name, load, repeat, seed))
        save("summary", summary(rows))
        save("rows", rows)
    requests = requests_of(asked, 1, ONE)[: options.one_by_one]
    one_by_one = await run_load(at.api, key, requests, in_flight=1)
    rows.append(row(ONE.name, one_by_one, 0, None))
    save("summary", summary(rows))
    save("rows", rows)
    if options.two_steps:
        save("two_steps", await two_steps(options, folder, template, engines, at))
    for name, is_idle in (("edits_on_idle_server", True), ("edits", False)):
        edits = []
        for _ in range(options.edits):
            store = new_store(template, folder)
            edits.append(await edit_latency(store, engines, options, is_idle=is_idle))
            store.close()
            note(f"{name}: {edits[-1]}")
            save(name, edits)
    return asked


async def two_steps(
    options: argparse.Namespace, folder: Path, template: Path, engines: FixedEngines, at: Endpoint
) -> dict[str, Any]:
    """Measure a sweep with reasonings, then one answer under each, against its prompts sent bare.

    The raw load knows all prompts beforehand; it sends the reasonings, then the answers. What the
    sweep left in the engine's cache does not help it.
    """
    store = new_store(template, folder)
    spec = spec_of(options, seed=None) | {
        "modes": ["reasoning"],
        "variants": options.answers,
        "answers": 1,
        "reasoning_sampling": [sampling(options)],
        "answer_sampling": [sampling(options)],
    }
    load, sweep_id = await sweep(store, engines, spec)
    raw = []
    for kind, n, shape in (("reasoning", options.answers, SHAPES[0]), ("answer", 1, SHAPES[2])):
        requests = requests_of(sent(store, sweep_id, kind), n, shape, cache_salt="bare")
        in_flight = shape.in_flight * options.data_parallel
        raw.append(await run_load(at.api, at.api_key or "", requests, in_flight=in_flight))
    store.close()
    bare = Load(
        completion_tokens=sum(part.completion_tokens for part in raw),
        seconds=sum(part.seconds for part in raw),
        failed=sum(part.failed for part in raw),
    )
    return {
        "sweep": row("sweep of two steps", load, 0, None),
        "raw": row("its prompts sent bare", bare, 0, None),
        "sweep_over_raw": round(load.tokens_per_second / bare.tokens_per_second, 3),
    }


def row(way: str, load: Load, repeat: int, seed: int | None) -> dict[str, Any]:
    """Return one line of the results, shown as it comes."""
    note(f"{way}{' (seeds)' if seed else ''}: {load.tokens_per_second:,.0f} tokens/s")
    return {
        "way": way,
        "seeds": seed is not None,
        "repeat": repeat,
        "tokens_per_second": round(load.tokens_per_second, 1),
        "completion_tokens": load.completion_tokens,
        "seconds": round(load.seconds, 2),
        "failed": load.failed,
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return medians by way, and the sweep's share of the best raw load of its repeat."""
    medians: dict[str, float] = {}
    for way, seeds in sorted({(r["way"], r["seeds"]) for r in rows}):
        rates = [r["tokens_per_second"] for r in rows if (r["way"], r["seeds"]) == (way, seeds)]
        medians[way + (" (seeds)" if seeds else "")] = statistics.median(rates)
    shares: dict[str, list[float]] = {"without seeds": [], "with seeds": []}
    for r in rows:
        if r["way"] != "sweep":
            continue
        raw = [
            o["tokens_per_second"]
            for o in rows
            if o["way"] in {shape.name for shape in SHAPES}
            and (o["repeat"], o["seeds"]) == (r["repeat"], r["seeds"])
        ]
        share = round(r["tokens_per_second"] / max(raw), 3)
        shares["with seeds" if r["seeds"] else "without seeds"].append(share)
    return {
        "median_tokens_per_second": medians,
        "sweep_over_best_raw": shares,
        "median_sweep_over_best_raw": {
            name: statistics.median(values) for name, values in shares.items() if values
        },
    }


def job(options: argparse.Namespace, asked: Sequence[Asked]) -> dict[str, Any]:
    """Return the same work for vLLM without a server."""
    llm: dict[str, Any] = {
        "max_model_len": options.max_model_len,
        "load_format": options.load_format,
    }
    if options.device == "cpu":
        llm |= {"enforce_eager": True, "max_num_seqs": options.max_num_seqs, "dtype": "bfloat16"}
    else:
        llm |= {"gpu_memory_utilization": 0.9}
    return {
        "model": str(options.model),
        "asked": [dataclasses.asdict(level) for level in asked],
        "n": options.answers,
        "repeats": 1,
        "llm": llm,
    }


def main() -> None:
    """Run the benchmark and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--model", type=Path, help="default: the embedded model")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--answers", type=int, default=8, help="a multiple of 8")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--max-model-len", type=int, default=4096)
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one-by-one", type=int, default=4)
    parser.add_argument("--edits", type=int, default=2)
    parser.add_argument("--settle-s", type=float, default=4.0)
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="of the bare requests")
    parser.add_argument("--two-steps", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--precision", choices=("bf16", "fp8", "nf4"), default="bf16")
    parser.add_argument("--data-parallel", type=int, default=1)
    parser.add_argument("--tensor-parallel", type=int, default=1)
    parser.add_argument("--gpu-memory-utilization", type=float)
    parser.add_argument("--vllm-args", nargs="*", default=())
    parser.add_argument("--load-format", default="auto", help="dummy: the shape without weights")
    parser.add_argument("--seeded-repeats", type=int, default=1)
    options = parser.parse_args()
    options.model = options.model or ensure_embedded_model()
    options.shapes = SHAPES[: options.shapes]
    result: dict[str, Any] = {"model": options.model.name}

    def save(name: str, figures: Any) -> None:
        result[name] = figures
        write_result(options.out, result)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        asked = asyncio.run(measure(options, folder, save))
        if options.in_process:
            save("in_process", in_process(job(options, asked), folder))
    note(json.dumps(result["summary"], indent=2))


if __name__ == "__main__":
    main()
