"""Models of the merge tests: a real base with few layers, a real PEFT adapter, PEFT's own merge.

``python -m tests.unit.merge_lab adapter BASE TARGET`` writes an adapter of small random values;
``... same BASE ADAPTER MERGED`` exits with 0 if PEFT's merge has exactly the merged weights.
``... full HOME`` merges onto a disk of 40 MB, mounted over the models of HOME.
"""

import asyncio
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from serving.models.tensor_files import read_header

LAYERS = 4


def first_layers(base: Path, target: Path) -> Path:
    """Write a model of the first layers of ``base``; it loads in a third of the time."""
    shutil.copytree(base, target, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((base / "config.json").read_text("utf-8"))
    config["num_hidden_layers"] = LAYERS
    (target / "config.json").write_text(json.dumps(config), "utf-8")
    weights = base / "model.safetensors"
    kept = {
        name: place
        for name, place in read_header(weights).items()
        if not name.startswith("model.layers.") or int(name.split(".")[2]) < LAYERS
    }
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, place in kept.items():
        end = at + place.end - place.start
        header[name] = {"dtype": place.dtype, "shape": place.shape, "data_offsets": [at, end]}
        at = end
    packed = json.dumps(header).encode()
    values = weights.read_bytes()
    with (target / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(packed)) + packed)
        for place in kept.values():
            file.write(values[place.start : place.end])
    return target


def adapter(base: str, target: str) -> int:
    """Write an adapter on two kinds of modules."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

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
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

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
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(models)]
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
