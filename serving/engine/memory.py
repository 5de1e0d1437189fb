"""How much of a GPU's memory vLLM 0.32 takes for a model: weights, working memory, cache.

Weights and cache follow from the model's shape. Working memory follows vLLM's own profile
(``vllm/v1/worker/gpu_worker.py``): it runs one batch of the largest size, samples for the largest
number of sequences, captures CUDA graphs, and gives the rest of its share to the cache. All sizes
in bytes unless a name says GiB.
"""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from db.identity import Precision
from serving.engine.shape import ModelShape

GIB = 1024**3
_LINEAR_BYTES: Mapping[Precision, float] = {
    "bf16": 2.0,
    "fp8": 1.0,
    # bitsandbytes: half a byte and a 32-bit scale for each 64 values.
    "nf4": 0.5 + 4 / 64,
}
_OTHER_BYTES = 2
SAMPLER_BYTES = 32
"""For each sequence and token of the vocabulary: scores, probabilities, sorted values, indices."""
GRAPH_BYTES = 0.4 * 1024**2
"""A CUDA graph of one layer for one batch size."""
FIXED_BYTES = 0.3 * GIB
"""Workspaces of the matrix library and the allocator's rest."""
COMMUNICATION_BYTES = 0.6 * GIB
"""NCCL's buffers, where GPUs share a model."""
CONTEXT_GIB = 0.6
"""Of the CUDA context, which vLLM's share does not count."""


class MemoryUse(BaseModel):
    """What one GPU holds, in GiB."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights_gib: float
    working_gib: float
    """Activations, sampler, CUDA graphs, adapters, workspaces."""
    cache_gib: float
    cache_tokens: int
    """Tokens that the cache of one engine holds."""

    @property
    def total_gib(self) -> float:
        """What ``nvidia-smi`` will show of the server on this GPU."""
        return self.weights_gib + self.working_gib + self.cache_gib + CONTEXT_GIB


class Split(BaseModel):
    """Over how many GPUs one engine is spread."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor: int = 1
    pipeline: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of one engine."""
        return self.tensor * self.pipeline


def weight_bytes(shape: ModelShape, precision: Precision) -> float:
    """Return the bytes of all weights."""
    if shape.stored_bytes:
        return shape.stored_bytes
    return shape.linear * _LINEAR_BYTES.get(precision, 2.0) + shape.other * _OTHER_BYTES


def weights_per_gpu(shape: ModelShape, precision: Precision, split: Split) -> float:
    """Return the bytes of weights on the fullest GPU."""
    outside = 0 if shape.stored_bytes else shape.other * _OTHER_BYTES
    layers = (weight_bytes(shape, precision) - outside) * _stage(shape, split) / shape.layers
    if split.pipeline > 1:  # a stage holds the embeddings or the head, not both
        outside = min(outside, shape.vocabulary * shape.hidden * _OTHER_BYTES)
    return (layers + outside) / split.tensor


def cache_bytes_per_token(shape: ModelShape, split: Split) -> float:
    """Return the bytes of keys and values of one token on one GPU, in 16 bit."""
    heads = max(1, shape.kv_heads // split.tensor)
    return 2 * 2 * heads * shape.head_dim * _stage(shape, split)


def working_bytes(
    shape: ModelShape,
    precision: Precision,
    split: Split,
    *,
    sequences: int,
    batched_tokens: int,
    graph_sizes: int,
    lora_ranks: int = 0,
) -> float:
    """Return the bytes of everything on one GPU but weights and cache.

    Args:
        shape: Of the model.
        precision: In which it is served.
        split: Over how many GPUs.
        sequences: That are sampled together.
        batched_tokens: Of the largest batch.
        graph_sizes: Batch sizes with a CUDA graph.
        lora_ranks: Ranks of all adapters in one batch together.
    """
    wide = shape.intermediate / split.tensor
    activations = 2 * batched_tokens * (3 * wide + 4 * shape.hidden)
    if precision == "nf4":  # a layer's weights in 16 bit, while it runs
        activations += 2 * 2 * shape.hidden * wide
    sampler = SAMPLER_BYTES * sequences * shape.vocabulary
    stage = _stage(shape, split)
    # With adapters each size is captured twice: with and without them.
    graphs = GRAPH_BYTES * graph_sizes * stage * (2 if lora_ranks else 1)
    adapters = 2 * lora_ranks * shape.lora_width * stage / shape.layers / split.tensor
    shared = COMMUNICATION_BYTES if split.gpus > 1 else 0
    return max(activations, sampler) + graphs + adapters + FIXED_BYTES + shared


def n_graph_sizes(largest: int) -> int:
    """Return for how many batch sizes vLLM captures graphs up to ``largest``."""
    sizes = {1, 2, 4, *range(8, min(largest + 1, 256), 8), *range(256, largest + 1, 16), largest}
    return len([size for size in sizes if size <= largest])


def _stage(shape: ModelShape, split: Split) -> int:
    """Return the layers of the fullest pipeline stage."""
    return -(-shape.layers // split.pipeline)
