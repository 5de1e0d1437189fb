"""Torch work of the merge tests, in a process of its own: a real PEFT adapter, PEFT's own merge.

``python -m tests.unit.merge_lab adapter BASE TARGET`` writes an adapter of small random values;
``... same BASE ADAPTER MERGED`` exits with 0 if PEFT's merge has exactly the merged weights.
``... full HOME`` merges onto a disk of 100 MB, mounted over the models of HOME.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

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


def full(home: str) -> int:
    """Merge onto a disk that is found too small only by writing, and say what came of it."""
    from db.database import open_database
    from db.errors import Q2QError
    from db.models import find_model
    from db.settings import Settings
    from training.merge import folder
    from training.merge.merge import merge_adapter

    models = Path(home) / "models"
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(models)]
    subprocess.run(mount, check=True)
    folder.free_bytes = lambda _: 10**12  # as before somebody else filled it
    store = open_database(f"sqlite:///{Path(home) / 'q2q.sqlite'}")
    with store.read() as session:
        adapter_id = find_model(session, "tiny").id
    work = merge_adapter(
        store,
        Settings(home=Path(home), device="cpu"),
        adapter_id,
        on_progress=lambda *_: None,
        cancelled=asyncio.Event(),
    )
    try:
        asyncio.run(work)
    except Q2QError as error:
        sys.stdout.write(f"{error}\n")
    sys.stdout.write(f"left: {[path.name for path in models.iterdir()]}\n")
    return 0


if __name__ == "__main__":
    command = {"adapter": adapter, "same": same, "full": full}[sys.argv[1]]
    sys.exit(command(*sys.argv[2:]))
