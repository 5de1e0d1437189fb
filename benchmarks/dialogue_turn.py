"""Seconds of a whole turn of a dialogue, and of the same work one prompt at a time.

    python -m benchmarks.dialogue_turn [OUT.json] [--toy]
    python -m benchmarks.dialogue_turn OUT.json --model FOLDER --device cuda

A turn is 4 reasonings, 4 answers of 200 tokens under each, and 15 candidates for the next question
(3 moves, a list of 5 each). ``workbench``: the store, the job table, the real worker with its vLLM
server, the cards and the guard against repeats; from asking for the answers to seeing the
candidates, without the time that a person takes to choose. ``one by one``: the very prompts that
were sent, as many tokens as came back, through Unsloth's ``generate`` (4-bit on a GPU).

Aim on a GPU with Phi-3-medium's shape: under 8 s, and at least 15 times faster. Each side runs in a
process of its own, and what one finds is kept if the other one fails. FOLDER holds weights and
tokenizer, which may be random. ``--toy``: the embedded model, a smaller turn.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.setting import SUBJECTS, note, write_result

OUT = Path(__file__).parent / "results" / "dialogue_turn_cpu.json"
MOVES = ("deepen", "rebut", "ground")
WARM_UP_TOKENS = 16
POLL_S = 0.05


def main() -> None:
    """Run both sides and write one JSON file."""
    options = arguments()
    if options.side:
        job = json.loads(options.job.read_text())
        figures = workbench_side(job) if options.side == "workbench" else unsloth_side(job)
        Path(job["out"]).write_text(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        job = as_job(options, folder)
        result: dict[str, Any] = {"turn": job["turn"], "workbench": side("workbench", job, folder)}
        save(options.out, result)
        if not options.without_unsloth and "asked" in result["workbench"]:
            job["asked"] = result["workbench"].pop("asked")
            result["one_by_one"] = side("unsloth", job, folder)
        result["workbench"].pop("asked", None)
        save(options.out, result)
    note(json.dumps({k: v for k, v in result.items() if k != "turn"}, indent=2))


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--model", type=Path, help="default: the embedded model")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--toy", action="store_true", help="2 reasonings, 2 answers of 48 tokens")
    parser.add_argument("--variants", type=int, default=4)
    parser.add_argument("--answers", type=int, default=4)
    parser.add_argument("--answer-tokens", type=int, default=200)
    parser.add_argument("--reasoning-tokens", type=int, default=128)
    parser.add_argument("--list-tokens", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-model-len", type=int, default=4096)
    parser.add_argument("--without-unsloth", action="store_true")
    parser.add_argument("--time-limit-s", type=float, default=1500, help="of each side")
    parser.add_argument("--side", choices=("workbench", "unsloth"), help=argparse.SUPPRESS)
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def as_job(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what both sides are told."""
    if options.toy:
        options.variants = options.answers = options.repeats = 2
        options.answer_tokens = options.reasoning_tokens = 48
        options.list_tokens, options.max_model_len = 96, 2048
    names = ("variants", "answers", "answer_tokens", "reasoning_tokens", "list_tokens", "repeats")
    return {
        "turn": {name: getattr(options, name) for name in names} | {"moves": len(MOVES)},
        "model": str(options.model.absolute()) if options.model else None,
        "device": options.device,
        "max_model_len": options.max_model_len,
        "home": str(folder / "home"),
        "time_limit_s": options.time_limit_s,
    }


def side(name: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run one side in a process of its own; an error is a figure like any other."""
    job = job | {"out": str(folder / f"{name}.json")}
    path = folder / f"{name}-job.json"
    path.write_text(json.dumps(job))
    command = [sys.executable, "-m", "benchmarks.dialogue_turn", "--side", name, "--job", str(path)]
    quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "UNSLOTH_DISABLE_STATISTICS": "1"}
    environment = {**os.environ, **quiet, "UNSLOTH_COMPILE_LOCATION": str(folder / "compiled")}
    try:
        done = subprocess.run(
            command,
            check=False,
            stderr=subprocess.PIPE,
            stdout=sys.stderr,
            text=True,
            env=environment,
            timeout=job["time_limit_s"],
        )
    except subprocess.TimeoutExpired:
        return {"error": f"No end after {job['time_limit_s']:.0f} s."}
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(Path(job["out"]).read_text())
        return found
    note(done.stderr[-4000:])
    return {"error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no reason"}


def save(out: Path, result: dict[str, Any]) -> None:
    """Write what is known so far, with the ratio where both sides came to their end."""
    kept = {key: value for key, value in result.items() if key != "workbench"}
    kept["workbench"] = {k: v for k, v in result["workbench"].items() if k != "asked"}
    whole, single = kept["workbench"].get("turn_s"), kept.get("one_by_one", {}).get("turn_s")
    if whole and single:
        kept["times_faster"] = result["times_faster"] = round(single / whole, 1)
    write_result(out, kept)


def workbench_side(job: dict[str, Any]) -> dict[str, Any]:
    """Measure whole turns through store, worker and vLLM server."""
    os.environ["Q2Q_HOME"], os.environ["Q2Q_DEVICE"] = job["home"], job["device"]
    os.environ["Q2Q_MAX_MODEL_LEN"] = str(job["max_model_len"])
    if job["model"]:
        os.environ["Q2Q_MODEL"] = job["model"]
    return asyncio.run(measure_turns(job))


async def measure_turns(job: dict[str, Any]) -> dict[str, Any]:
    """Start the worker, run a turn to warm up and some to measure; return the figures."""
    from db.settings import settings
    from db.store.migrate import open_store
    from serving.models.register import ensure_default_model
    from workbench.worker import be_worker

    database = open_store(settings())
    model = await asyncio.to_thread(ensure_default_model, database, settings())
    stop = asyncio.Event()
    worker = asyncio.create_task(
        be_worker(settings(), database, stop, load_default=True, at_end="stop")
    )
    try:
        started = time.perf_counter()
        await until_ready(database, worker)
        figures: dict[str, Any] = {
            "model": Path(job["model"]).name if job["model"] else model.name,
            "server_start_s": round(time.perf_counter() - started, 1),
        }
        turns = []
        for repeat in range(job["turn"]["repeats"] + 1):
            turns.append(await one_turn(database, model.name, job["turn"], repeat))
            note(f"turn {repeat}: {turns[-1]}")
        measured = turns[1:]
        figures |= {
            "turn_s": statistics.median(one["turn_s"] for one in measured),
            "first_turn_s": turns[0]["turn_s"],
            "turns": measured,
            "asked": asked(database, measured[-1]["sweeps"]),
        }
        return figures
    finally:
        stop.set()
        await asyncio.wait([worker], timeout=120)
        database.close()


async def until_ready(database: Any, worker: "asyncio.Task[None]") -> None:
    """Return when the server has loaded the model."""
    from db.engines import list_engines

    while True:
        if worker.done():
            await worker
            raise RuntimeError("the worker ended before its server was ready")
        with database.read() as session:
            engines = list_engines(session)
        if any(engine.state == "ready" for engine in engines):
            return
        failed = next((engine for engine in engines if engine.state == "failed"), None)
        if failed is not None:
            raise RuntimeError(f"the server does not start: {failed.message}")
        await asyncio.sleep(0.5)


async def one_turn(database: Any, model: str, turn: dict[str, int], repeat: int) -> dict[str, Any]:
    """Run one turn of a fresh session; return its seconds by step."""
    from serving.formats.library import load_definitions, sync_definitions
    from workbench.dialogue.cards import node_view
    from workbench.dialogue.decisions import choose
    from workbench.dialogue.events import By
    from workbench.dialogue.lifecycle import new_dialogue
    from workbench.dialogue.turn import answer, ask

    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        dialogue_id = new_dialogue(session, theme(model, turn, repeat), By())
    with database.read() as session:
        from db.dialogues import read_nodes

        node_id = read_nodes(session, dialogue_id)[0].id
    started = time.perf_counter()
    with database.write() as session:
        answering = answer(session, registry, dialogue_id, node_id, By())
    await laid_out(database, dialogue_id)
    answered_s = time.perf_counter() - started
    with database.write() as session:
        view = node_view(session, dialogue_id, node_id)
        if not view.shown:
            raise RuntimeError(f"no answer came: {' '.join(view.problems)}")
        choose(session, dialogue_id, node_id, view.shown[0].answer.id, By())
        asking = ask(session, registry, dialogue_id, node_id, By(), moves=MOVES)
    await laid_out(database, dialogue_id)
    turn_s = time.perf_counter() - started
    with database.read() as session:
        view = node_view(session, dialogue_id, node_id)
    return {
        "turn_s": round(turn_s, 2),
        "answer_s": round(answered_s, 2),
        "ask_s": round(turn_s - answered_s, 2),
        "answers": len(view.shown) + len(view.folded),
        "candidates_read": len(view.candidates),
        "problems": len(view.problems),
        "sweeps": [answering.sweep_id, asking.sweep_id],
    }


def theme(model: str, turn: dict[str, int], repeat: int) -> Any:
    """Return the theme of one turn."""
    from workbench.dialogue.settings import parse_theme

    subject = SUBJECTS[repeat % len(SUBJECTS)]
    return parse_theme(
        {
            "name": f"turn {repeat}",
            "concept": f"Who looks after {subject}",
            "goal": f"Find out how {subject} can be looked after by those who use it",
            "settings": {
                "model": model,
                "prompt_format": "tagged@1",
                "variants": turn["variants"],
                "answers": turn["answers"],
                "reasoning_sampling": {"max_tokens": turn["reasoning_tokens"]},
                "answer_sampling": {"max_tokens": turn["answer_tokens"]},
                "ask_sampling": {"max_tokens": turn["list_tokens"]},
            },
        }
    )


async def laid_out(database: Any, dialogue_id: int) -> None:
    """Return when what the step under way brought is stored, as a page that polls would."""
    while await asyncio.to_thread(_is_under_way, database, dialogue_id):
        await asyncio.sleep(POLL_S)


def _is_under_way(database: Any, dialogue_id: int) -> bool:
    from db.dialogues import read_events
    from workbench.dialogue.events import open_steps

    with database.read() as session:
        return bool(open_steps(read_events(session, dialogue_id)))


def asked(database: Any, sweep_ids: list[int]) -> list[dict[str, Any]]:
    """Return each text of a turn: the prompt as it was sent, and how many tokens came back."""
    from sqlalchemy import select

    from db.tables import Generation, Prompt, SweepGeneration

    with database.read() as session:
        rows = session.execute(
            select(Prompt.token_ids, Generation.completion_tokens, Generation.kind)
            .join(Generation, Generation.prompt_id == Prompt.id)
            .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
            .where(SweepGeneration.sweep_id.in_(sweep_ids), Generation.ok)
            .order_by(Generation.id)
        ).all()
    return [
        {"token_ids": array("I", ids).tolist(), "tokens": tokens, "kind": kind}
        for ids, tokens, kind in rows
    ]


def unsloth_side(job: dict[str, Any]) -> dict[str, Any]:
    """Measure the same texts one prompt at a time."""
    from serving.models.embedded import ensure_embedded_model

    folder = job["model"] or str(ensure_embedded_model())
    generate, loaded_s = load_unsloth(folder, job)
    generate(job["asked"][0]["token_ids"], WARM_UP_TOKENS)
    seconds: dict[str, float] = {}
    tokens = 0
    for place, one in enumerate(job["asked"], start=1):
        started = time.perf_counter()
        tokens += generate(one["token_ids"], one["tokens"])
        spent = time.perf_counter() - started
        seconds[one["kind"]] = seconds.get(one["kind"], 0.0) + spent
        note(f"text {place} of {len(job['asked'])}: {spent:.1f} s")
    turn_s = sum(seconds.values())
    return {
        "turn_s": round(turn_s, 1),
        "seconds_by_kind": {kind: round(spent, 1) for kind, spent in seconds.items()},
        "texts": len(job["asked"]),
        "tokens": tokens,
        "tokens_per_second": round(tokens / turn_s, 1),
        "load_s": round(loaded_s, 1),
        "load_in_4bit": job["device"] == "cuda",
    }


def load_unsloth(folder: str, job: dict[str, Any]) -> tuple[Callable[[list[int], int], int], float]:
    """Return what writes so many tokens after a prompt, and the seconds that loading took."""
    import torch
    from unsloth import FastLanguageModel  # type: ignore[import-not-found,unused-ignore]

    started = time.perf_counter()
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=folder,
        max_seq_length=job["max_model_len"],
        dtype=torch.bfloat16,
        load_in_4bit=job["device"] == "cuda",
        local_files_only=True,
    )
    FastLanguageModel.for_inference(model)
    loaded_s = time.perf_counter() - started

    def generate(token_ids: list[int], n_tokens: int) -> int:
        inputs = torch.tensor([token_ids], device=model.device)
        with torch.inference_mode():
            outputs = model.generate(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=n_tokens,
                min_new_tokens=n_tokens,
                do_sample=True,
                temperature=0.8,
                top_p=0.95,
                use_cache=True,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            )
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        return int(outputs.shape[1] - inputs.shape[1])

    return generate, loaded_s


if __name__ == "__main__":
    main()
