"""Plans made on this machine: the shape of a folder, the GPUs that are free, the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from db.identity import AS_STORED, Precision
from db.settings import Settings
from serving.device import Device
from serving.engine.hardware import BF16_CAPABILITY, FP8_CAPABILITY, Gpu, find_gpus, names_of
from serving.engine.memory import GIB, Split, weight_bytes
from serving.engine.plan import GPU_MEMORY_UTILIZATION, ServingPlan
from serving.engine.planner import PRECISION_NAMES, Choice, DoesNotFit, Wanted, choose
from serving.engine.shape import ModelShape, read_shape
from serving.models.tensor_files import ModelError

CPU_MAX_MODEL_LEN = 4096
CPU_MAX_NUM_SEQS = 64
GPU_MAX_NUM_SEQS = 256
"""Where nothing is known of the GPU: vLLM's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a plan is made for."""

    folder: Path
    name: str
    context_length: int
    device: Device
    precision: Precision | None = None
    """The one that is asked for; None leaves it to settings and plan."""
    lora_ranks: int = 0
    """Ranks of all adapters in one batch together."""


def make_plan(
    subject: Subject, settings: Settings, gpus: Sequence[Gpu] | None = None
) -> ServingPlan:
    """Return how this machine, or ``gpus``, will serve a model.

    Raises:
        UsageError: The settings contradict the model.
        DoesNotFit: It fits in no way; the sentence says what would.
    """
    wanted = wanted_of(subject, settings)
    shape = _shape(subject)
    if subject.device == "cpu":
        return _cpu_plan(subject, shape, wanted, settings)
    gpus = find_gpus() if gpus is None else gpus
    if shape is None or not gpus:
        return _unknown(subject, wanted)
    return plan_of(shape, choose(shape, gpus, wanted), gpus)


def wanted_of(subject: Subject, settings: Settings) -> Wanted:
    """Return what settings and request ask for."""
    asked = None if settings.precision == "auto" else settings.precision
    return Wanted(
        precision=subject.precision or asked,
        tensor=settings.tensor_parallel_size,
        pipeline=settings.pipeline_parallel_size,
        data=settings.data_parallel_size,
        max_model_len=settings.max_model_len,
        max_num_seqs=settings.max_num_seqs,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        largest_graph=settings.max_cudagraph_capture_size,
        lora_ranks=subject.lora_ranks,
    )


def plan_of(shape: ModelShape, choice: Choice, gpus: Sequence[Gpu]) -> ServingPlan:
    """Return the plan that a choice among ``gpus`` comes to, with its sentence."""
    indices = tuple(gpu.index for gpu in choice.used)
    return ServingPlan(
        precision=choice.precision,
        dtype="float16" if choice.pool.capability < BF16_CAPABILITY else "auto",
        tensor_parallel=choice.split.tensor,
        pipeline_parallel=choice.split.pipeline,
        data_parallel=choice.data,
        gpus=indices if len(indices) < len(gpus) else (),
        max_model_len=choice.max_model_len,
        max_num_seqs=choice.max_num_seqs,
        max_num_batched_tokens=choice.batched_tokens,
        gpu_memory_utilization=choice.pool.utilization,
        memory=choice.memory,
        why=explain(shape, choice, gpus),
    )


def explain(shape: ModelShape, choice: Choice, gpus: Sequence[Gpu]) -> str:
    """Return in one sentence what was chosen for a model on ``gpus``, and why."""
    sentence = (
        "{model} in {precision}, {engines} on {gpus}: {reason}; {sequences} sequences at once, of"
        " up to {tokens} tokens each{notes}."
    )
    return sentence.format(
        model=shape.name,
        precision=PRECISION_NAMES[choice.precision],
        engines=_engines(choice),
        gpus=f"{names_of(choice.used)} ({min(gpu.total_gib for gpu in choice.used):.0f} GiB)",
        reason=_reason(shape, choice),
        sequences=choice.max_num_seqs * choice.data,
        tokens=choice.max_model_len,
        notes="".join(f"; {note}" for note in _notes(choice, gpus)),
    )


def _engines(choice: Choice) -> str:
    if choice.split.gpus > 1:
        sharing = "{n} engine" if choice.data == 1 else "{n} engines"
        return (sharing + " of {code} GPUs").format(n=choice.data, code=choice.split.gpus)
    return "one engine" if choice.data == 1 else f"{choice.data} engines"


def _reason(shape: ModelShape, choice: Choice) -> str:
    sizes = {name: f"{weight_bytes(shape, name) / GIB:.1f}" for name in ("bf16", choice.precision)}
    if shape.stored_bytes:
        return f"its folder is quantised already ({sizes[choice.precision]} GiB)"
    if choice.is_asked and choice.split.gpus == 1:
        return f"as asked, {sizes[choice.precision]} GiB of weights"
    if choice.split.pipeline > 1:
        return "no other way holds it; layers stand one after another (pipeline parallel)"
    if choice.split.tensor > 1:
        return (
            f"one GPU leaves too little room beside {sizes[choice.precision]} GiB of weights, so"
            " GPUs share each layer (tensor parallel)"
        )
    if choice.precision == AS_STORED:
        return f"{sizes[AS_STORED]} GiB of weights leave room for the cache"
    less = f"16 bit ({sizes[AS_STORED]} GiB of weights) leaves too little room for the cache"
    if choice.precision == "fp8":
        return less
    if choice.pool.capability < FP8_CAPABILITY:
        return f"{less}, and FP8 needs compute capability {FP8_CAPABILITY}"
    return f"{less}, and so does FP8"


def _notes(choice: Choice, gpus: Sequence[Gpu]) -> list[str]:
    notes = []
    if choice.pool.capability < BF16_CAPABILITY:
        notes.append("float16, since these GPUs have no bf16")
    busy = [gpu for gpu in gpus if gpu.used_gib > 0.1 * gpu.total_gib]
    if busy:
        notes.append(f"other programs hold {sum(gpu.used_gib for gpu in busy):.0f} GiB")
    if unused := len(gpus) - len(choice.used):
        notes.append(f"{unused} GPUs stay unused")
    return notes


def _shape(subject: Subject) -> ModelShape | None:
    """Return the shape of the model; None where its files do not tell it."""
    try:
        shape = read_shape(subject.folder, subject.name)
    except ModelError:
        return None
    return shape.model_copy(update={"context_length": subject.context_length})


def _cpu_plan(
    subject: Subject, shape: ModelShape | None, wanted: Wanted, settings: Settings
) -> ServingPlan:
    data = wanted.data or 1
    total = psutil.virtual_memory().total / GIB
    if shape is not None:
        held = data * (weight_bytes(shape, AS_STORED) / GIB + settings.kv_cache_gib)
        if held > total:
            raise DoesNotFit(
                "{model} does not fit this machine: its weights and the cache take {need} GiB, and"
                " there are {has} GiB of memory. Serve a smaller model, or lower kv_cache_gib.",
                model=subject.name,
                need=f"{held:.1f}",
                has=f"{total:.1f}",
            )
    plan = ServingPlan(
        precision=wanted.precision or AS_STORED,
        tensor_parallel=wanted.tensor or 1,
        pipeline_parallel=wanted.pipeline or 1,
        data_parallel=data,
        max_model_len=min(wanted.max_model_len or CPU_MAX_MODEL_LEN, subject.context_length),
        max_num_seqs=wanted.max_num_seqs or CPU_MAX_NUM_SEQS,
    )
    why = (
        f"{subject.name} in {PRECISION_NAMES[plan.precision]} on the CPU;"
        f" {plan.total_num_seqs} sequences at once, of up to {plan.max_model_len} tokens each."
    )
    return plan.model_copy(update={"why": why})


def _unknown(subject: Subject, wanted: Wanted) -> ServingPlan:
    """Return vLLM's own defaults, where model or GPU tell too little to plan."""
    split = Split(tensor=wanted.tensor or 1, pipeline=wanted.pipeline or 1)
    return ServingPlan(
        precision=wanted.precision or AS_STORED,
        tensor_parallel=split.tensor,
        pipeline_parallel=split.pipeline,
        data_parallel=wanted.data or 1,
        max_model_len=min(wanted.max_model_len or subject.context_length, subject.context_length),
        max_num_seqs=wanted.max_num_seqs or GPU_MAX_NUM_SEQS,
        gpu_memory_utilization=wanted.gpu_memory_utilization or GPU_MEMORY_UTILIZATION,
        why=f"{subject.name} on the GPU by vLLM's own limits: its memory could not be planned.",
    )
