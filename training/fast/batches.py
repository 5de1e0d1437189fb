"""Batches without padding: rows of any trainer go through the layers as one row of documents."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from training.fast.layers import backbone_of

ALIGNED = 64
"""The tokens of a step are filled up to a multiple: kernels for others are slower."""


def remove_padding(model: Any) -> None:
    """Let the backbone of a PEFT model see tokens only; what it returns has its old shape."""
    backbone = backbone_of(model)
    backbone.forward = _without_padding(backbone, backbone.forward)


def _without_padding(backbone: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **more: Any,
    ) -> Any:
        generates = past_key_values is not None or hasattr(backbone, "_flag_for_generation")
        if generates or input_ids is None:
            return forward(
                input_ids=input_ids,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                **more,
            )
        more |= {"use_cache": False, "return_dict": True}
        if more.get("packed_seq_lengths") is not None:
            return forward(input_ids=input_ids, attention_mask=None, **more)
        flat = Flat(input_ids, attention_mask)
        more |= {"position_ids": flat.position_ids, "packed_seq_lengths": flat.lengths}
        output = forward(input_ids=flat.input_ids, attention_mask=None, **more)
        output.last_hidden_state = flat.restore(output.last_hidden_state)
        return output

    return run


class Flat:
    """The tokens of a padded batch as one row, and the way back."""

    def __init__(self, input_ids: Tensor, mask: Tensor | None) -> None:
        self._shape = input_ids.shape
        kept = _kept(input_ids, mask)
        sizes = kept.sum(1).tolist()
        self._places = kept.flatten().nonzero().squeeze(1)
        self.n_tokens = sum(sizes)
        fill = -self.n_tokens % ALIGNED
        ids = input_ids.flatten()[self._places]
        positions = torch.cat([torch.arange(size) for size in (*sizes, fill)])
        self.input_ids = torch.cat((ids, ids.new_zeros(fill))).unsqueeze(0)
        self.position_ids = positions.to(ids.device, non_blocking=True).unsqueeze(0)
        self.lengths = torch.tensor(sizes, dtype=torch.int32)
        self.lengths.q2q_varies = True

    def restore(self, hidden: Tensor) -> Tensor:
        """Return hidden states in the batch's own shape, zero at padding."""
        rows, columns = self._shape
        width = hidden.shape[-1]
        padded = hidden.new_zeros((rows * columns, width))
        return padded.index_copy(0, self._places, hidden[0, : self.n_tokens]).view(
            rows, columns, width
        )


def _kept(input_ids: Tensor, mask: Tensor | None) -> Tensor:
    """Return which tokens are no padding, from a mask over tokens or one of attention."""
    if mask is None:
        return torch.ones_like(input_ids, dtype=torch.bool)
    if mask.dim() == 4:  # the last token attends to all that is no padding
        return mask[:, 0, -1, :] >= 0
    return mask.bool()
