"""How a server serves a model: precision, parallelism, context, sequences, memory."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from db.identity import AS_STORED, Precision
from serving.engine.memory import MemoryUse

GPU_MEMORY_UTILIZATION = 0.9
"""vLLM's share of a GPU's memory where nothing asks for another."""


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
    why: str = ""
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
