"""What a plan tells people in one sentence: what was chosen and why, or why nothing fits."""

from collections.abc import Mapping, Sequence

from db.identity import AS_STORED, Precision
from db.messages import Message
from serving.engine.hardware import (
    BF16_CAPABILITY,
    FP8_CAPABILITY,
    MIN_CAPABILITY,
    Gpu,
    names_of,
)
from serving.engine.memory import GIB, weight_bytes
from serving.engine.plan_types import PRECISION_NAMES, Choice, DoesNotFit, Pool
from serving.engine.shape import ModelShape

NOTEWORTHY_GIB = 2
"""What other programs hold is told from here on."""
_BYTES_PER_PARAMETER: Mapping[Precision, float] = {"bf16": 2.0, "fp8": 1.05, "nf4": 0.62}
"""Of a whole model, embeddings in 16 bit included, for saying roughly what would fit."""
_RESERVE_GIB = 2.5


def explain(shape: ModelShape, choice: Choice, gpus: Sequence[Gpu]) -> Message:
    """Return in one sentence what was chosen for a model on ``gpus``, and why."""
    size = min(gpu.total_gib for gpu in choice.used)
    return Message(
        "{model} in {precision}, {engines} on {gpus}: {reason}; {n} sequences at once, of up to"
        " {most} tokens each{notes}.",
        model=shape.name,
        precision=PRECISION_NAMES[choice.precision],
        engines=_engines(choice),
        gpus=f"{names_of(choice.used)} ({size:.0f} GiB)",
        reason=_reason(shape, choice),
        n=choice.max_num_seqs * choice.data,
        most=choice.max_model_len,
        notes=_notes(choice, gpus),
    )


def _engines(choice: Choice) -> str:
    n = choice.data
    engines = Message("one engine") if n == 1 else Message("{n} engines", n=n)
    if choice.split.gpus == 1:
        return engines
    return Message("{engines} of {n} GPUs", engines=engines, n=choice.split.gpus)


def _reason(shape: ModelShape, choice: Choice) -> str:
    weights = f"{weight_bytes(shape, choice.precision) / GIB:.1f}"
    if shape.stored_bytes:
        return Message("its folder is quantised already ({weights} GiB)", weights=weights)
    if choice.split.pipeline > 1:
        return Message(
            "no other way holds it, so the layers stand one after another (pipeline parallel)"
        )
    if choice.split.tensor > 1:
        return Message(
            "one GPU leaves too little room beside {weights} GiB of weights, so GPUs share each"
            " layer (tensor parallel)",
            weights=weights,
        )
    if choice.is_asked:
        return Message("as asked, {weights} GiB of weights", weights=weights)
    if choice.precision == AS_STORED:
        return Message("{weights} GiB of weights leave room for the cache", weights=weights)
    return _why_quantised(shape, choice)


def _why_quantised(shape: ModelShape, choice: Choice) -> str:
    less = Message(
        "16 bit ({weights} GiB of weights) leaves too little room for the cache",
        weights=f"{weight_bytes(shape, AS_STORED) / GIB:.1f}",
    )
    if choice.precision == "fp8":
        return less
    if choice.pool.capability < FP8_CAPABILITY:
        return Message(
            "{less}, and FP8 needs compute capability {capability}",
            less=less,
            capability=FP8_CAPABILITY,
        )
    return Message("{less}, and so does FP8", less=less)


def _notes(choice: Choice, gpus: Sequence[Gpu]) -> str:
    notes = ""
    if unused := len(gpus) - len(choice.used):
        notes = (
            Message("; {n} GPUs stay unused", n=unused)
            if unused > 1
            else Message("; one GPU stays unused")
        )
    if (held := sum(gpu.used_gib for gpu in gpus)) >= NOTEWORTHY_GIB:
        notes = Message("; other programs hold {held} GiB{more}", held=f"{held:.0f}", more=notes)
    if choice.pool.capability < BF16_CAPABILITY:
        notes = Message("; float16, since these GPUs have no bf16{more}", more=notes)
    return notes


def nothing_free(shape: ModelShape, gpus: Sequence[Gpu]) -> DoesNotFit:
    """Return the refusal where no GPU can be used at all."""
    return DoesNotFit(
        "{model} cannot be served on {gpus}: {reason}.",
        model=shape.name,
        gpus=names_of(gpus),
        reason=_why_none(gpus),
    )


def too_large(
    shape: ModelShape, pool: Pool, precision: Precision, need_gib: float, fitting: Sequence[str]
) -> DoesNotFit:
    """Return the refusal of a model.

    Args:
        shape: Of the model.
        pool: The GPUs that hold most of it.
        precision: In which it is smallest.
        need_gib: Its weights on each GPU then.
        fitting: Names of known models that would fit.
    """
    return DoesNotFit(
        "{model} does not fit {gpus}: each GPU would hold {need} GiB of its weights in {precision},"
        " beside working memory and the cache, and may use {has} GiB. What fits: models of up to"
        " about {sizes}{names}.",
        model=shape.name,
        gpus=names_of(pool.gpus),
        need=f"{need_gib:.1f}",
        precision=PRECISION_NAMES[precision],
        has=f"{pool.budget_gib:.1f}",
        sizes=_sizes(pool),
        names=Message("; of yours {names}", names=", ".join(fitting)) if fitting else "",
    )


def too_much_asked(
    shape: ModelShape, gpus: Sequence[Gpu], settings: Mapping[str, object]
) -> DoesNotFit:
    """Return the refusal of a model that would fit without what people set."""
    return DoesNotFit(
        "{model} does not fit {gpus} with {settings}, and would without. Take that out of q2q.toml"
        " (or Q2Q_…), or out of what is set for the model (`q2q serve start --by-plan`).",
        model=shape.name,
        gpus=names_of(gpus),
        settings=", ".join(f"{name} = {value}" for name, value in settings.items()),
    )


def _why_none(gpus: Sequence[Gpu]) -> str:
    if all(gpu.capability < MIN_CAPABILITY for gpu in gpus):
        return Message("vLLM needs compute capability {least} or newer", least=MIN_CAPABILITY)
    free = max(gpu.free_gib for gpu in gpus)
    return Message(
        "other programs leave at most {free} GiB of a GPU free (see nvidia-smi)", free=f"{free:.1f}"
    )


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
