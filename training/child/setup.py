"""The base with a fresh adapter, as Unsloth makes it."""

import os
from typing import Any

import torch
from unsloth import FastLanguageModel

from training.child.events import Events
from training.runs.presets import IN_FP8, TWO_COPIES_FROM_GIB, RunSettings

RECOMPUTATION = {"unsloth": "unsloth", "plain": True, "none": False}


def load_model(config: dict[str, Any], settings: RunSettings, events: Events) -> tuple[Any, Any]:
    """Return the base with a fresh adapter, and its tokenizer."""
    recomputation = RECOMPUTATION[settings.recomputation]
    options: dict[str, Any] = {}
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and config["device"] == "cuda":
        options["device_map"] = {"": int(os.environ["LOCAL_RANK"])}
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=config["model"],
        max_seq_length=settings.max_length,
        dtype=torch.bfloat16 if config["device"] == "cpu" else None,
        load_in_4bit=settings.base_precision in ("nf4", "nf4_fp8"),
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
    events.write("steps_run", how=_speed_up(model, settings, config["device"]))
    leave_frozen_weights(model)
    return model, tokenizer


def leave_frozen_weights(model: Any) -> None:
    """Let data-parallel processes begin by sharing what learns: each has read the same rest."""
    model._ddp_params_and_buffers_to_ignore = [
        *(name for name, value in model.named_parameters() if not value.requires_grad),
        *(name for name, _ in model.named_buffers()),
    ]


def _speed_up(model: Any, settings: RunSettings, device: str) -> str:
    """Let compiled layers train where they are asked for and fit; say in a sentence what runs."""
    if settings.layers == "unsloth":
        return "Layers run Unsloth's own code."
    from training.fast.batches import remove_padding
    from training.fast.layers import install, unfit
    from training.fast.precision import fp8_refusal

    fp8 = settings.base_precision in IN_FP8
    refusal = fp8_refusal(model.device) if fp8 else None
    reason = refusal or unfit(model, settings.max_length)
    if reason is not None and fp8:
        raise ValueError(f"base_precision {settings.base_precision} does not go here: {reason}")
    if reason is not None:
        return reason
    install(
        model,
        fp8=fp8,
        keep_transposed=_has_room(model.device) and settings.recomputation == "none",
        longest=settings.max_length,
        compiled=device == "cuda",
    )
    remove_padding(model)
    return f"Layers are compiled, with packed attention and a base in {settings.base_precision}."


def _has_room(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    return float(memory) >= TWO_COPIES_FROM_GIB


def device_name() -> str:
    """Return what trains."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
