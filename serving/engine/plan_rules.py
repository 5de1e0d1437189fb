"""The plan for a model on some GPUs: a pure function of its shape, the GPUs and what is asked for.

Rules, in this order: 16 bit on one GPU; FP8 on one GPU where the cards multiply in it; 16 bit, then
FP8, spread over the layers' heads (tensor parallel); 4 bit on one GPU, then spread; last of all the
layers one after another (pipeline). The first that leaves room for the cache is taken, and every
further GPU gets an engine of its own (data parallel). Heads divide as vLLM 0.32 asks for
(``vllm/config/model.py`` and ``vllm/model_executor/models/llama.py``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from db.errors import Q2QError, UsageError
from db.identity import AS_STORED, Precision
from db.messages import Message
from serving.engine.hardware import FP8_CAPABILITY, MIN_CAPABILITY, Gpu, names_of
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
from serving.engine.shape import ModelShape

GPU_MEMORY_UTILIZATION = 0.9
"""vLLM's share of a GPU's memory where nothing asks for another."""
TOKENS_PER_SEQUENCE = 256
"""What a sequence of a sweep holds in the cache, averaged over its life; prompts are shared."""
ROOM_TOKENS = 16_384
"""The least cache of an engine that counts as room: 64 sequences."""
TIGHT_TOKENS = 4096
"""The least that is served at all, where nothing leaves more room."""
LARGE_GIB = 64
"""From such a share of memory on vLLM's own limits for large GPUs are taken."""
SEQUENCES = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32, 24, 16, 8)
MARGIN_GIB = 0.2
"""Left free beside what other programs hold now."""
VLLM_LARGEST_GRAPH = 512
PRECISION_NAMES: Mapping[Precision, str] = {
    "bf16": Message("16 bit"),
    "fp8": "FP8",
    "nf4": Message("4 bit (NF4)"),
    "awq": Message("4 bit (AWQ)"),
    "gptq": Message("4 bit (GPTQ)"),
}
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
_BLOCK = 256
"""Contexts are cut to multiples of it."""
_BYTES_PER_PARAMETER: Mapping[Precision, float] = {"bf16": 2.0, "fp8": 1.05, "nf4": 0.62}
"""Of a whole model, embeddings in 16 bit included, for saying roughly what would fit."""
_RESERVE_GIB = 2.5


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
    def capability(self) -> float:
        """Of the oldest."""
        return min(gpu.capability for gpu in self.gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to serve a model, with what it takes."""

    pool: Pool
    precision: Precision
    split: Split
    data: int
    max_model_len: int
    max_num_seqs: int
    batched_tokens: int
    memory: MemoryUse
    rank: int
    """Place of its rule among the rules."""
    is_asked: bool
    """Its precision was asked for."""

    @property
    def used(self) -> tuple[Gpu, ...]:
        """The GPUs that it uses."""
        return self.pool.gpus[: self.data * self.split.gpus]


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
    _check_wanted(shape, wanted)
    for room in (ROOM_TOKENS, TIGHT_TOKENS):
        found = [
            choice
            for pool in _pools(gpus, wanted)
            if (choice := _best(shape, pool, wanted, room)) is not None
        ]
        if found:
            return min(found, key=lambda one: (one.rank, -one.data * one.max_num_seqs))
    raise _refusal(shape, gpus, wanted, others)


def heads_divide(shape: ModelShape, tensor: int) -> bool:
    """Tell whether vLLM can share the layers of a model among ``tensor`` GPUs."""
    shared = shape.kv_heads % tensor == 0 or tensor % shape.kv_heads == 0
    return shared and shape.heads % tensor == 0 and shape.intermediate % tensor == 0


def largest_graph(sequences: int) -> int:
    """Return the largest batch with a CUDA graph: all sequences, or twice as many in mixed batches.

    vLLM's own rule ends at 512, so that a sweep's larger batches would run without graphs.
    """
    return max(sequences, min(2 * sequences, VLLM_LARGEST_GRAPH))


def _check_wanted(shape: ModelShape, wanted: Wanted) -> None:
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
    least = max(room, wanted.max_model_len or min(shape.context_length, TIGHT_TOKENS))
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
    is_large = pool.budget_gib >= LARGE_GIB
    weights = weights_per_gpu(shape, precision, split)
    per_token = cache_bytes_per_token(shape, split)
    largest = SEQUENCES[0] if is_large else 256
    tried = [wanted.max_num_seqs] if wanted.max_num_seqs else SEQUENCES
    for sequences in (n for n in tried if wanted.max_num_seqs or n <= largest):
        batched = max(8192 if is_large else 2048, sequences)
        working = working_bytes(
            shape,
            precision,
            split,
            sequences=sequences,
            batched_tokens=batched,
            graph_sizes=n_graph_sizes(wanted.largest_graph or largest_graph(sequences)),
            lora_ranks=wanted.lora_ranks,
        )
        cache = pool.budget_gib * GIB - weights - working
        tokens = int(cache // per_token)
        if tokens >= sequences * TOKENS_PER_SEQUENCE or (tokens > 0 and sequences == tried[-1]):
            context = min(wanted.max_model_len or shape.context_length, shape.context_length)
            if not wanted.max_model_len and tokens < context:
                context = tokens // _BLOCK * _BLOCK
            return Choice(
                pool=pool,
                precision=precision,
                split=split,
                data=1,
                max_model_len=max(1, context),
                max_num_seqs=sequences,
                batched_tokens=batched,
                memory=MemoryUse(
                    weights_gib=weights / GIB,
                    working_gib=working / GIB,
                    cache_gib=cache / GIB,
                    cache_tokens=tokens,
                ),
                rank=0,
                is_asked=wanted.precision is not None,
            )
    return None


def _refusal(
    shape: ModelShape, gpus: Sequence[Gpu], wanted: Wanted, others: Sequence[ModelShape]
) -> Q2QError:
    pools = list(_pools(gpus, wanted))
    if not pools:
        return DoesNotFit(
            "{model} cannot be served on {gpus}: {reason}.",
            model=shape.name,
            gpus=names_of(gpus),
            reason=_why_none(gpus),
        )
    best = max(pools, key=lambda pool: pool.budget_gib * len(pool.gpus))
    precision, _, least = min(
        (
            (precision, split, weights_per_gpu(shape, precision, split))
            for _, precision, split in _ways(shape, best, wanted)
        ),
        key=lambda way: way[2],
    )
    fitting = [one.name for one in others if _fits(one, gpus)]
    return DoesNotFit(
        "{model} does not fit {gpus}: each GPU would hold {need} GiB of its weights in {precision},"
        " beside working memory and the cache, and may use {has} GiB. What fits: models of up to"
        " about {sizes}{names}.",
        model=shape.name,
        gpus=names_of(best.gpus),
        need=f"{least / GIB:.1f}",
        precision=PRECISION_NAMES[precision],
        has=f"{best.budget_gib:.1f}",
        sizes=_sizes(best),
        names=Message("; of yours {names}", names=", ".join(fitting)) if fitting else "",
    )


def _why_none(gpus: Sequence[Gpu]) -> str:
    if all(gpu.capability < MIN_CAPABILITY for gpu in gpus):
        return Message("vLLM needs compute capability {least} or newer", least=MIN_CAPABILITY)
    free = max(gpu.free_gib for gpu in gpus)
    return Message(
        "other programs leave at most {free} GiB of a GPU free (see nvidia-smi)", free=f"{free:.1f}"
    )


def _fits(shape: ModelShape, gpus: Sequence[Gpu]) -> bool:
    try:
        choose(shape, gpus, Wanted())
    except DoesNotFit:
        return False
    return True


def _sizes(pool: Pool) -> str:
    """Return roughly the largest models that a pool holds, by precision."""
    room = max(0.0, pool.budget_gib - _RESERVE_GIB) * GIB * len(pool.gpus) / 1e9
    return Message.line(
        Message(
            "{n} billion parameters in {precision}",
            n=round(room / size),
            precision=PRECISION_NAMES[precision],
        )
        for precision, size in _BYTES_PER_PARAMETER.items()
        if precision != "fp8" or pool.capability >= FP8_CAPABILITY
    )
