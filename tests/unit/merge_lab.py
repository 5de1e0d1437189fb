"""Torch work of the merge tests, in a process of its own: a real PEFT adapter, PEFT's own merge.

``python -m tests.unit.merge_lab adapter BASE TARGET`` writes an adapter of small random values;
``... same BASE ADAPTER MERGED`` exits with 0 if PEFT's merge has exactly the merged weights.
"""

import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM


def adapter(base: str, target: str) -> int:
    """Write an adapter on two kinds of modules."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(model, config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.003)
    adapted.save_pretrained(target)
    return 0


def same(base: str, source: str, merged: str) -> int:
    """Compare every tensor of PEFT's own merge, bit by bit."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    wanted = PeftModel.from_pretrained(model, source).merge_and_unload().state_dict()
    found = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.bfloat16).state_dict()
    equal = wanted.keys() == found.keys()
    return int(not equal or not all(torch.equal(wanted[name], found[name]) for name in wanted))


if __name__ == "__main__":
    sys.exit({"adapter": adapter, "same": same}[sys.argv[1]](*sys.argv[2:]))
