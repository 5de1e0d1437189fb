"""The base with a fresh adapter, as Unsloth makes it."""

import os
from typing import Any

import torch
from unsloth import FastLanguageModel

from training.runs.presets import RunSettings

RECOMPUTATION = {"unsloth": "unsloth", "plain": True, "none": False}


def load_model(config: dict[str, Any], settings: RunSettings) -> tuple[Any, Any]:
    """Return the base with a fresh adapter, and its tokenizer."""
    recomputation = RECOMPUTATION[settings.recomputation]
    options: dict[str, Any] = {}
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and config["device"] == "cuda":
        options["device_map"] = {"": int(os.environ["LOCAL_RANK"])}
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=config["model"],
        max_seq_length=settings.max_length,
        dtype=torch.bfloat16 if config["device"] == "cpu" else None,
        load_in_4bit=settings.load_in_4bit,
        use_gradient_checkpointing=recomputation,
        **options,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=settings.r,
        target_modules=list(settings.targets),
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        bias="none",
        use_gradient_checkpointing=recomputation,
        random_state=settings.seed,
        max_seq_length=settings.max_length,
    )
    return model, tokenizer


def device_name() -> str:
    """Return what trains."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
