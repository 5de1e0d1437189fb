"""On a GPU: its kernels compute what the same code computes on a CPU, which other tests check."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from training.fast.attention import packed_attention
from training.fast.batches import remove_padding
from training.fast.layers import Adapter, Heads, decoder_layer, install
from training.fast.precision import (
    Weight,
    Weight16,
    WeightNf4,
    fp8_refusal,
    product,
    quantised,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
CODE = torch.linspace(-1, 1, 16)


def apart(one: Tensor, other: Tensor) -> float:
    first, second = one.float().cpu(), other.float().cpu()
    return float((first - second).norm() / first.norm())


def weights(outputs: int, inputs: int) -> dict[str, Weight]:
    value = torch.randn(outputs, inputs).to(torch.bfloat16) / inputs**0.5
    packed = torch.randint(0, 256, (outputs, inputs // 2), dtype=torch.uint8)
    scale = torch.rand(outputs, inputs // 64) / inputs**0.5
    rows = scale.amax(-1, keepdim=True) / 448
    return {
        "bf16": Weight16(value),
        "fp8": quantised(value, keep_transposed=True),
        "fp8 once": quantised(value, keep_transposed=False),
        "nf4": WeightNf4(packed, scale, CODE, None),
        "nf4_fp8": WeightNf4(packed, scale, CODE, rows),
    }


def on_gpu(given: Any) -> Any:
    if isinstance(given, Tensor):
        return given.detach().cuda().requires_grad_(given.requires_grad)
    if isinstance(given, tuple):
        moved = [on_gpu(one) for one in given]
        return type(given)(*moved) if hasattr(given, "_fields") else tuple(moved)
    return given


@pytest.mark.parametrize("name", ["bf16", "fp8", "fp8 once", "nf4", "nf4_fp8"])
def test_products_are_those_of_a_cpu(name: str) -> None:
    torch.manual_seed(0)
    x, over = torch.randn(128, 512), torch.randn(128, 384)
    down, up = torch.randn(16, 512) / 23, torch.randn(384, 16) / 4
    given = [one.to(torch.bfloat16).requires_grad_() for one in (x, down, up)]
    weight = weights(384, 512)[name]
    moved = [on_gpu(one) for one in given]
    out = product(given[0], weight, *given[1:])
    ours = product(moved[0], on_gpu(weight), *moved[1:])
    assert apart(out, ours) < 0.01
    out.backward(over.to(torch.bfloat16))
    ours.backward(over.to(torch.bfloat16).cuda())
    for one, other in zip(given, moved, strict=True):
        assert apart(one.grad, other.grad) < 0.02


def test_packed_attention_is_that_of_a_cpu_and_blind_to_neighbours() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(704, heads, 64).to(torch.bfloat16).requires_grad_() for heads in (8, 2, 2)]
    ends = torch.tensor([0, 100, 420, 704], dtype=torch.int32)
    over = torch.randn(704, 8, 64).to(torch.bfloat16)
    wanted = packed_attention(*parts, ends, 320)
    grads = torch.autograd.grad(wanted, parts, over)
    moved = [on_gpu(one) for one in parts]
    found = packed_attention(*moved, ends.cuda(), 512)
    ours = torch.autograd.grad(found, moved, over.cuda())
    assert apart(wanted, found) < 0.01
    for one, other in zip(grads, ours, strict=True):
        assert apart(one, other) < 0.02
    with torch.no_grad():
        for one in moved:
            one[100:420] = torch.randn_like(one[100:420])
    again = packed_attention(*moved, ends.cuda(), 512)
    regrads = torch.autograd.grad(again, moved, over.cuda())
    for one, other in zip((found, *ours), (again, *regrads), strict=True):
        assert torch.equal(one[:100], other[:100])
        assert torch.equal(one[420:], other[420:])


@pytest.mark.parametrize("name", ["bf16", "fp8", "nf4", "nf4_fp8"])
def test_compiled_layers_are_those_of_a_cpu(name: str) -> None:
    torch.manual_seed(0)
    tokens, hidden, inner, heads = 192, 256, 512, Heads(4, 2, 64)
    shapes = ((512, hidden), (hidden, 256), (2 * inner, hidden), (hidden, inner))
    base = tuple(weights(*shape)[name] for shape in shapes)
    sizes = ((256, 128, 128), (hidden,), (inner, inner), (hidden,))
    adapters = tuple(
        tuple(
            Adapter(
                (torch.randn(8, shape[1]) / 16).requires_grad_(),
                (torch.randn(size, 8) / 8).requires_grad_(),
                2.0,
            )
            for size in group
        )
        for shape, group in zip(shapes, sizes, strict=True)
    )
    angle = torch.rand(tokens, 64)
    norms = tuple((torch.rand(hidden).to(torch.bfloat16), 1e-5) for _ in range(2))
    biases = tuple(tuple(None for _ in group) for group in sizes)
    x = torch.randn(tokens, hidden).to(torch.bfloat16).requires_grad_()
    cos, sin = angle.cos().to(torch.bfloat16), angle.sin().to(torch.bfloat16)
    ends = torch.tensor([0, 50, 150, tokens], dtype=torch.int32)
    given = (x, cos, sin, ends, 128, heads, norms, base, adapters, biases)
    moved = on_gpu(given)
    over = torch.randn(tokens, hidden).to(torch.bfloat16)
    wanted = decoder_layer(*given)
    wanted.backward(over)
    found = torch.compile(decoder_layer)(*moved)
    found.backward(over.cuda())
    allowed = 0.03 if name in ("bf16", "nf4") else 0.06
    assert apart(wanted, found) < allowed
    assert apart(x.grad, moved[0].grad) < allowed
    for group, others in zip(adapters, moved[8], strict=True):
        for one, other in zip(group, others, strict=True):
            assert apart(one.up.grad, other.up.grad) < 2 * allowed
            assert apart(one.down.grad, other.down.grad) < 2 * allowed


def test_a_gpu_without_fp8_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert "8.0" in (fp8_refusal(torch.device("cuda")) or "")


def test_a_base_is_put_into_fp8_layer_by_layer() -> None:
    """The whole never lies on the GPU in 16 bit, and learns as if it had been quantised there."""
    config = LlamaConfig(
        vocab_size=512, hidden_size=1024, intermediate_size=4096, num_hidden_layers=6,
        num_attention_heads=8, num_key_value_heads=4,
    )  # fmt: skip
    found = []
    for by_layer in (False, True):
        torch.manual_seed(0)
        model = get_peft_model(
            LlamaForCausalLM(config).to(torch.bfloat16),
            LoraConfig(r=8, target_modules=["q_proj", "down_proj"]),
        ).train()
        size = sum(value.nbytes for value in model.parameters())
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        install(
            model if by_layer else model.cuda(),
            fp8=True, keep_transposed=False, longest=128, compiled=False,
            device=torch.device("cuda", 0) if by_layer else None,
        )  # fmt: skip
        peak = torch.cuda.max_memory_allocated() - before
        assert by_layer == (peak < 0.8 * size)
        remove_padding(model)
        ids = torch.arange(100, device="cuda").view(2, 50)
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        loss.backward()
        found.append(loss.item())
        del model, loss
    assert found[1] == pytest.approx(found[0], rel=1e-4)
