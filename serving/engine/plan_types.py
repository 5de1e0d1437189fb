"""What a plan is made of: what people ask for, GPUs used alike, one way to serve a model."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.errors import Q2QError
from db.identity import Precision
from db.messages import Message
from serving.engine.hardware import Gpu
from serving.engine.memory import MemoryUse, Split

LARGE_GIB = 64
"""From such a share of memory on a GPU is a large one."""
PRECISION_NAMES: Mapping[Precision, str] = {
    "bf16": Message("16 bit"),
    "fp8": "FP8",
    "nf4": Message("4 bit (NF4)"),
    "awq": Message("4 bit (AWQ)"),
    "gptq": Message("4 bit (GPTQ)"),
}


class DoesNotFit(Q2QError):
    """A model fits these GPUs in no way; the sentence says what would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What people ask for; None leaves a value to the plan."""

    precision: Precision | None = None
    tensor: int | None = None
    pipeline: int | None = None
    data: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    gpu_memory_utilization: float | None = None
    largest_graph: int | None = None
    """Batch size up to which CUDA graphs are captured."""
    lora_ranks: int = 0
    """Ranks of all adapters in one batch together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """GPUs that are used alike: each as the smallest of them."""

    gpus: tuple[Gpu, ...]
    utilization: float
    """Share of each GPU's memory."""

    @property
    def budget_gib(self) -> float:
        """What vLLM may take of the smallest."""
        return self.utilization * min(gpu.total_gib for gpu in self.gpus)

    @property
    def is_large(self) -> bool:
        """Whether vLLM's own limits for large GPUs are taken."""
        return self.budget_gib >= LARGE_GIB

    @property
    def capability(self) -> float:
        """Of the oldest."""
        return min(gpu.capability for gpu in self.gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to serve a model, with what it takes."""

    pool: Pool
    precision: Precision
    split: Split
    data: int = 1
    """Engines."""
    max_model_len: int
    max_num_seqs: int
    batched_tokens: int
    memory: MemoryUse
    is_asked: bool
    """Its precision was asked for."""
    rank: int = 0
    """Place of its rule among the rules."""

    @property
    def used(self) -> tuple[Gpu, ...]:
        """The GPUs that it uses."""
        return self.pool.gpus[: self.data * self.split.gpus]
