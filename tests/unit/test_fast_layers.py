"""Fast training on a tiny model: losses and gradients of PEFT's own code, in each precision."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from training.fast.attention import document_ends, packed_attention
from training.fast.batches import ALIGNED, Flat, remove_padding
from training.fast.layers import backbone_of, install, unfit
from training.fast.precision import (
    Weight16,
    WeightNf4,
    dequantised_nf4,
    product,
    quantise_rows,
    quantised,
)

pytestmark = pytest.mark.filterwarnings("default")  # of torch, as it loads
NAMES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SIZES: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
BF16 = 0.03
"""Relative error of gradients in bf16, of the whole in norm."""
FP8 = 0.15


def made(
    kind: str = "llama",
    targets: list[str] = NAMES,
    dtype: torch.dtype = torch.bfloat16,
    **lora: Any,
) -> Any:
    torch.manual_seed(0)
    base: Any = (
        LlamaForCausalLM(LlamaConfig(**SIZES))
        if kind == "llama"
        else Qwen2ForCausalLM(Qwen2Config(**SIZES))
    )
    for name, value in base.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(value, std=0.1)
    model = get_peft_model(
        base.to(dtype), LoraConfig(r=4, lora_alpha=8, target_modules=targets, **lora)
    )
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    return model.train()


def batch(lengths: tuple[int, ...] = (9, 30, 17), *, left: bool = False) -> dict[str, Tensor]:
    torch.manual_seed(1)
    width = max(lengths)
    ids = torch.randint(1, 96, (len(lengths), width))
    mask = torch.zeros_like(ids)
    for row, n in enumerate(lengths):
        mask[row, width - n :] = 1 if left else mask[row, width - n :]
        mask[row, :n] = mask[row, :n] if left else 1
    return {
        "input_ids": ids * mask,
        "attention_mask": mask,
        "labels": ids.masked_fill(mask == 0, -100),
    }


def learned(model: Any, inputs: dict[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    grads = {n: p.grad.float() for n, p in model.named_parameters() if p.grad is not None}
    return loss.item(), grads


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    first, second = (torch.cat([grads[n].flatten() for n in one]) for grads in (one, other))
    return float((first - second).norm() / first.norm())


def fast(model: Any, *, fp8: bool = False, compiled: bool = False, twice: bool = True) -> Any:
    install(model, fp8=fp8, keep_transposed=twice, longest=64, compiled=compiled)
    remove_padding(model)
    return model


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("targets", [NAMES, ["q_proj", "v_proj", "down_proj"]], ids=["all", "few"])
def test_layers_learn_what_peft_would(kind: str, targets: list[str]) -> None:
    model = made(kind, targets)
    loss, grads = learned(model, batch())
    assert unfit(model, 64) is None
    ours, our_grads = learned(fast(model), batch())
    assert ours == pytest.approx(loss, rel=2e-3)
    assert apart(grads, our_grads) < BF16


def test_in_32_bit_they_learn_exactly_that() -> None:
    model = made(dtype=torch.float32)
    loss, grads = learned(model, batch())
    ours, our_grads = learned(fast(model), batch())
    assert ours == pytest.approx(loss, rel=1e-5)
    assert apart(grads, our_grads) < 1e-4


@pytest.mark.parametrize("twice", [True, False])
def test_an_fp8_base_is_near_a_16_bit_one(twice: bool) -> None:
    loss, grads = learned(made(), batch())
    ours, our_grads = learned(fast(made(), fp8=True, twice=twice), batch())
    assert ours == pytest.approx(loss, rel=5e-3)
    assert apart(grads, our_grads) < FP8


def test_a_base_put_on_its_device_layer_by_layer_is_the_same() -> None:
    """The device is this one; a GPU's memory is watched in a test of its own."""
    there, by_layer = made(), made()
    loss, grads = learned(fast(there, fp8=True), batch())
    install(
        by_layer, fp8=True, keep_transposed=True, longest=64, compiled=False,
        device=torch.device("cpu"),
    )  # fmt: skip
    remove_padding(by_layer)
    ours, our_grads = learned(by_layer, batch())
    assert ours == loss
    assert apart(grads, our_grads) == 0


def test_fp8_gradients_are_those_of_the_fp8_weights() -> None:
    """Both directions see one quantised weight: rounding of activations and gradients remains."""
    torch.manual_seed(0)
    x = torch.randn(32, 64, dtype=torch.bfloat16, requires_grad=True)
    weight = quantised(torch.randn(48, 64, dtype=torch.bfloat16), keep_transposed=False)
    exact = weight.value.float() * weight.scale
    over = torch.randn(32, 48, dtype=torch.bfloat16)
    product(x, weight, None, None).backward(over)
    wanted = over.float() @ exact
    assert x.grad is not None
    assert float((x.grad.float() - wanted).norm() / wanted.norm()) < 0.04


def test_rows_are_quantised_with_scales_of_their_own() -> None:
    values = torch.tensor([[1.0, -2.0], [1e4, 3.0], [0.0, 0.0]])
    small, scale = quantise_rows(values)
    assert scale.squeeze(1)[:2].tolist() == pytest.approx([2 / 448, 1e4 / 448])
    assert (small.float() * scale).tolist() == [
        pytest.approx(row, rel=0.07, abs=1e-9) for row in values.tolist()
    ]


@pytest.mark.parametrize("fp8", [False, True])
def test_nf4_is_unpacked_as_bitsandbytes_does(fp8: bool) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    torch.manual_seed(0)
    value = torch.randn(32, 128)
    packed, state = functional.quantize_4bit(value, quant_type="nf4", blocksize=64)
    wanted = functional.dequantize_4bit(packed, state).float()
    scales = state.absmax.float().view(32, -1)
    rows = scales.amax(-1, keepdim=True) / 448 if fp8 else None
    weight = WeightNf4(packed.view(32, -1), scales, state.code.float(), rows)
    assert torch.equal(dequantised_nf4(*weight[:3]), wanted)
    x = torch.randn(16, 128, dtype=torch.bfloat16, requires_grad=True)
    y = torch.randn(16, 128, dtype=torch.bfloat16, requires_grad=True)
    with torch.no_grad():
        y.copy_(x)
    out = product(x, weight, None, None)
    reference = product(y, Weight16(wanted.to(torch.bfloat16)), None, None)
    over = torch.randn_like(out)
    out.backward(over), reference.backward(over)
    assert x.grad is not None
    assert y.grad is not None
    error = FP8 if fp8 else 0.01
    assert float((out - reference).norm() / reference.norm()) < error
    assert float((x.grad - y.grad).norm() / y.grad.norm()) < error


def test_packed_attention_is_attention_of_each_document() -> None:
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(29, heads, 8, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2)
    )
    ends = torch.tensor([0, 5, 17, 29], dtype=torch.int32)
    over = torch.randn(29, 4, 8, dtype=torch.float64)
    ours = torch.autograd.grad(
        packed_attention(query, key, value, ends, 12), (query, key, value), over
    )
    parts = [
        scaled_dot_product_attention(
            *(one[a:b].transpose(0, 1).unsqueeze(0) for one in (query, key, value)),
            is_causal=True,
            enable_gqa=True,
        )[0].transpose(0, 1)
        for a, b in ((0, 5), (5, 17), (17, 29))
    ]
    theirs = torch.autograd.grad(torch.cat(parts), (query, key, value), over)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_document_is_blind_to_its_neighbours() -> None:
    """The loss of one document moves with no token of another, and gives it no gradient."""
    model = fast(made())
    seen: list[Tensor] = []
    backbone_of(model).embed_tokens.register_forward_hook(
        lambda module, given, out: seen.append(out.requires_grad_()) or None
    )

    def over(ids: Tensor) -> tuple[float, Tensor]:
        seen.clear()
        labels = ids.clone()
        labels[1:] = -100
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        (grad,) = torch.autograd.grad(loss, seen[0])
        return loss.item(), grad[0]

    ids = batch((20, 20, 20))["input_ids"]
    loss, grad = over(ids)
    other = ids.clone()
    other[1:] = other[1:].roll(3, 1)
    assert over(other)[0] == loss
    assert grad[:20].abs().sum() > 0
    assert grad[20:].abs().sum() == 0


@pytest.mark.parametrize("left", [True, False])
def test_padding_is_taken_out_and_put_back(left: bool) -> None:
    inputs = batch(left=left)
    flat = Flat(inputs["input_ids"], inputs["attention_mask"])
    assert flat.input_ids.shape[1] % ALIGNED == 0
    assert flat.n_tokens == 56
    assert flat.position_ids[0, :10].tolist() == [*range(9), 0]
    back = flat.restore(flat.input_ids.unsqueeze(-1).float())
    assert torch.equal(back.squeeze(-1).long(), inputs["input_ids"])


def test_filling_is_cut_into_documents_of_its_own() -> None:
    assert document_ends([3, 4], 32, 10) == [0, 3, 7, 17, 27, 32]


def test_an_adapter_that_is_switched_off_is_left_out() -> None:
    model = fast(made())
    inputs = batch()
    with torch.no_grad(), model.disable_adapter():
        off = model(**inputs).loss.item()
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(value)
    with torch.no_grad():
        assert model(**inputs).loss.item() == pytest.approx(off, rel=1e-3)


def test_what_does_not_fit_says_so() -> None:
    assert "dropout" in (unfit(made(lora_dropout=0.1), 64) or "")
    assert "DoRA" in (unfit(made(use_dora=True), 64) or "")
    model = made()
    model.config.sliding_window = 32
    assert "32 tokens" in (unfit(model, 64) or "")


def test_compiled_layers_are_compiled_once_for_batches_of_any_size() -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    model = fast(made(), compiled=True)
    loss, grads = learned(model, batch())
    first = counters["stats"]["unique_graphs"]
    learned(model, batch((40, 60)))
    learned(model, batch((60, 60, 60, 60)))
    assert counters["stats"]["unique_graphs"] - first <= 1
    eager, eager_grads = learned(fast(made()), batch())
    assert loss == pytest.approx(eager, rel=2e-3)
    assert apart(grads, eager_grads) < BF16
