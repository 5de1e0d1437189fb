"""Causal attention over documents packed into one row, in one call; none sees another.

On a GPU these are PyTorch's own flash kernels for sequences of different length, which also take
fewer heads for keys and values than for queries. On a CPU, and in 32 bit, documents are attended to
one after the other.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@torch.library.custom_op("q2q::packed_attention", mutates_args=())
def _attend(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int
) -> tuple[Tensor, Tensor]:
    if query.is_cuda:
        result = torch.ops.aten._flash_attention_forward(
            query, key, value, ends, ends, longest, longest, 0.0, True, False
        )
        return result[0], result[1]
    out = torch.cat([_document(*parts) for parts in _documents(query, key, value, ends)])
    return out, query.new_empty((query.shape[1], query.shape[0]), dtype=torch.float32)


@_attend.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int
) -> tuple[Tensor, Tensor]:
    weights = query.new_empty((query.shape[1], query.shape[0]), dtype=torch.float32)
    return torch.empty_like(query, memory_format=torch.contiguous_format), weights


@torch.library.custom_op("q2q::packed_attention_backward", mutates_args=())
def _attend_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    weights: Tensor,
    ends: Tensor,
    longest: int,
) -> tuple[Tensor, Tensor, Tensor]:
    if query.is_cuda:
        unused = torch.zeros(2, dtype=torch.uint64, device=query.device)  # state of the dropout
        found = torch.ops.aten._flash_attention_backward(
            grad, query, key, value, out, weights, ends, ends, longest, longest, 0.0, True,
            unused, unused,
        )  # fmt: skip
        return found[0], found[1], found[2]
    documents = zip(_documents(query, key, value, ends), grad.split(_sizes(ends)), strict=True)
    columns = zip(*(_document_backward(over, *parts) for parts, over in documents), strict=True)
    q, k, v = (torch.cat(column).to(query.dtype) for column in columns)
    return q, k, v


@_attend_backward.register_fake
def _(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    weights: Tensor,
    ends: Tensor,
    longest: int,
) -> tuple[Tensor, Tensor, Tensor]:
    form = torch.contiguous_format
    q, k, v = (torch.empty_like(one, memory_format=form) for one in (query, key, value))
    return q, k, v


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int
    ) -> Tensor:
        out, weights = torch.ops.q2q.packed_attention(query, key, value, ends, longest)
        ctx.save_for_backward(query, key, value, out, weights, ends)
        ctx.longest = longest
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        query, key, value, out, weights, ends = ctx.saved_tensors
        found = torch.ops.q2q.packed_attention_backward(
            grads[0].contiguous(), query, key, value, out, weights, ends, ctx.longest
        )
        return *found, None, None


def packed_attention(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int
) -> Tensor:
    """Return causal attention within each document, ``[tokens, heads, size of a head]``.

    Args:
        query: ``[tokens, heads, size of a head]``.
        key: The same, or with fewer heads.
        value: Like ``key``.
        ends: Where documents begin and end: 0, the end of the first, and so on to the last token.
        longest: No document has more tokens.
    """
    found: Tensor = _PackedAttention.apply(query, key, value, ends, longest)
    return found


def document_ends(lengths: list[int], total: int, longest: int) -> list[int]:
    """Return where documents end in a row of ``total`` tokens, padding cut into ones of its own."""
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    while ends[-1] < total:
        ends.append(min(total, ends[-1] + longest))
    return ends


def _sizes(ends: Tensor) -> list[int]:
    return ends.diff().tolist()


def _documents(query: Tensor, key: Tensor, value: Tensor, ends: Tensor) -> Any:
    sizes = _sizes(ends)
    return zip(query.split(sizes), key.split(sizes), value.split(sizes), strict=True)


def _document(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    q, k, v = (one.transpose(0, 1).unsqueeze(0) for one in (query, key, value))
    gqa = query.shape[1] != key.shape[1]
    return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=gqa)[0].transpose(0, 1)


def _document_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of one document's queries, keys and values, in 32 bit."""
    tokens, heads, size = query.shape
    n_kv = key.shape[1]
    grad, query = (
        one.float().transpose(0, 1).unflatten(0, (n_kv, heads // n_kv)) for one in (grad, query)
    )
    key, value = (one.float().transpose(0, 1).unsqueeze(1) for one in (key, value))
    ahead = torch.ones((tokens, tokens), dtype=torch.bool).triu(1)
    scores = (query @ key.transpose(-1, -2) * size**-0.5).masked_fill(ahead, -torch.inf)
    weights = scores.softmax(-1)
    over_weights = grad @ value.transpose(-1, -2)
    over_scores = weights * (over_weights - (over_weights * weights).sum(-1, keepdim=True))
    over_scores = over_scores * size**-0.5
    over_query = (over_scores @ key).flatten(0, 1)
    over_key = (over_scores.transpose(-1, -2) @ query).sum(1)
    over_value = (weights.transpose(-1, -2) @ grad).sum(1)
    return over_query.transpose(0, 1), over_key.transpose(0, 1), over_value.transpose(0, 1)
