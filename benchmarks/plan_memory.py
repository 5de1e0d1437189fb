"""What a plan says of a GPU's memory, beside what the server then takes.

    python -m benchmarks.plan_memory [OUT.json] --model FOLDER [--cards 16 24 48 80] [--gpu 0]

For each size of card another process holds the rest of one GPU, so that as much is free as such a
card has. The model is then served as the product serves it, nothing asked for: the plan chooses
precision, context and sequences. Told are the plan, the memory that the server really takes after
its start and after a load of bare requests, the share of the plan's word in it, and the load's
tokens a second. A start that fails says why and leaves the other sizes.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks.raw_load import Shape, bodies, run_load
from benchmarks.setting import note, question, write_result
from db.settings import Settings
from serving.engine.command import ServerSpec
from serving.engine.hardware import described_gpus, find_gpus
from serving.engine.messages import Endpoint, EngineError
from serving.engine.supervisor import EngineSupervisor

OUT = Path(__file__).parent / "results" / "plan_memory_h200.json"
NAME = "model-under-test"
LISTS = Shape(name="32 prompts a request", prompts_per_request=32, n=1, in_flight=32)
HOLD = (
    "import sys, time, torch\n"
    "held = torch.empty(int(sys.argv[1]), dtype=torch.uint8, device='cuda')\n"
    "print('held', flush=True)\n"
    "time.sleep(3600)\n"
)


def free_gib() -> float:
    """Return the free memory of the one GPU that is visible."""
    return find_gpus()[0].free_gib


@contextmanager
def only(free: float) -> Iterator[None]:
    """Hold memory in another process until ``free`` GiB are left; a second step makes it exact."""
    holders: list[subprocess.Popen[str]] = []
    try:
        for _ in range(2):
            rest = free_gib() - free - (0 if holders else 1.0)
            if rest > 0.05:
                argv = [sys.executable, "-c", HOLD, str(int(rest * 2**30))]
                holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
                assert holder.stdout is not None
                holder.stdout.readline()
                holders.append(holder)
        yield
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


async def load(endpoint: Endpoint, model: Path, sequences: int) -> dict[str, Any]:
    """Send four texts of up to 256 tokens for each sequence; return the rate."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    prompts = [tokenizer.encode(question(i)).ids for i in range(min(2048, 4 * sequences))]
    common = {"model": NAME, "max_tokens": 256, "temperature": 0.8, "ignore_eos": True}
    sent = await run_load(
        endpoint.api, endpoint.api_key or "", bodies(prompts, 1, LISTS, common), in_flight=32
    )
    return {
        "tokens_per_second": round(sent.tokens_per_second, 1),
        "seconds": round(sent.seconds, 1),
        "failed": sent.failed,
    }


async def serve(model: Path, home: Path) -> dict[str, Any]:
    """Serve the model as planned; return plan, memory and rate."""
    before = free_gib()
    supervisor = EngineSupervisor(Settings(home=home), lambda state: note(state.message))
    started = time.perf_counter()
    spec = ServerSpec(model=model, served_name=NAME, context_length=4096, device="cuda")
    try:
        endpoint = await supervisor.ensure(spec)
        plan = supervisor.plan
        figures: dict[str, Any] = {
            "plan": plan.model_dump(mode="json"),
            "start_s": round(time.perf_counter() - started, 1),
            "free_before_gib": round(before, 2),
            "used_gib": round(before - free_gib(), 2),
        }
        figures["load"] = await load(endpoint, model, plan.max_num_seqs)
        figures["used_after_load_gib"] = round(before - free_gib(), 2)
        if plan.memory is not None:
            planned = plan.memory.total_gib
            figures["planned_gib"] = round(planned, 2)
            figures["planned_over_used"] = round(planned / figures["used_after_load_gib"], 3)
        return figures
    except EngineError as error:
        logs = sorted((home / "logs").glob("server-*.log"))
        tail = logs[-1].read_text(errors="replace")[-3000:] if logs else ""
        return {"failed": str(error), "log": tail}
    finally:
        await supervisor.stop()


def main() -> None:
    """Try every size and write one JSON file after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cards", nargs="+", default=["16", "24", "48", "80"])
    parser.add_argument("--gpu", default="0", help="index of the GPU to use")
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = options.gpu
    cards: dict[str, Any] = {}
    for size in options.cards:
        card = described_gpus(f"1x{size}")[0].total_gib
        with tempfile.TemporaryDirectory() as home, only(card):
            note(f"a card of {size} GB: {free_gib():.1f} GiB are free")
            cards[f"{size} GB"] = asyncio.run(serve(options.model, Path(home)))
        note(str(cards[f"{size} GB"])[:1500])
        write_result(options.out, {"model": options.model.name, "cards": cards})


if __name__ == "__main__":
    main()
