"""The child process that trains, which also writes down what the GPU does in its last steps.

``Q2Q_PROFILE`` names the JSON file and the number of steps before the profile begins.
``Q2Q_GPU_GIB`` lets the process have no more of its GPU: what a smaller card would hold.
"""

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from training.child.__main__ import main
from training.runs.folder import RunFolder

KINDS = (
    ("attention", "^(?!triton).*(flash|fmha)"),
    ("compiled kernels", "^triton_"),
    ("products in FP8", "e4m3|qqtst"),
    ("slow products (align1)", "align1"),
    ("products in 16 bit", "gemm|nvjet|cutlass|splitK|gemv|sm90_xmma|ampere|cublas"),
    ("NF4 to 16 bit", "dequant"),
    ("Unsloth's kernels", "_rms|_rope|_swiglu|_fg_|_DWf|layernorm|cross_entropy"),
    ("optimiser", "8bit|adam|multi_tensor"),
    ("fills, adds and copies", "elementwise|fill|memset|memcpy|copy|cat|reduce"),
)
"""Kinds of kernels and what their names look like, the first match counts."""


def kind_of(name: str) -> str:
    """Return what a kernel does."""
    return next((kind for kind, form in KINDS if re.search(form, name, re.I)), "others")


def _profiling(path: Path, first: int) -> Any:
    import torch
    from torch.profiler import ProfilerActivity, profile
    from transformers import TrainerCallback

    class Profiling(TrainerCallback):
        run: Any = None
        steps = 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == first:
                torch.cuda.synchronize()
                self.run = profile(activities=[ProfilerActivity.CUDA])
                self.run.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.steps += self.run is not None
            if self.run is not None and state.global_step == state.max_steps:
                torch.cuda.synchronize()
                self.run.stop()
                path.write_text(json.dumps(_summed(self.run, self.steps)), "utf-8")

    return Profiling()


def _summed(run: Any, steps: int) -> dict[str, Any]:
    kinds: dict[str, float] = {}
    kernels: dict[str, list[float]] = {}
    for event in run.events():
        if "cuda" not in str(event.device_type).lower():
            continue
        took = event.device_time_total / 1000 / steps
        one = kernels.setdefault(event.name[:110], [0.0, 0.0])
        one[0] += took
        one[1] += 1 / steps
        kinds[kind_of(event.name)] = kinds.get(kind_of(event.name), 0.0) + took
    largest = sorted(kernels.items(), key=lambda one: -one[1][0])[:40]
    return {
        "ms_a_step": {k: round(v, 1) for k, v in sorted(kinds.items(), key=lambda one: -one[1])},
        "gpu_ms_a_step": round(sum(kinds.values()), 1),
        "largest_kernels": {name: [round(ms, 2), round(n)] for name, (ms, n) in largest},
    }


def profiled() -> int:
    """Train, with one more callback."""
    importlib.import_module("unsloth")  # before trl, which the trainers import
    trainers = importlib.import_module("training.child.trainers")
    if "Q2Q_GPU_GIB" in os.environ:
        torch = importlib.import_module("torch")
        share = float(os.environ["Q2Q_GPU_GIB"]) * 2**30 / torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(share, int(os.environ.get("LOCAL_RANK", "0")))
    if "Q2Q_PROFILE" not in os.environ:
        return main(RunFolder(Path(sys.argv[1])))
    path, first = os.environ["Q2Q_PROFILE"].rsplit(" ", 1)
    plain = trainers.make_trainer

    def make(*given: Any, **more: Any) -> Any:
        trainer = plain(*given, **more)
        trainer.add_callback(_profiling(Path(path), int(first)))
        return trainer

    trainers.make_trainer = make  # type: ignore[attr-defined]  # of a module
    return main(RunFolder(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(profiled())
