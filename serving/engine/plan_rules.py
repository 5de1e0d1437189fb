"""The plan for a model on some GPUs: a pure function of its shape, the GPUs and what is asked for.

Rules, in this order: 16 bit on one GPU; FP8 on one GPU where the cards multiply in it; 16 bit, then
FP8, spread over the layers' heads (tensor parallel); 4 bit on one GPU, then spread; last of all the
layers one after another (pipeline). The first that leaves room for the cache is taken, and every
further GPU gets an engine of its own (data parallel). Heads divide as vLLM 0.32 asks for
(``vllm/config/model.py`` and ``vllm/model_executor/models/llama.py``).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from db.errors import UsageError
from db.identity import AS_STORED, Precision
from serving.engine.hardware import FP8_CAPABILITY, MIN_CAPABILITY, Gpu
from serving.engine.memory import (
    CONTEXT_GIB,
    GIB,
    MemoryUse,
    Split,
    cache_bytes_per_token,
    n_graph_sizes,
    weights_per_gpu,
    working_bytes,
)
from serving.engine.plan_sentence import nothing_free, too_large, too_much_asked
from serving.engine.plan_types import Choice, DoesNotFit, Pool, Wanted
from serving.engine.shape import ModelShape

GPU_MEMORY_UTILIZATION = 0.9
"""vLLM's share of a GPU's memory where nothing asks for another."""
TOKENS_PER_SEQUENCE = 256
"""What a sequence of a sweep holds in the cache, averaged over its life; prompts are shared."""
ROOM_TOKENS = 16_384
"""The least cache of an engine that counts as room: 64 sequences."""
TIGHT_TOKENS = 4096
"""The least that is served at all, where nothing leaves more room."""
SEQUENCES = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16, 8)
SMALL_GPU_SEQUENCES = 256
"""At most so many on other GPUs than large ones, as vLLM has it."""
MARGIN_GIB = 0.2
"""Left free beside what other programs hold now."""
VLLM_LARGEST_GRAPH = 512
RULES: Sequence[tuple[Precision, str]] = (
    ("bf16", "one"),
    ("fp8", "one"),
    ("bf16", "tensor"),
    ("fp8", "tensor"),
    ("nf4", "one"),
    ("nf4", "tensor"),
    ("bf16", "pipeline"),
    ("fp8", "pipeline"),
    ("nf4", "pipeline"),
)
"""Precision and how the model is spread over GPUs, the best first."""
_SETTINGS = {
    "tensor": "tensor_parallel_size",
    "pipeline": "pipeline_parallel_size",
    "data": "data_parallel_size",
    "max_num_seqs": "max_num_seqs",
    "max_model_len": "max_model_len",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "precision": "precision",
}
"""What people may set of a plan, by its name in ``Wanted``."""
_BLOCK = 256
"""Contexts are cut to multiples of it."""


def choose(
    shape: ModelShape, gpus: Sequence[Gpu], wanted: Wanted, others: Sequence[ModelShape] = ()
) -> Choice:
    """Return the best way to serve a model on ``gpus``.

    Args:
        shape: Of the model.
        gpus: All that may be used.
        wanted: What people ask for.
        others: Further models, named where this one fits in no way but they do.

    Raises:
        UsageError: What is asked for contradicts the model.
        DoesNotFit: No way leaves room; the sentence says what would fit.
    """
    check_wanted(shape, wanted)
    choice = _found(shape, gpus, wanted)
    if choice is None:
        raise _refuse(shape, gpus, wanted, others)
    return choice


def _found(shape: ModelShape, gpus: Sequence[Gpu], wanted: Wanted) -> Choice | None:
    for room in (ROOM_TOKENS, TIGHT_TOKENS):
        found = [
            choice
            for pool in _pools(gpus, wanted)
            if (choice := _best(shape, pool, wanted, room)) is not None
        ]
        if found:
            return min(found, key=lambda one: (one.rank, -one.data * one.max_num_seqs))
    return None


def heads_divide(shape: ModelShape, tensor: int) -> bool:
    """Tell whether vLLM can share the layers of a model among ``tensor`` GPUs."""
    shared = shape.kv_heads % tensor == 0 or tensor % shape.kv_heads == 0
    return shared and shape.heads % tensor == 0 and shape.intermediate % tensor == 0


def largest_graph(sequences: int) -> int:
    """Return the largest batch with a CUDA graph: all sequences, or twice as many in mixed batches.

    vLLM's own rule ends at 512, so that a sweep's larger batches would run without graphs.
    """
    return max(sequences, min(2 * sequences, VLLM_LARGEST_GRAPH))


def check_wanted(shape: ModelShape, wanted: Wanted) -> None:
    """Return if a model can be spread and served as people ask for, on whatever hardware.

    Raises:
        UsageError: It cannot; the sentence names the setting.
    """
    if wanted.tensor and not heads_divide(shape, wanted.tensor):
        sizes = [str(n) for n in range(1, 17) if heads_divide(shape, n)]
        raise UsageError(
            "tensor_parallel_size = {n} does not divide the heads of {model} ({heads}, and"
            " {kv_heads} of keys and values); set one of {sizes}, or use data_parallel_size.",
            n=wanted.tensor,
            model=shape.name,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            sizes=", ".join(sizes),
        )
    if wanted.pipeline and wanted.pipeline > shape.layers:
        raise UsageError(
            "pipeline_parallel_size = {n} is more than the {layers} layers of {model}; lower it.",
            n=wanted.pipeline,
            layers=shape.layers,
            model=shape.name,
        )
    if shape.stored_bytes and wanted.precision not in (None, AS_STORED, shape.stored_as):
        raise UsageError(
            "{model} is quantised already and is served as it comes; take precision = {precision}"
            " out of the settings, or serve its 16-bit weights.",
            model=shape.name,
            precision=wanted.precision,
        )


def _pools(gpus: Sequence[Gpu], wanted: Wanted) -> Iterator[Pool]:
    """Yield the GPUs with the most memory, then these and smaller or busier ones, and so on."""
    shares = {gpu.index: _share(gpu, wanted) for gpu in gpus if gpu.capability >= MIN_CAPABILITY}
    able = [gpu for gpu in gpus if shares.get(gpu.index, 0) > 0]
    able.sort(key=lambda gpu: -shares[gpu.index] * gpu.total_gib)
    for n in range(1, len(able) + 1):
        last = shares[able[n - 1].index] * able[n - 1].total_gib
        if n < len(able) and shares[able[n].index] * able[n].total_gib > 0.98 * last:
            continue
        taken = sorted(able[:n], key=lambda gpu: gpu.index)
        yield Pool(gpus=tuple(taken), utilization=min(shares[gpu.index] for gpu in taken))


def _share(gpu: Gpu, wanted: Wanted) -> float:
    """Return the share of a GPU that vLLM can have; 0 where others leave too little."""
    free = (gpu.free_gib - CONTEXT_GIB - MARGIN_GIB) / gpu.total_gib
    if wanted.gpu_memory_utilization is not None:
        return wanted.gpu_memory_utilization if free >= wanted.gpu_memory_utilization else 0.0
    return max(0.0, int(min(GPU_MEMORY_UTILIZATION, free) * 1000) / 1000)


def _best(shape: ModelShape, pool: Pool, wanted: Wanted, room: int) -> Choice | None:
    least = max(room, min(shape.context_length, wanted.max_model_len or TIGHT_TOKENS))
    for rank, precision, split in _ways(shape, pool, wanted):
        data = wanted.data or len(pool.gpus) // split.gpus
        if not 0 < data * split.gpus <= len(pool.gpus):
            continue
        choice = _fitted(shape, pool, wanted, precision, split)
        if choice is not None and choice.memory.cache_tokens >= least:
            return replace(choice, data=data, rank=rank)
    return None


def _ways(shape: ModelShape, pool: Pool, wanted: Wanted) -> Iterator[tuple[int, Precision, Split]]:
    """Yield precisions and splits with the place of their rule, the best first."""
    asked = wanted.precision or (shape.stored_as or AS_STORED if shape.stored_bytes else None)
    rules: Sequence[tuple[Precision, str]] = RULES
    if asked is not None:
        rules = [(asked, spread) for spread in ("one", "tensor", "pipeline")]
    for rank, (precision, spread) in enumerate(rules):
        if asked is None and precision == "fp8" and pool.capability < FP8_CAPABILITY:
            continue
        for split in _splits(shape, len(pool.gpus), wanted, spread):
            yield rank, precision, split


def _splits(shape: ModelShape, n_gpus: int, wanted: Wanted, spread: str) -> list[Split]:
    """Return the ways to spread a model of one kind, the fewest GPUs first."""
    tensors = [wanted.tensor] if wanted.tensor else range(1, n_gpus + 1)
    pipelines = [wanted.pipeline] if wanted.pipeline else range(1, min(n_gpus, shape.layers) + 1)
    fixed = wanted.tensor is not None or wanted.pipeline is not None
    kinds = {"one": (1, 1), "tensor": (2, 1), "pipeline": (2, 2)}
    found = [
        Split(tensor=tensor, pipeline=pipeline)
        for tensor, pipeline in product(tensors, pipelines)
        if tensor * pipeline <= n_gpus and heads_divide(shape, tensor)
    ]
    if not fixed:
        found = [split for split in found if kinds[spread] == _kind(split)]
    return sorted(found, key=lambda split: (split.gpus, -split.tensor))


def _kind(split: Split) -> tuple[int, int]:
    if split.pipeline > 1:
        return 2, 2
    return min(split.tensor, 2), 1


def _fitted(
    shape: ModelShape, pool: Pool, wanted: Wanted, precision: Precision, split: Split
) -> Choice | None:
    """Return the choice with as many sequences as its cache feeds; None where none fits."""
    largest = SEQUENCES[0] if pool.is_large else SMALL_GPU_SEQUENCES
    tried = [n for n in SEQUENCES if n <= largest]
    if wanted.max_num_seqs:
        tried = [wanted.max_num_seqs]
    for sequences in tried:
        memory = _memory(shape, pool, wanted, precision, split, sequences)
        is_fed = memory.cache_tokens >= sequences * TOKENS_PER_SEQUENCE
        if is_fed or (memory.cache_tokens > 0 and sequences == tried[-1]):
            return Choice(
                pool=pool,
                precision=precision,
                split=split,
                max_model_len=_context(shape, wanted, memory),
                max_num_seqs=sequences,
                batched_tokens=_batched_tokens(pool, sequences),
                memory=memory,
                is_asked=wanted.precision is not None,
            )
    return None


def _memory(
    shape: ModelShape,
    pool: Pool,
    wanted: Wanted,
    precision: Precision,
    split: Split,
    sequences: int,
) -> MemoryUse:
    """Return what each GPU holds; the cache gets the rest, below 0 where there is none."""
    weights = weights_per_gpu(shape, precision, split)
    working = working_bytes(
        shape,
        precision,
        split,
        sequences=sequences,
        batched_tokens=_batched_tokens(pool, sequences),
        graph_sizes=n_graph_sizes(wanted.largest_graph or largest_graph(sequences)),
        lora_ranks=wanted.lora_ranks,
    )
    cache = pool.budget_gib * GIB - weights - working
    return MemoryUse(
        weights_gib=weights / GIB,
        working_gib=working / GIB,
        cache_gib=cache / GIB,
        cache_tokens=int(cache // cache_bytes_per_token(shape, split)),
    )


def _batched_tokens(pool: Pool, sequences: int) -> int:
    """Return the tokens of the largest batch, as vLLM has it for GPUs of this size."""
    return max(8192 if pool.is_large else 2048, sequences)


def _context(shape: ModelShape, wanted: Wanted, memory: MemoryUse) -> int:
    if wanted.max_model_len:
        return min(wanted.max_model_len, shape.context_length)
    if memory.cache_tokens >= shape.context_length:
        return shape.context_length
    return max(1, memory.cache_tokens // _BLOCK * _BLOCK)


def _refuse(
    shape: ModelShape, gpus: Sequence[Gpu], wanted: Wanted, others: Sequence[ModelShape]
) -> DoesNotFit:
    if set_in_the_way := _in_the_way(shape, gpus, wanted):
        return too_much_asked(shape, gpus, set_in_the_way)
    wanted = _without(wanted, _SETTINGS)  # nothing of it would help
    pools = list(_pools(gpus, wanted))
    if not pools:
        return nothing_free(shape, gpus)
    pool = max(pools, key=lambda one: one.budget_gib * len(one.gpus))
    ways = [(precision, split) for _, precision, split in _ways(shape, pool, wanted)]
    precision, split = min(ways, key=lambda way: weights_per_gpu(shape, *way))
    need = weights_per_gpu(shape, precision, split) / GIB
    return too_large(shape, pool, precision, need, [one.name for one in others if _fits(one, gpus)])


def _in_the_way(shape: ModelShape, gpus: Sequence[Gpu], wanted: Wanted) -> dict[str, object]:
    """Return what people set and without which the model would fit: one value, or all; or none."""
    given = {name: getattr(wanted, name) for name in _SETTINGS}
    given = {name: value for name, value in given.items() if value is not None}
    for dropped in [*([name] for name in given), list(given)]:
        if dropped and _found(shape, gpus, _without(wanted, dropped)):
            return {_SETTINGS[name]: given[name] for name in dropped}
    return {}


def _without(wanted: Wanted, names: Iterable[str]) -> Wanted:
    nothing: dict[str, Any] = dict.fromkeys(names)
    return replace(wanted, **nothing)


def _fits(shape: ModelShape, gpus: Sequence[Gpu]) -> bool:
    return _found(shape, gpus, Wanted()) is not None
