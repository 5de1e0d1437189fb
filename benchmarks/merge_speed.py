"""How long a merge and its proof take, against the disk's own write speed.

The same bytes are written plainly first. ``--toy`` runs on the embedded model. On a GPU:

    python -m benchmarks.merge_speed --base FOLDER --work FOLDER

makes a random adapter (r = 16, all seven projections) for a 16-bit base, merges, and proves.
Room for the base's bytes is needed in ``--work``, and for the base beside it.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.setting import new_store, note, write_result
from db.models import get_model
from db.settings import Settings
from serving.device import resolve_device
from serving.models.embedded import ensure_embedded_model
from serving.models.register import add_model
from serving.models.tensor_files import weight_files
from training.merge.folder import weights_bytes
from training.merge.merge import merge_adapter
from training.merge.proof import prove

OUT = Path("benchmarks/results/merge_speed_cpu.json")
_PIECE = 64 * 2**20
_ADAPTER = """
import json, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from serving.models.tensor_files import tensor_places, weight_files
base, target, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
torch.manual_seed(0)
tensors = {}
for places in tensor_places(weight_files(base)).values():
    for name, place in places.items():
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] in names:
            out, width = place.shape
            key = f"base_model.model.{module}.lora_"
            tensors[key + "A.weight"] = torch.randn(rank, width) / width**0.5
            tensors[key + "B.weight"] = torch.randn(out, rank) * 0.003
target.mkdir(parents=True)
save_file(tensors, target / "adapter_model.safetensors")
config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank,
          "target_modules": names, "lora_dropout": 0.0, "bias": "none",
          "base_model_name_or_path": str(base)}
(target / "adapter_config.json").write_text(json.dumps(config))
"""


def plain_write(base: Path, folder: Path) -> float:
    """Return the seconds that writing the base's bytes takes, synced to disk; then delete them."""
    folder.mkdir(parents=True)
    started = time.perf_counter()
    for path in weight_files(base):
        with path.open("rb") as source, (folder / path.name).open("wb") as target:
            while piece := source.read(_PIECE):
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds


def read_once(base: Path) -> float:
    """Read the base's files, so that all later steps find them as warm as memory allows."""
    started = time.perf_counter()
    for path in weight_files(base):
        with path.open("rb") as source:
            while source.read(_PIECE):
                pass
    return time.perf_counter() - started


def measure(base: Path, work: Path, adapter: Path | None) -> dict[str, Any]:
    """Return the seconds of each step."""
    work.mkdir(parents=True, exist_ok=True)
    settings = Settings(home=work / "home")
    settings.home_dir.mkdir(parents=True, exist_ok=True)
    store = new_store(None, work)
    if adapter is None:
        adapter = work / "adapter"
        note("making a random adapter")
        subprocess.run([sys.executable, "-c", _ADAPTER, str(base), str(adapter), "16"], check=True)
    seconds: dict[str, float] = {}
    size = weights_bytes(base)
    note(f"reading and writing {size / 1e9:.1f} GB plainly")
    seconds["plain_read"] = read_once(base)
    seconds["plain_write"] = plain_write(base, work / "plain")
    note("adding base and adapter (digests)")
    started = time.perf_counter()
    base_row = add_model(store, str(base), name="base").model
    seconds["base_digest"] = time.perf_counter() - started
    adapter_row = add_model(store, str(adapter), name="adapter", base=base_row.name).model
    steps: dict[str, float] = {}

    def progress(done: int, total: int | None, message: str) -> None:
        steps.setdefault(message, time.perf_counter())

    async def run() -> tuple[int, bool, list[dict[str, Any]]]:
        never = asyncio.Event()
        note("merging")
        started = time.perf_counter()
        model_id = await merge_adapter(
            store, settings, adapter_row.id, on_progress=progress, cancelled=never
        )
        seconds["merge"] = time.perf_counter() - started
        note("proving")
        started = time.perf_counter()
        proof = await prove(store, settings, model_id, on_progress=progress, cancelled=never)
        seconds["proof"] = time.perf_counter() - started
        checks = [
            {
                "name": check.name,
                "passed": check.passed,
                "measured": check.measured,
                "tolerance": check.tolerance,
                "detail": check.detail,
            }
            for check in proof.checks
        ]
        return model_id, proof.passed, checks

    model_id, passed, checks = asyncio.run(run())
    with store.read() as session:
        folder = get_model(session, model_id).path
    store.close()
    begins = sorted(steps.items(), key=lambda step: step[1])
    shape = json.loads((base / "config.json").read_text("utf-8"))
    return {
        "model": {
            key: shape.get(key) for key in ("model_type", "hidden_size", "num_hidden_layers")
        },
        "device": resolve_device(settings.device),
        "gigabytes": round(size / 1e9, 3),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "proof_steps_began_s": {name: round(at - begins[0][1], 2) for name, at in begins if begins},
        "merge_gb_per_second": round(size / 1e9 / seconds["merge"], 3),
        "plain_write_gb_per_second": round(size / 1e9 / seconds["plain_write"], 3),
        "merge_over_plain_write": round(seconds["merge"] / seconds["plain_write"], 2),
        "proof_passed": passed,
        "checks": checks,
        "merged_folder": Path(folder).name if folder else None,
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="folder of a 16-bit model")
    parser.add_argument("--adapter", type=Path, help="folder of an adapter; default: a random one")
    parser.add_argument("--work", type=Path, required=True, help="empty folder on the disk to test")
    parser.add_argument("--toy", action="store_true", help="use the embedded model")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    base = ensure_embedded_model() if chosen.toy else chosen.base
    if base is None:
        parser.error("give --base, or --toy")
    result = measure(base.absolute(), chosen.work.absolute(), chosen.adapter)
    write_result(chosen.out, result)
    note(f"merge {result['seconds']['merge']} s, plain {result['seconds']['plain_write']} s")


if __name__ == "__main__":
    main()
