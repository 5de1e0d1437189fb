"""Completion tokens per second of our sweep, the best raw load, vLLM in process, and one by one.

    python -m benchmarks.sweep_throughput [OUT.json] [--model FOLDER] [--device cuda]
        [--questions 128] [--answers 8] [--max-tokens 256] [--repeats 3] [--in-process]

All ways write the same: ``answers`` completions of the same prompts with the same sampling. On one
server, in one run, taking turns: (a) a sweep with its commits, (b) bare HTTP requests in several
shapes, of which the best counts, (d) one prompt at a time; then, with the server gone, (c) vLLM in
process. (a) and (b) are measured without and with seeds. While one more sweep runs, an edited
reasoning is re-answered in the interactive lane. A sweep of two steps (reasonings, then answers)
stands beside its own prompts sent bare. Ratios are of runs side by side.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.in_process import in_process
from benchmarks.raw_load import Load, Shape, bodies, run_load
from benchmarks.setting import new_store, note, question, write_result
from db.database import Database
from db.identity import question_hash, text_hash
from db.settings import Settings
from db.tables import (
    Answer,
    Generation,
    Prompt,
    Question,
    ReasoningVariant,
    Sampling,
    SweepGeneration,
)
from serving.engines.client import CompletionClient
from serving.engines.messages import Endpoint
from serving.engines.probe import probe
from serving.engines.process import ServerSpec
from serving.engines.supervisor import EngineSupervisor
from serving.formats.library import load_definitions
from serving.formats.registry import sync_definitions
from serving.formats.tokenizer import PromptTokenizer
from serving.models.embedded import ensure_embedded_model
from serving.models.register import add_model
from serving.sweeps.engines import FixedEngines, ServedModel
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.runner import run_sweep
from serving.sweeps.spec import parse_spec

NAME = "model-under-test"
OUT = Path(__file__).parent / "results" / "sweep_throughput_cpu.json"
SHAPES = (
    Shape(name="one completion a request", prompts_per_request=1, n=1, in_flight=1024),
    Shape(name="n completions a request", prompts_per_request=1, n=8, in_flight=128),
    Shape(name="32 prompts a request", prompts_per_request=32, n=1, in_flight=32),
)


def fill(database: Database, n_questions: int, model: Path) -> float:
    """Put questions and the model into the store; return the seconds that its digest took."""
    with database.write() as session:
        for i in range(n_questions):
            text = question(i)
            session.add(Question(text=text, content_hash=question_hash(text), language="en"))
    started = time.perf_counter()
    add_model(database, str(model), name=NAME)
    return time.perf_counter() - started


def spec_of(options: argparse.Namespace, seed: int | None) -> dict[str, Any]:
    """Return the sweep that (a) runs: ``answers`` answers to each question, no reasoning."""
    return {
        "name": "throughput",
        "formats": ["tagged@1"],
        "modes": ["vanilla"],
        "models": [NAME],
        "answers": options.answers,
        "answer_sampling": [sampling(options)],
        "seed": seed,
    }


def sampling(options: argparse.Namespace) -> dict[str, Any]:
    """Return the sampling of all ways."""
    return {"temperature": 0.8, "top_p": 0.95, "max_tokens": options.max_tokens}


async def sweep(
    database: Database, engines: FixedEngines, spec: dict[str, Any], *, priority: int = 0
) -> tuple[Load, int]:
    """Run ``spec`` to its end; return what was measured and the sweep's id."""
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        sweep_id = save_sweep(session, plan_sweep(session, parse_spec(spec), registry))
    started = time.perf_counter()
    outcome = await run_sweep(
        database,
        sweep_id,
        engines,
        on_progress=lambda _: None,
        priority=priority,
    )
    seconds = time.perf_counter() - started
    load = Load(completion_tokens=outcome.completion_tokens, seconds=seconds, failed=outcome.failed)
    return load, sweep_id


def sent(
    database: Database, sweep_id: int, kind: str = "answer"
) -> tuple[list[list[int]], dict[str, Any]]:
    """Return the token ids of the prompts that the sweep sent, and its resolved sampling."""
    with database.read() as session:
        rows = session.execute(
            select(Prompt.token_ids, Sampling.parameters)
            .join(Generation, Generation.prompt_id == Prompt.id)
            .join(Sampling, Sampling.id == Generation.sampling_id)
            .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
            .where(SweepGeneration.sweep_id == sweep_id, Generation.kind == kind)
            .group_by(Prompt.id)
        ).all()
    return [array("I", row.token_ids).tolist() for row in rows], rows[0].parameters


async def edit_latency(
    database: Database, engines: FixedEngines, options: argparse.Namespace
) -> dict[str, float]:
    """Return the seconds from an edit to its first stored answer while a sweep runs."""
    with database.write() as session:
        first = session.scalars(select(Question).limit(1)).one()
        text = "You should name what changes first, and then what stays the same."
        variant = ReasoningVariant(
            question_id=first.id, text=text, source="human", content_hash=text_hash(text)
        )
        session.add(variant)
        session.flush()
        variant_id, question_id = variant.id, first.id
    background = asyncio.create_task(sweep(database, engines, spec_of(options, seed=None)))
    await asyncio.sleep(options.settle_s)
    edit = {
        "name": "edit",
        "questions": {"ids": [question_id]},
        "formats": ["tagged@1"],
        "modes": ["supplied"],
        "models": [NAME],
        "answers": 4,
        "answer_sampling": [sampling(options)],
        "reasonings": {"ids": [variant_id]},
    }
    started = time.perf_counter()
    answering = asyncio.create_task(sweep(database, engines, edit, priority=-10))
    first_s = 0.0
    while not first_s:
        await asyncio.sleep(0.02)
        with database.read() as session:
            found = session.scalar(
                select(func.count()).select_from(Answer).where(Answer.variant_id == variant_id)
            )
        if found:
            first_s = time.perf_counter() - started
        elif answering.done():
            await answering
    await answering
    all_s = time.perf_counter() - started
    was_running = not background.done()
    await background
    return {"first_answer_s": first_s, "all_answers_s": all_s, "sweep_still_ran": was_running}


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


def common(parameters: dict[str, Any], seed: int | None) -> dict[str, Any]:
    """Return what all raw requests share: exactly the sampling of the sweep."""
    return {"model": NAME, **parameters, "stream": False, "seed": seed}


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure every way on one server; returns the figures."""
    template = new_store(None, folder)
    result: dict[str, Any] = {"digest_s": fill(template, options.questions, options.model)}
    with template.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    path = template.path
    template.close()
    assert path is not None
    settings = Settings(
        home=folder / "home", max_num_seqs=options.max_num_seqs, max_model_len=options.max_model_len
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
    result["server_start_s"] = time.perf_counter() - started
    try:
        async with CompletionClient(endpoint) as client:
            engines = FixedEngines(
                [await served(endpoint, client, options, spec.max_num_seqs(settings))]
            )
            result |= await take_turns(options, folder, path, engines, endpoint)
    finally:
        await supervisor.stop()
    return result


async def take_turns(
    options: argparse.Namespace, folder: Path, template: Path, engines: FixedEngines, at: Endpoint
) -> dict[str, Any]:
    """Measure sweep and raw loads in turns, then one by one, then an edit during a sweep."""
    key = at.api_key or ""
    warm = new_store(template, folder)
    load, sweep_id = await sweep(warm, engines, spec_of(options, seed=None))
    prompts, parameters = sent(warm, sweep_id)
    note(f"warm-up: {load.tokens_per_second:,.0f} tokens/s")
    rows: list[dict[str, Any]] = []
    for repeat in range(options.repeats):
        for seed in (None, 7):
            store = new_store(template, folder)
            load, _ = await sweep(store, engines, spec_of(options, seed))
            store.close()
            rows.append(row("sweep", load, repeat, seed))
            for shape in SHAPES if seed is None else SHAPES[1:2]:
                requests = bodies(prompts, options.answers, shape, common(parameters, seed))
                load = await run_load(at.api, key, requests, in_flight=shape.in_flight)
                rows.append(row(shape.name, load, repeat, seed))
    few = prompts[: options.one_by_one]
    requests = bodies(
        few, 1, Shape(name="", prompts_per_request=1, n=1, in_flight=1), common(parameters, None)
    )
    one_by_one = await run_load(at.api, key, requests, in_flight=1)
    rows.append(row("one prompt at a time", one_by_one, 0, None))
    edits = []
    for _ in range(options.edits):
        store = new_store(template, folder)
        edits.append(await edit_latency(store, engines, options))
        store.close()
    return {
        "rows": rows,
        "two_steps": await two_steps(options, folder, template, engines, at),
        "summary": summary(rows),
        "edits": edits,
        "prompts": prompts,
        "parameters": parameters,
    }


async def two_steps(
    options: argparse.Namespace, folder: Path, template: Path, engines: FixedEngines, at: Endpoint
) -> dict[str, Any]:
    """Measure a sweep with reasonings, then one answer under each, against its prompts sent bare.

    The raw load knows all prompts beforehand; it sends the reasonings, then the answers.
    """
    store = new_store(template, folder)
    ids = list(range(1, max(1, options.questions // 2) + 1))
    spec = spec_of(options, seed=None) | {
        "modes": ["reasoning"],
        "variants": options.answers,
        "answers": 1,
        "reasoning_sampling": [sampling(options)],
        "questions": {"ids": ids},
    }
    load, sweep_id = await sweep(store, engines, spec)
    raw = []
    for kind, n, shape in (("reasoning", options.answers, SHAPES[1]), ("answer", 1, SHAPES[0])):
        prompts, parameters = sent(store, sweep_id, kind)
        requests = bodies(prompts, n, shape, common(parameters, None))
        raw.append(await run_load(at.api, at.api_key or "", requests, in_flight=shape.in_flight))
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


def job(
    options: argparse.Namespace, prompts: list[list[int]], parameters: dict[str, Any]
) -> dict[str, Any]:
    """Return the same work for vLLM without a server."""
    llm: dict[str, Any] = {"max_model_len": options.max_model_len}
    if options.device == "cpu":
        llm |= {"enforce_eager": True, "max_num_seqs": options.max_num_seqs, "dtype": "bfloat16"}
    else:
        llm |= {"gpu_memory_utilization": 0.9}
    return {
        "model": str(options.model),
        "prompts": prompts,
        "n": options.answers,
        "sampling": parameters,
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
    parser.add_argument("--questions", type=int, default=128)
    parser.add_argument("--answers", type=int, default=8, help="a multiple of 8")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--max-model-len", type=int, default=4096)
    parser.add_argument("--max-num-seqs", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one-by-one", type=int, default=4)
    parser.add_argument("--edits", type=int, default=2)
    parser.add_argument("--settle-s", type=float, default=4.0)
    parser.add_argument("--in-process", action="store_true")
    options = parser.parse_args()
    options.model = options.model or ensure_embedded_model()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        result = asyncio.run(measure(options, folder))
        prompts, parameters = result.pop("prompts"), result.pop("parameters")
        result = {"model": options.model.name, **result}
        write_result(options.out, result)
        if options.in_process:
            result["in_process"] = in_process(job(options, prompts, parameters), folder)
            write_result(options.out, result)
    note(json.dumps(result["summary"], indent=2))


if __name__ == "__main__":
    main()
