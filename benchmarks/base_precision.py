"""How far a base in 4 bit or FP8 is from the 16-bit one: divergence of its next-token predictions.

    python -m benchmarks.base_precision [OUT.json] [--model FOLDER] [--rows N]

The text is that of the example training set, cut into spans. For each precision: the mean over
tokens of KL(16 bit || it) in nats, and how often both predict the same token. FP8 quantises weights
and activations; on a CPU its products are emulated. NF4 is bitsandbytes'.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.functional import quantize_4bit
from peft import LoraConfig, get_peft_model
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.setting import note, write_result
from serving.models.embedded import ensure_embedded_model
from training.fast.batches import remove_padding
from training.fast.layers import install
from training.runs.presets import PROJECTIONS

OUT = Path(__file__).parent / "results" / "base_precision_cpu.json"
TEXTS = Path(__file__).parents[1] / "examples" / "training"
SPAN = 256


def loaded(model: Path, precision: str) -> Any:
    """Return the model with a base in ``precision`` and an adapter that does nothing yet."""
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    names = [name for name, _ in base.named_modules() if name.rsplit(".", 1)[-1] in PROJECTIONS]
    if precision.startswith("nf4"):
        for name in names:
            linear = base.get_submodule(name)
            packed, state = quantize_4bit(linear.weight.data, quant_type="nf4", blocksize=64)
            linear.weight = torch.nn.Parameter(packed, requires_grad=False)
            linear.weight.quant_state = state
    adapted = get_peft_model(base, LoraConfig(r=1, target_modules=[*PROJECTIONS]))
    fp8 = precision.endswith("fp8")
    install(adapted, fp8=fp8, keep_transposed=False, longest=SPAN, compiled=False)
    remove_padding(adapted)
    return adapted.eval()


def predictions(model: Any, spans: list[list[int]]) -> torch.Tensor:
    """Return log-probabilities of all tokens after each token."""
    found = []
    for span in spans:
        ids = torch.tensor([span])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        found.append(log_softmax(logits.float(), -1))
    return torch.cat(found)


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--model", type=Path, help="default: the embedded model")
    parser.add_argument("--rows", type=int, default=24)
    options = parser.parse_args()
    folder = options.model or ensure_embedded_model()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "\n".join(path.read_text("utf-8") for path in sorted(TEXTS.glob("*.jsonl")))
    ids = tokenizer(text)["input_ids"]
    step = len(ids) // options.rows
    spans = [ids[start : start + SPAN] for start in range(0, len(ids) - SPAN, step)]
    exact = predictions(loaded(folder, "bf16"), spans)
    found = {}
    for precision in ("nf4", "nf4_fp8", "fp8"):
        other = predictions(loaded(folder, precision), spans)
        each = (exact.exp() * (exact - other)).sum(-1)
        same = (exact.argmax(-1) == other.argmax(-1)).float().mean()
        found[precision] = {
            "kl_nats_a_token": round(each.mean().item(), 5),
            "kl_median": round(each.median().item(), 5),
            "same_prediction": round(same.item(), 4),
        }
        note(f"{precision}: {found[precision]}")
    write_result(options.out, {"model": folder.name, "tokens": exact.shape[0], "precisions": found})


if __name__ == "__main__":
    main()
