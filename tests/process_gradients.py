"""What processes learn in the first steps of a tiny model in 32 bit, method by method.

    python -m [torch.distributed.run --standalone --nproc-per-node 2 -m] tests.process_gradients
        BATCH FOLDER MODEL

Writes ``FOLDER/CASE.pt``: gradients of each step as the optimiser gets them, the step's losses,
and how many values were sent between processes. MODEL lends its tokenizer.
"""

import importlib
import random
import sys
from pathlib import Path
from typing import Any
from unittest import mock

ROWS, STEPS, ACCUMULATION = 16, 2, 2
CASES = ("sft", "dpo", "orpo", "kto", "dpo in fp8")
"""Methods, without padding in our layers; the last with a base in FP8 and the rest in bf16."""
PADDED = ("sft padded", "dpo padded", "orpo padded", "kto padded")
"""In the layers of transformers, by one process."""


def rows(method: str) -> list[dict[str, Any]]:
    """Return rows of very different lengths."""
    drawn = random.Random(5)

    def ids(low: int, high: int) -> list[int]:
        return [drawn.randrange(3, 200) for _ in range(drawn.randrange(low, high))]

    def row(i: int) -> dict[str, Any]:
        prompt, text = ids(2, 9), ids(2, 60)
        if method == "sft":
            return {"input_ids": prompt + text, "labels": [-100] * len(prompt) + text}
        if method == "kto":
            return {"prompt_ids": prompt, "completion_ids": text, "label": i % 3 == 0}
        return {"prompt_ids": prompt, "chosen_ids": text, "rejected_ids": ids(2, 60)}

    return [row(i) for i in range(ROWS)]


def main(batch: int, folder: Path, source: Path) -> None:
    """Train each method in turn."""
    importlib.import_module("unsloth")
    import torch
    from transformers import AutoTokenizer, TrainerCallback

    from training.child import trainers
    from training.child.events import Events, Phases
    from training.child.setup import leave_frozen_weights
    from training.fast.batches import remove_padding
    from training.fast.layers import install
    from training.runs.folder import RunFolder
    from training.runs.presets import PRESETS, RunSettings

    class Watching(TrainerCallback):
        def __init__(self, trainer: Any) -> None:
            self.trainer, self.sent = trainer, 0
            self.grads: list[dict[str, Any]] = []

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if args.world_size > 1:
                self.trainer.model_wrapped.register_comm_hook(None, self.send)

        def send(
            self, state: Any, bucket: torch.distributed.GradBucket
        ) -> torch.futures.Future[torch.Tensor]:
            from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

            self.sent += bucket.buffer().numel()
            return allreduce_hook(torch.distributed.group.WORLD, bucket)

        def on_pre_optimizer_step(
            self, args: Any, state: Any, control: Any, model: Any = None, **more: Any
        ) -> None:
            learns = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
            self.grads.append({name: value.grad.clone() for name, value in learns})

    folder.mkdir(exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(source)
    changes = {
        "max_steps": STEPS, "batch": batch, "accumulation": ACCUMULATION, "warmup": 0,
        "processes": 4 // batch, "save_every": 1000,
    }  # fmt: skip
    settings = RunSettings(**(PRESETS["laptop"].model_dump() | changes))
    arguments = trainers._arguments

    def in_32_bit(*given: Any, **more: Any) -> dict[str, Any]:
        return arguments(*given, **more) | {"bf16": False}

    for case in CASES if settings.processes > 1 else (*CASES, *PADDED):
        method, in_fp8 = case.split()[0], case.endswith("fp8")
        model = tiny(torch.bfloat16 if in_fp8 else torch.float32)
        if not case.endswith("padded"):
            install(model, fp8=in_fp8, keep_transposed=False, longest=128, compiled=False)
            remove_padding(model)
        leave_frozen_weights(model)
        events = Events(speaks=False)
        with mock.patch.object(trainers, "_arguments", in_32_bit):
            trainer = trainers.make_trainer(
                model, tokenizer, settings, RunFolder(folder),
                {"method": method, "device": "cpu"}, events, Phases(events),
                train_rows=rows(method), held_out_rows=[],
            )  # fmt: skip
        watching = Watching(trainer)
        trainer.add_callback(watching)
        trainer.train()
        if trainer.is_world_process_zero():
            losses = [one["loss"] for one in trainer.state.log_history if "loss" in one]
            torch.save(
                {"grads": watching.grads, "losses": losses, "sent": watching.sent},
                folder / f"{case}.pt",
            )


def tiny(dtype: Any) -> Any:
    """Return a small model with adapters, of the same values each time."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    model = get_peft_model(
        LlamaForCausalLM(config).to(dtype),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"]),
    )
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05)
    return model.train()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
