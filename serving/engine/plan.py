"""How a server serves a model on the hardware there is: precision, parallelism, limits, memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from db.errors import Q2QError
from db.identity import AS_STORED, Precision
from db.messages import Message
from db.settings import Settings
from serving.device import Device
from serving.engine.hardware import BF16_CAPABILITY, Gpu, find_gpus, idle, names_of
from serving.engine.memory import GIB, MemoryUse, weight_bytes
from serving.engine.plan_rules import (
    GPU_MEMORY_UTILIZATION,
    SEQUENCES,
    TIGHT_TOKENS,
    check_wanted,
    choose,
)
from serving.engine.plan_sentence import explain
from serving.engine.plan_types import PRECISION_NAMES, Choice, DoesNotFit, Wanted
from serving.engine.shape import ModelShape, read_shape
from serving.models.tensor_files import ModelError

CPU_MAX_MODEL_LEN = 4096
CPU_MAX_NUM_SEQS = 64
FALLBACK_CONTEXT = 4096
MAX_LOWERED = 2
"""Starts with less memory after one that had too little."""
GPU_MAX_NUM_SEQS = 256
"""Where nothing is known of the GPU: vLLM's own default."""


def _read_sentence(given: Any, validate: ValidatorFunctionWrapHandler) -> str:
    return given if isinstance(given, Message) else Message.read(validate(given))


def _store_sentence(text: str) -> str:
    return text.store() if isinstance(text, Message) else text


Sentence = Annotated[str, WrapValidator(_read_sentence), PlainSerializer(_store_sentence)]
"""A message that stays translatable in JSON."""


class ServingPlan(BaseModel):
    """The values that a server is started with, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision = AS_STORED
    """In which the weights are served."""
    dtype: Literal["auto", "float16"] = "auto"
    """Of activations and of weights in 16 bit; ``auto`` is the model's own."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share each layer."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """GPUs, or groups of them, that hold the layers one after another."""
    data_parallel: int = Field(default=1, ge=1)
    """Engines behind the one URL, each with the whole model."""
    gpus: tuple[int, ...] = ()
    """Indices of the GPUs to use; empty means the first that are visible."""
    max_model_len: int = Field(ge=1)
    """Tokens that one request may hold, prompt and completion together."""
    max_num_seqs: int = Field(ge=1)
    """Sequences that one engine decodes together."""
    max_num_batched_tokens: int | None = Field(default=None, ge=1)
    """Tokens of one engine's largest batch; None leaves it to vLLM."""
    gpu_memory_utilization: float = Field(default=GPU_MEMORY_UTILIZATION, gt=0, le=1)
    """Share of a GPU's memory that vLLM may take."""
    memory: MemoryUse | None = None
    """What each GPU will hold; None where that is not known."""
    n_lowered: int = Field(default=0, ge=0)
    """How often it was lowered, since a server ran out of memory while it started."""
    why: Sentence = ""
    """What was chosen and why, in one sentence."""

    @property
    def gpus_per_engine(self) -> int:
        """GPUs that hold the model once."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def n_gpus(self) -> int:
        """GPUs of all engines."""
        return self.gpus_per_engine * self.data_parallel

    @property
    def total_num_seqs(self) -> int:
        """Sequences that all engines decode together."""
        return self.max_num_seqs * self.data_parallel


class Limits(BaseModel):
    """What people set for one model, over settings and plan; None leaves a value to these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor_parallel_size: int | None = Field(default=None, ge=1)
    pipeline_parallel_size: int | None = Field(default=None, ge=1)
    data_parallel_size: int | None = Field(default=None, ge=1)
    max_model_len: int | None = Field(default=None, ge=256)
    max_num_seqs: int | None = Field(default=None, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)

    def over(self, settings: Settings) -> Settings:
        """Return ``settings`` with these values in their place."""
        return settings.model_copy(update=self.model_dump(exclude_none=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a plan is made for."""

    name: str
    device: Device
    folder: Path | None = None
    """Of the model; None where only its shape is known."""
    shape: ModelShape | None = None
    """Default: as the folder tells it."""
    context_length: int | None = None
    """Default: as the shape tells it."""
    precision: Precision | None = None
    """The one that is asked for; None leaves it to settings and plan."""
    lora_ranks: int = 0
    """Ranks of all adapters in one batch together."""
    limits: Limits = field(default_factory=Limits)


def make_plan(
    subject: Subject,
    settings: Settings,
    gpus: Sequence[Gpu] | None = None,
    others: Sequence[ModelShape] = (),
) -> ServingPlan:
    """Return how this machine, or ``gpus``, will serve a model.

    Args:
        subject: The model and what is asked for.
        settings: Of this workbench.
        gpus: Default: those of this machine, with the memory that is free now.
        others: Further models, named where this one does not fit but they do.

    Raises:
        UsageError: The settings contradict the model.
        DoesNotFit: It fits in no way; the sentence says what would.
    """
    wanted = wanted_of(subject, settings)
    settings = subject.limits.over(settings)
    shape = _shape(subject)
    if subject.device == "cpu":
        return _cpu_plan(subject, shape, wanted, settings)
    gpus = find_gpus() if gpus is None else gpus
    if shape is None or not gpus:
        return _unknown(subject, wanted)
    try:
        choice = choose(shape, gpus, wanted, others)
    except DoesNotFit as error:
        raise _for_others(shape, gpus, wanted) or error from None
    if wanted.precision == _by_itself(shape, gpus, wanted):
        choice = replace(choice, is_asked=False)
    return plan_of(shape, choice, gpus)


def _for_others(shape: ModelShape, gpus: Sequence[Gpu], wanted: Wanted) -> DoesNotFit | None:
    """Return the refusal where only what other programs hold is in the way; else None."""
    try:
        choice = choose(shape, idle(gpus), wanted)
    except DoesNotFit:
        return None
    return DoesNotFit(
        "{model} in {precision} needs more memory than is free: other programs hold {held} GiB of"
        " {gpus} (see nvidia-smi). End them, or serve it in a smaller precision.",
        model=shape.name,
        precision=PRECISION_NAMES[choice.precision],
        held=f"{sum(gpu.used_gib for gpu in gpus):.1f}",
        gpus=names_of(gpus),
    )


def _by_itself(shape: ModelShape, gpus: Sequence[Gpu], wanted: Wanted) -> Precision | None:
    """Return the precision that is chosen where nobody asks for one and the GPUs are idle."""
    try:
        return choose(shape, idle(gpus), replace(wanted, precision=None)).precision
    except Q2QError:
        return None


def wanted_of(subject: Subject, settings: Settings) -> Wanted:
    """Return what settings and request ask for."""
    settings = subject.limits.over(settings)
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


def lowered(plan: ServingPlan, settings: Settings) -> ServingPlan | None:
    """Return a plan that takes less memory, for a GPU that had too little after all.

    What people set themselves stays. None where nothing is left to lower: on a CPU, or where the
    plan was lowered twice.
    """
    if plan.memory is None or plan.n_lowered >= MAX_LOWERED:
        return None
    changes: dict[str, float] = {}
    if settings.max_num_seqs is None and plan.max_num_seqs > SEQUENCES[-1]:
        changes["max_num_seqs"] = plan.max_num_seqs // 2
    if settings.gpu_memory_utilization is None:
        changes["gpu_memory_utilization"] = round(plan.gpu_memory_utilization - 0.03, 3)
    if settings.max_model_len is None and plan.max_model_len > TIGHT_TOKENS:
        changes["max_model_len"] = max(TIGHT_TOKENS, plan.max_model_len // 2)
    if not changes:
        return None
    names = ", ".join(f"{name} {value:g}" for name, value in changes.items())
    why = Message(
        "{plan} Lowered after a start that ran out of memory: {changes}.",
        plan=plan.why,
        changes=names,
    )
    return plan.model_copy(update={**changes, "n_lowered": plan.n_lowered + 1, "why": why})


def _shape(subject: Subject) -> ModelShape | None:
    """Return the shape of the model; None where its files do not tell it."""
    shape = subject.shape
    if shape is None and subject.folder is not None:
        try:
            shape = read_shape(subject.folder, subject.name)
        except ModelError:
            return None
    if shape is not None and subject.context_length is not None:
        return shape.model_copy(update={"context_length": subject.context_length})
    return shape


def _cpu_plan(
    subject: Subject, shape: ModelShape | None, wanted: Wanted, settings: Settings
) -> ServingPlan:
    data = wanted.data or 1
    total = psutil.virtual_memory().total / GIB
    if shape is not None:
        check_wanted(shape, replace(wanted, precision=None))
        held = data * (weight_bytes(shape, AS_STORED) / GIB + settings.kv_cache_gib)
        if held > total:
            raise DoesNotFit(
                "{model} does not fit this machine: its weights and the cache take {need} GiB, and"
                " there are {has} GiB of memory. Serve a smaller model, or lower {settings}.",
                model=subject.name,
                need=f"{held:.1f}",
                has=f"{total:.1f}",
                settings="data_parallel_size" if data > 1 else "kv_cache_gib",
            )
    longest = subject.context_length or (shape.context_length if shape else CPU_MAX_MODEL_LEN)
    plan = ServingPlan(
        precision=wanted.precision or AS_STORED,
        tensor_parallel=wanted.tensor or 1,
        pipeline_parallel=wanted.pipeline or 1,
        data_parallel=data,
        max_model_len=min(wanted.max_model_len or CPU_MAX_MODEL_LEN, longest),
        max_num_seqs=wanted.max_num_seqs or CPU_MAX_NUM_SEQS,
    )
    why = Message(
        "{model} in {precision} on the CPU; {n} sequences at once, of up to {most} tokens each.",
        model=subject.name,
        precision=PRECISION_NAMES[plan.precision],
        n=plan.total_num_seqs,
        most=plan.max_model_len,
    )
    return plan.model_copy(update={"why": why})


def _unknown(subject: Subject, wanted: Wanted) -> ServingPlan:
    """Return vLLM's own defaults, where model or GPU tell too little to plan."""
    longest = subject.context_length or FALLBACK_CONTEXT
    return ServingPlan(
        precision=wanted.precision or AS_STORED,
        tensor_parallel=wanted.tensor or 1,
        pipeline_parallel=wanted.pipeline or 1,
        data_parallel=wanted.data or 1,
        max_model_len=min(wanted.max_model_len or longest, longest),
        max_num_seqs=wanted.max_num_seqs or GPU_MAX_NUM_SEQS,
        gpu_memory_utilization=wanted.gpu_memory_utilization or GPU_MEMORY_UTILIZATION,
        why=Message(
            "{model} on the GPU by vLLM's own limits: its memory could not be planned.",
            model=subject.name,
        ),
    )
