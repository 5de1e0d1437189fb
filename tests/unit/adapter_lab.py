"""Torch work of the tests of adapters: every kind of adapter PEFT writes, merged and judged.

``python -m tests.unit.adapter_lab FOLDER`` makes a tiny base and adapters of it, merges each as
``q2q merge`` does and writes what came of it to ``FOLDER/found.json``: for each kind the largest
difference from PEFT's own merge, and how far the proof's own reference says the weights are.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "float-alpha": {"lora_alpha": 12.5, "r": 8},
    "rank-stabilised": {"use_rslora": True},
    "patterns": {
        "rank_pattern": {"up_proj": 24, r"0\.self_attn\.q_proj": 2},
        "alpha_pattern": {"up_proj": 12.5},
        "use_rslora": True,
    },
    "whole-weights": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "norms": {"modules_to_save": ["norm"]},
    "embeddings": {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    "dora": {"use_dora": True, "lora_alpha": 3.5},
    "biases": {"bias": "all"},
    "lora-bias": {"lora_bias": True, "lora_alpha": 6.5},
    "tokens": {"trainable_token_indices": [1, 5, 40]},
}


def base(folder: Path, *, tied: bool = False) -> LlamaForCausalLM:
    """Write a tiny model of random weights."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=tied,
        )
    ).to(torch.bfloat16)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            weight.data.normal_(0, 0.02)
    model.save_pretrained(folder)
    return model


def adapter(model: LlamaForCausalLM, folder: Path, **options: Any) -> None:
    """Write an adapter of random values."""
    given = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"]} | options
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **given))
    torch.manual_seed(1)
    for name, weight in adapted.named_parameters():
        if weight.requires_grad and "magnitude" not in name:
            weight.data.add_(torch.randn_like(weight) * 0.05)
        elif weight.requires_grad:
            weight.data.mul_(1.25)
    adapted.save_pretrained(folder)


def merged(folder: Path, name: str) -> Path:
    """Merge an adapter as the child process of ``q2q merge`` does."""
    from training.merge.write_weights import write_weights

    target = folder / f"{name}-merged"
    target.mkdir()
    (target / "config.json").write_bytes((folder / "base" / "config.json").read_bytes())
    places = {"base": folder / "base", "adapter": folder / name, "target": target}
    write_weights({"device": "cpu", "wanted": str(target), **_texts(places)})
    return target


def judged(folder: Path, name: str, target: Path) -> float:
    """Return how far the proof says the values are, in half rounding steps."""
    from training.merge.proof_values import prove_values

    places = {"base": folder / "base", "adapter": folder / name, "merged": target}
    found = prove_values({"device": "cpu", **_texts(places)})
    assert found["compared"] == found["targeted"]
    return float(found["worst_half_steps"])


def difference(folder: Path, name: str, target: Path) -> float:
    """Return the largest difference from PEFT's merge in float32, as a share of a value's size."""
    plain = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    wanted = PeftModel.from_pretrained(plain, folder / name).merge_and_unload().state_dict()
    found = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32).state_dict()
    assert wanted.keys() == found.keys()
    return max(
        float(((wanted[key] - found[key]).abs() / wanted[key].abs().clamp_min(0.02)).max())
        for key in wanted
    )


def rescaled(folder: Path, name: str, alpha: float) -> float:
    """Return the verdict on a merge once the adapter's settings say another alpha."""
    path = folder / name / "adapter_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(settings | {"lora_alpha": alpha}), "utf-8")
    verdict = judged(folder, name, folder / f"{name}-merged")
    path.write_text(json.dumps(settings), "utf-8")
    return verdict


def _texts(places: dict[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in places.items()}


def main(folder: Path) -> int:
    """Make and judge all kinds."""
    warnings.simplefilter("ignore")
    found: dict[str, dict[str, float]] = {}
    for name, options in KINDS.items():
        adapter(base(folder / "base"), folder / name, **options)
        target = merged(folder, name)
        found[name] = {
            "difference": difference(folder, name, target),
            "half_steps": judged(folder, name, target),
        }
    found["float-alpha"]["as_12"] = rescaled(folder, "float-alpha", 12)
    base(folder / "tied", tied=True)
    for name, options in {"tied-head": {"modules_to_save": ["lm_head"]},
                          "tied-tokens": {"trainable_token_indices": [3]},
                          "pissa": {"init_lora_weights": "pissa"}}.items():  # fmt: skip
        adapter(base(folder / "tied", tied=True).float(), folder / name, **options)
    (folder / "found.json").write_text(json.dumps(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
