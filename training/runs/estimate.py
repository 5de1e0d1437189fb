"""What a run takes, told before it begins: steps, time, memory, disk.

Time and memory are those of the newest run on this machine that was trained alike, where there is
one. Else they follow from figures that were measured once: products of a step (twice the weights
for each token and pass: forwards, backwards to the inputs, and forwards again where activations are
recomputed; the frozen base has no gradients of weights), at the speed of one H200 with a 14B base
(``benchmarks/results/training_fast_h200.json``) or of a CPU core with SmolLM2
(``docs/training.md``).
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import fmean, median
from typing import cast

from sqlalchemy.orm import Session

from db.errors import Q2QError, free_bytes
from db.models import ModelRow
from db.training import RunRow, list_runs, run_curves
from serving.device import Device
from serving.engine.memory import GIB
from serving.engine.shape import ModelShape
from serving.formats.definitions import FormatDefinition
from serving.formats.tokenizer import PromptTokenizer
from training.datasets.rows import EncodedRow, encode_dataset
from training.runs.presets import IN_FP8, RunSettings, run_gib

SAMPLE = 64
"""Rows that are looked at, evenly over the dataset."""
_PASSES = {"unsloth": 6, "plain": 6, "none": 4}
"""Products of a step for each token and weight."""
_REFERENCE_PASSES = {"dpo": 2, "kto": 2}
"""Of the base, which these methods compare with."""
_H200_FLOPS = {"fp8": 780e12, "packed": 520e12, "padded": 150e12}
"""Products a second, by what multiplies and whether rows are packed."""
_CORE_FLOPS = 150e9
_LEAST_STEP_S = 0.1
"""Of a small model on a GPU: kernels have to be launched."""
_AROUND_S: Mapping[Device, tuple[float, float]] = {"cpu": (20.0, 14.0), "cuda": (90.0, 15.0)}
"""Seconds outside the steps: once, and for each look at held-out rows."""
_ALIKE = (
    "batch", "max_length", "packing", "recomputation", "base_precision", "layers", "processes",
    "nodes", "targets", "samples",
)  # fmt: skip
"""Settings that make two runs alike in speed and memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSizes:
    """Tokens of some rows of a dataset."""

    n_rows: int
    """Of the whole dataset, to train on."""
    longest: tuple[int, ...]
    """Of each row looked at, its longest text: what has to fit into ``max_length``."""
    tokens: tuple[int, ...]
    """Of each, what a step goes through: prompts once for each text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEstimate:
    """What a run will take, about."""

    steps: int
    tokens_per_second: float
    seconds: float
    """Of the whole run."""
    around_s: float
    """Of these, outside the steps: start, loading, held-out rows, sample texts, saving."""
    memory_gib: float
    """Of the GPU where there is one, else of the process."""
    disk_gib: float
    too_long: float
    """Share of rows that do not fit into ``max_length`` and are left out."""
    like_run: int | None
    """The run whose speed and memory these are; None: measured elsewhere and scaled."""


def row_length(row: EncodedRow) -> int:
    """Return the tokens of the longest text of a row."""
    sizes = {name: len(value) for name, value in row.items() if isinstance(value, list)}
    if "input_ids" in sizes:
        return sizes["input_ids"]
    prompt = sizes.pop("prompt_ids")
    return prompt + max(sizes.values())


def _tokens(row: EncodedRow) -> int:
    sizes = {name: len(value) for name, value in row.items() if isinstance(value, list)}
    if "input_ids" in sizes:
        return sizes["input_ids"]
    prompt = sizes.pop("prompt_ids")
    return sum(prompt + size for size in sizes.values())


def row_sizes(
    session: Session, dataset_id: int, n_rows: int, form: FormatDefinition, base: ModelRow
) -> RowSizes:
    """Return the tokens of some rows to train on, as they will be trained.

    Raises:
        UsageError: A row cannot be rendered in this format.
    """
    tokenizer = PromptTokenizer.load(Path(cast(str, base.path)))
    every = max(1, n_rows // SAMPLE)
    return sizes_of(
        encode_dataset(session, dataset_id, "train", form, tokenizer, every=every), n_rows
    )


def sizes_of(rows: Sequence[EncodedRow], n_rows: int) -> RowSizes:
    """Return the tokens of ``rows``, which are some of ``n_rows``."""
    return RowSizes(
        n_rows=n_rows,
        longest=tuple(map(row_length, rows)),
        tokens=tuple(map(_tokens, rows)),
    )


def estimate_run(
    session: Session,
    base: ModelRow,
    shape: ModelShape,
    settings: RunSettings,
    method: str,
    device: Device,
    sizes: RowSizes,
) -> RunEstimate | None:
    """Return what a run will take; None where no row fits into ``max_length``.

    Args:
        session: Of the store, for runs that were trained alike.
        base: What is trained.
        shape: Of it.
        settings: As resolved.
        method: A name of ``training.methods``.
        device: What trains.
        sizes: Of the dataset's rows.
    """
    fitting = [
        tokens
        for tokens, length in zip(sizes.tokens, sizes.longest, strict=True)
        if length <= settings.max_length
    ]
    if not fitting:
        return None
    n_rows = sizes.n_rows * len(fitting) / len(sizes.longest)
    steps, step_tokens = _steps(settings, n_rows, fmean(fitting))
    like = _alike(session, base.id, settings, method, device)
    rate = _rate_of(session, like) if like else None
    known = like is not None and rate is not None
    if rate is None:
        rate = _scaled_rate(shape, settings, method, device, step_tokens)
    looks = 1 + steps // settings.eval_every
    once, each = _around(like) if like and known else _AROUND_S[device]
    around = once + each * looks
    longest = sorted(one for one in sizes.longest if one <= settings.max_length)
    batch_tokens = settings.batch * (settings.max_length if settings.packing else longest[-1])
    memory = like.summary.get("memory_gib") if like and known else None
    return RunEstimate(
        steps=steps,
        tokens_per_second=rate,
        seconds=steps * step_tokens / rate + around,
        around_s=around,
        memory_gib=memory or run_gib(settings, shape, batch_tokens, device),
        disk_gib=needed_bytes(Path(cast(str, base.path)), settings) / GIB,
        too_long=1 - len(fitting) / len(sizes.longest),
        like_run=like.id if like and known else None,
    )


def _steps(settings: RunSettings, n_rows: float, row_tokens: float) -> tuple[int, float]:
    """Return the number of steps, and the tokens of one."""
    sequences = settings.batch * settings.accumulation * settings.world_size
    tokens = sequences * (settings.max_length if settings.packing else row_tokens)
    tokens = min(tokens, n_rows * row_tokens)
    if settings.max_steps is not None:
        return settings.max_steps, tokens
    an_epoch = max(1, ceil(n_rows * row_tokens / tokens))
    return max(1, ceil((settings.epochs or 1) * an_epoch)), tokens


def _alike(
    session: Session, base_id: int, settings: RunSettings, method: str, device: Device
) -> RunRow | None:
    """Return the newest done run on this base with the same settings, as far as speed goes."""
    wanted = settings.model_dump(mode="json", include=set(_ALIKE))
    for run in list_runs(session):
        is_alike = run.state == "done" and run.base_model_version_id == base_id
        if (
            is_alike
            and run.method == method
            and (run.summary.get("device") != "cpu") == (device == "cuda")
        ):
            own = run.config.get("settings", {})
            if all(own.get(name) == value for name, value in wanted.items()):
                return run
    return None


def _rate_of(session: Session, run: RunRow) -> float | None:
    """Return the median speed of a run, in tokens a second."""
    found = run_curves(session, run.id, ["tokens_per_second"]).get("tokens_per_second")
    return median(found.values) if found else None


def _around(run: RunRow) -> tuple[float, float]:
    """Return the seconds that a run spent outside its steps: once, and for each of its looks."""
    seconds: dict[str, float] = run.summary.get("phases", {})
    looking = seconds.get("evaluation", 0.0) + seconds.get("samples", 0.0)
    once = sum(seconds.values()) - looking - seconds.get("steps", 0.0)
    looks = 1 + run.summary.get("step", 0) // run.config["settings"]["eval_every"]
    return once, looking / looks


def _scaled_rate(
    shape: ModelShape, settings: RunSettings, method: str, device: Device, step_tokens: float
) -> float:
    """Return tokens a second by figures that were measured once."""
    passes = _PASSES[settings.recomputation] + _REFERENCE_PASSES.get(method, 0)
    weights = shape.linear + shape.vocabulary * shape.hidden  # the head multiplies too
    if device == "cpu":
        return _CORE_FLOPS * _cores() / (passes * weights)
    is_fp8 = settings.base_precision in IN_FP8
    is_packed = settings.packing or settings.layers == "compiled"
    kind = "fp8" if is_fp8 else "packed" if is_packed else "padded"
    rate = settings.world_size * _H200_FLOPS[kind] / (passes * weights)
    return min(rate, step_tokens / _LEAST_STEP_S)


def _cores() -> int:
    """Return the threads with which PyTorch will compute."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else os.cpu_count() or 1


_BYTES_EACH = 4 + 8
"""A trained value with its two moments, in 32 bits each."""
_KEPT = 3
"""Two checkpoints and the one being written."""
_LEAST = 200 * 2**20
"""Caches and logs."""


def trained_values(model: Path, settings: RunSettings) -> int:
    """Return about how many values the adapter of a Llama-like base has."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    hidden = int(config.get("hidden_size", 4096))
    inner = int(config.get("intermediate_size", 4 * hidden))
    layers = int(config.get("num_hidden_layers", 40))
    return (
        settings.r
        * layers
        * sum(
            hidden + inner if name in ("gate_proj", "up_proj", "down_proj") else 2 * hidden
            for name in settings.targets
        )
    )


def needed_bytes(model: Path, settings: RunSettings) -> int:
    """Return how much a run writes at most."""
    return trained_values(model, settings) * _BYTES_EACH * _KEPT + _LEAST


def check_disk(folder: Path, model: Path, settings: RunSettings) -> None:
    """Refuse a run that the disk cannot hold.

    Raises:
        Q2QError: There is too little room; the sentence says how much is needed.
    """
    needed, free = needed_bytes(model, settings), free_bytes(folder)
    if free < needed:
        raise Q2QError(
            "Training needs about {needed:.1f} GiB in {folder}, and {free:.1f} GiB"
            " are free; make room there, set Q2Q_HOME to another disk, or choose a smaller r.",
            needed=needed / 2**30,
            folder=folder,
            free=free / 2**30,
        )
