"""How a model is served on the hardware there is: precision, parallelism, context, memory."""

from pydantic import BaseModel, ConfigDict, Field

from db.identity import AS_STORED, Precision
from db.settings import Settings
from serving.device import Device, gpu_memory_gib

CPU_MAX_MODEL_LEN = 4096
CPU_MAX_NUM_SEQS = 64
GPU_MEMORY_UTILIZATION = 0.9
"""vLLM's share of a GPU's memory where nothing asks for another."""
LARGE_GPU_MAX_NUM_SEQS, GPU_MAX_NUM_SEQS = 1024, 256
"""vLLM's own defaults for GPUs of 70 GiB and more, and for others; told, so that we know them."""
LARGE_GPU_GIB = 70


class ServingPlan(BaseModel):
    """The values that a server is started with, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision = AS_STORED
    """In which the weights are served."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share each layer."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """GPUs, or groups of them, that hold the layers one after another."""
    data_parallel: int = Field(default=1, ge=1)
    """Engines behind the one URL, each with the whole model."""
    max_model_len: int = Field(ge=1)
    """Tokens that one request may hold, prompt and completion together."""
    max_num_seqs: int = Field(ge=1)
    """Sequences that one engine decodes together."""
    gpu_memory_utilization: float = Field(default=GPU_MEMORY_UTILIZATION, gt=0, le=1)
    """Share of a GPU's memory that vLLM may take."""
    why: str = ""
    """What was chosen and why, in one sentence."""

    @property
    def gpus_per_engine(self) -> int:
        """GPUs that hold the model once."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def total_num_seqs(self) -> int:
        """Sequences that all engines decode together."""
        return self.max_num_seqs * self.data_parallel


def make_plan(
    device: Device, context_length: int, settings: Settings, precision: Precision | None = None
) -> ServingPlan:
    """Return the plan for a model that can hold ``context_length`` tokens, on this machine."""
    asked = None if settings.precision == "auto" else settings.precision
    on_cpu = device == "cpu"
    limit = settings.max_model_len or (CPU_MAX_MODEL_LEN if on_cpu else context_length)
    return ServingPlan(
        precision=precision or asked or AS_STORED,
        tensor_parallel=settings.tensor_parallel_size or 1,
        pipeline_parallel=settings.pipeline_parallel_size or 1,
        data_parallel=settings.data_parallel_size or 1,
        max_model_len=min(limit, context_length),
        max_num_seqs=settings.max_num_seqs or (CPU_MAX_NUM_SEQS if on_cpu else _gpu_seqs()),
        gpu_memory_utilization=settings.gpu_memory_utilization or GPU_MEMORY_UTILIZATION,
    )


def _gpu_seqs() -> int:
    return LARGE_GPU_MAX_NUM_SEQS if gpu_memory_gib() >= LARGE_GPU_GIB else GPU_MAX_NUM_SEQS
