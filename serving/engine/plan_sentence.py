"""What a plan tells people: one sentence on what was chosen for a model, and why."""

from collections.abc import Sequence

from db.identity import AS_STORED
from db.messages import Message
from serving.engine.hardware import BF16_CAPABILITY, FP8_CAPABILITY, Gpu, names_of
from serving.engine.memory import GIB, weight_bytes
from serving.engine.plan_rules import PRECISION_NAMES, Choice
from serving.engine.shape import ModelShape

NOTEWORTHY_GIB = 2
"""What other programs hold is told from here on."""


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
        notes = Message("; {n} GPUs stay unused", n=unused)
    if (held := sum(gpu.used_gib for gpu in gpus)) >= NOTEWORTHY_GIB:
        notes = Message("; other programs hold {held} GiB{more}", held=f"{held:.0f}", more=notes)
    if choice.pool.capability < BF16_CAPABILITY:
        notes = Message("; float16, since these GPUs have no bf16{more}", more=notes)
    return notes
