"""Products with a frozen base weight, kept in 16 bit, NF4 or FP8; adapters (LoRA) stay in 16 bit.

A product is ``base(x) + adapter(x)``. FP8 is e4m3 with one scale for each row of either factor. A
weight is quantised once, when it is loaded. Its scales lie along its output; backwards they are
multiplied into the gradient before that is quantised, so that both directions see one weight.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

E4M3_MAX = 448.0
_SMALLEST = 1e-12
"""Rows of zeros keep a scale that can be divided by."""
FP8_FROM = (8, 9)
"""The first compute capability whose matrix units take FP8."""
NF4_BLOCK = 64
"""Values that share one scale in bitsandbytes' NF4."""


class Weight16(NamedTuple):
    """A weight of shape ``[outputs, inputs]`` in 16 bit."""

    value: Tensor


class WeightFp8(NamedTuple):
    """An FP8 weight, its scales ``[outputs, 1]``, and its transpose where that is stored too."""

    value: Tensor
    scale: Tensor
    transposed: Tensor | None


class WeightNf4(NamedTuple):
    """An NF4 weight: two values a byte, a scale for each block of 64, the 16 values of the code."""

    packed: Tensor
    """``[outputs, inputs / 2]``"""
    block_scale: Tensor
    """``[outputs, inputs / 64]``, 32 bit."""
    code: Tensor
    row_scale: Any
    """A tensor ``[outputs, 1]``: the products run in FP8 with these scales; None: in 16 bit."""


Weight = Weight16 | WeightFp8 | WeightNf4


def quantise_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``values`` in FP8 and the scale of each row, ``[rows, 1]`` in 32 bit."""
    wide = values.float()
    scale = wide.abs().amax(-1, keepdim=True).clamp(min=_SMALLEST) / E4M3_MAX
    return (wide / scale).clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn), scale


def quantised(weight: Tensor, *, keep_transposed: bool) -> WeightFp8:
    """Return a 16-bit weight in FP8."""
    value, scale = quantise_rows(weight)
    return WeightFp8(value, scale, value.t().contiguous() if keep_transposed else None)


@torch.library.custom_op("q2q::product_fp8", mutates_args=())
def product_fp8(
    left: Tensor,
    left_scale: Tensor,
    right: Tensor,
    right_scale: Tensor,
    low: Tensor | None,
    high: Tensor | None,
) -> Tensor:
    """Return ``left @ right.T`` of two FP8 matrices, plus ``low @ high`` in 16 bit where given."""
    if left.is_cuda:
        product = torch._scaled_mm(
            left,
            right.t(),
            scale_a=left_scale,
            scale_b=right_scale.view(1, -1),
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
    else:  # the same arithmetic, in 32 bit
        wide = left.float() @ right.float().t()
        product = (wide * left_scale * right_scale.view(1, -1)).to(torch.bfloat16)
    return product if low is None or high is None else product.addmm_(low, high)


@product_fp8.register_fake
def _(
    left: Tensor,
    left_scale: Tensor,
    right: Tensor,
    right_scale: Tensor,
    low: Tensor | None,
    high: Tensor | None,
) -> Tensor:
    return left.new_empty((left.shape[0], right.shape[0]), dtype=torch.bfloat16)


@torch.library.custom_op("q2q::product_16", mutates_args=())
def product_16(left: Tensor, right: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    """Return ``left @ right``, plus ``low @ high`` where given."""
    product = torch.mm(left, right)
    return product if low is None or high is None else product.addmm_(low, high)


@product_16.register_fake
def _(left: Tensor, right: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    return left.new_empty((left.shape[0], right.shape[1]))


def dequantised_nf4(packed: Tensor, block_scale: Tensor, code: Tensor) -> Tensor:
    """Return the values of an NF4 weight in 32 bit, ``[outputs, inputs]``."""
    outputs, half = packed.shape
    values = code[torch.stack((packed >> 4, packed & 15), -1).int()].view(outputs, -1, NF4_BLOCK)
    return (values * block_scale.unsqueeze(-1)).view(outputs, 2 * half)


def _nf4_in_16(packed: Tensor, block_scale: Tensor, code: Tensor) -> Tensor:
    return dequantised_nf4(packed, block_scale, code).to(torch.bfloat16)


def _nf4_in_fp8(
    packed: Tensor, block_scale: Tensor, code: Tensor, row_scale: Tensor, transposed: bool
) -> Tensor:
    values = (dequantised_nf4(packed, block_scale, code) / row_scale).to(torch.float8_e4m3fn)
    return values.t().contiguous() if transposed else values


@cache
def _compiled(unpack: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(unpack, dynamic=False)


@torch.library.custom_op("q2q::product_nf4", mutates_args=())
def product_nf4(
    left: Tensor,
    packed: Tensor,
    block_scale: Tensor,
    code: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    transposed: bool,
) -> Tensor:
    """Return ``left @ weight`` (``left @ weight.T`` if ``transposed``), plus ``low @ high``.

    The weight is dequantised in here: a compiler that saw it would keep it for the backward pass.
    """
    unpack = _compiled(_nf4_in_16) if left.is_cuda else _nf4_in_16
    weight = unpack(packed, block_scale, code)
    product = torch.mm(left, weight.t() if transposed else weight)
    return product if low is None or high is None else product.addmm_(low, high)


@product_nf4.register_fake
def _(
    left: Tensor,
    packed: Tensor,
    block_scale: Tensor,
    code: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    transposed: bool,
) -> Tensor:
    columns = packed.shape[0] if transposed else 2 * packed.shape[1]
    return left.new_empty((left.shape[0], columns))


@torch.library.custom_op("q2q::product_nf4_fp8", mutates_args=())
def product_nf4_fp8(  # noqa: PLR0913  # an operator takes tensors, no structures
    left: Tensor,
    left_scale: Tensor,
    packed: Tensor,
    block_scale: Tensor,
    code: Tensor,
    row_scale: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    transposed: bool,
) -> Tensor:
    """The same with ``left`` in FP8, and the weight turned into FP8 in here."""
    unpack = _compiled(_nf4_in_fp8) if left.is_cuda else _nf4_in_fp8
    weight = unpack(packed, block_scale, code, row_scale, not transposed)
    scale = row_scale if transposed else torch.ones_like(weight[:, :1], dtype=torch.float32)
    return product_fp8(left, left_scale, weight, scale, low, high)


@product_nf4_fp8.register_fake
def _(  # noqa: PLR0913  # the same
    left: Tensor,
    left_scale: Tensor,
    packed: Tensor,
    block_scale: Tensor,
    code: Tensor,
    row_scale: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    transposed: bool,
) -> Tensor:
    columns = packed.shape[0] if transposed else 2 * packed.shape[1]
    return left.new_empty((left.shape[0], columns), dtype=torch.bfloat16)


def forwards(
    x: Tensor, weight: Weight, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    """Return ``x @ weight.T`` (plus ``low @ high``), quantising ``x`` where the weight asks so."""
    ops = torch.ops.q2q
    if isinstance(weight, Weight16):
        return ops.product_16(x, weight.value.t(), low, high)
    if isinstance(weight, WeightNf4) and weight.row_scale is None:
        return ops.product_nf4(x, *weight[:3], low, high, True)
    small, scale = quantise_rows(x)
    if isinstance(weight, WeightNf4):
        return ops.product_nf4_fp8(small, scale, *weight, low, high, True)
    return ops.product_fp8(small, scale, weight.value, weight.scale, low, high)


def backwards(
    grad: Tensor, weight: Weight, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    """Return ``grad @ weight`` (plus ``low @ high``)."""
    ops = torch.ops.q2q
    if isinstance(weight, Weight16):
        return ops.product_16(grad, weight.value, low, high)
    if isinstance(weight, WeightNf4) and weight.row_scale is None:
        return ops.product_nf4(grad, *weight[:3], low, high, False)
    outputs = weight.row_scale if isinstance(weight, WeightNf4) else weight.scale
    small, scale = quantise_rows(grad * outputs.view(1, -1))
    if isinstance(weight, WeightNf4):
        return ops.product_nf4_fp8(small, scale, *weight, low, high, False)
    transposed = weight.transposed
    if transposed is None:
        transposed = weight.value.t().contiguous()
    ones = torch.ones_like(transposed[:, :1], dtype=torch.float32)
    return ops.product_fp8(small, scale, transposed, ones, low, high)


class _Product(torch.autograd.Function):
    """``x @ weight.T + (x @ down.T) @ up.T``; only ``x``, ``down`` and ``up`` learn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, down: Tensor, up: Tensor, kind: type, *weight: Any) -> Tensor:
        low = x @ down.t()
        ctx.save_for_backward(x, low, down, up, *weight)
        ctx.kind = kind
        return forwards(x, kind(*weight), low, up.t())

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        x, low, down, up, *weight = ctx.saved_tensors
        grad = grads[0].contiguous()
        low_grad = grad @ up
        x_grad = backwards(grad, ctx.kind(*weight), low_grad, down)
        return x_grad, low_grad.t() @ x, grad.t() @ low, None, *(None for _ in weight)


class _FrozenProduct(torch.autograd.Function):
    """``x @ weight.T`` where there is no adapter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: type, *weight: Any) -> Tensor:
        ctx.save_for_backward(*weight)
        ctx.kind = kind
        return forwards(x, kind(*weight))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        weight = ctx.saved_tensors
        grad = backwards(grads[0].contiguous(), ctx.kind(*weight))
        return grad, None, *(None for _ in weight)


def product(x: Tensor, weight: Weight, down: Tensor | None, up: Tensor | None) -> Tensor:
    """Return the base's product with ``x``, ``[tokens, inputs]``, and the adapter's added.

    Args:
        x: In 16 bit.
        weight: Frozen.
        down: ``[rank, inputs]``, or None where there is no adapter.
        up: ``[outputs, rank]``, the adapter's scale multiplied in.
    """
    if down is None or up is None:
        found: Tensor = _FrozenProduct.apply(x, type(weight), *weight)
    else:
        found = _Product.apply(x, down, up, type(weight), *weight)
    return found


def fp8_refusal(device: torch.device) -> str | None:
    """Return why a device cannot multiply in FP8, as a sentence; None: it can.

    On a CPU the same arithmetic is emulated, for tests.
    """
    if device.type != "cuda":
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability >= FP8_FROM:
        return None
    name, (major, minor) = torch.cuda.get_device_name(device), capability
    return (
        f"{name} (compute capability {major}.{minor}) cannot multiply in FP8, which needs 8.9 or"
        " newer; set base_precision: nf4 or bf16."
    )
