"""The base with a fresh adapter, as Unsloth makes it."""

import importlib
import os
from pathlib import Path
from typing import Any

import torch
from unsloth import FastLanguageModel

from training.child.events import Events
from training.runs.presets import IN_FP8, TWO_COPIES_FROM_GIB, RunSettings

RECOMPUTATION = {"unsloth": "unsloth", "plain": True, "none": False}


def load_model(config: dict[str, Any], settings: RunSettings, events: Events) -> tuple[Any, Any]:
    """Return the base with a fresh adapter, and its tokenizer."""
    recomputation = RECOMPUTATION[settings.recomputation]
    device = torch.device(config["device"], int(os.environ.get("LOCAL_RANK", "0")))
    by_layer = (
        settings.base_precision == "fp8"
        and config["device"] == "cuda"
        and is_tight(Path(config["model"]), gpu_gib(device))
    )
    options: dict[str, Any] = {}
    if by_layer:
        options["device_map"] = {"": "cpu"}
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1 and config["device"] == "cuda":
        options["device_map"] = {"": device.index}
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
    how = _speed_up(model, settings, device, by_layer=by_layer)
    events.write("steps_run", how=how)
    leave_frozen_weights(model)
    return model, tokenizer


def leave_frozen_weights(model: Any) -> None:
    """Let data-parallel processes begin by sharing what learns: each has read the same rest."""
    model._ddp_params_and_buffers_to_ignore = [
        *(name for name, value in model.named_parameters() if not value.requires_grad),
        *(name for name, _ in model.named_buffers()),
    ]


def _speed_up(
    model: Any, settings: RunSettings, device: torch.device, *, by_layer: bool = False
) -> str:
    """Let compiled layers train where they are asked for and fit; say in a sentence what runs."""
    if settings.layers == "unsloth":
        return "Layers run Unsloth's own code."
    from training.fast.batches import remove_padding
    from training.fast.layers import install, unfit
    from training.fast.precision import fp8_refusal

    fp8 = settings.base_precision in IN_FP8
    refusal = fp8_refusal(device) if fp8 else None
    reason = refusal or unfit(model, settings.max_length)
    if reason is not None and fp8:
        raise ValueError(f"base_precision {settings.base_precision} does not go here: {reason}")
    if reason is not None:
        return reason
    has_room = device.type == "cuda" and gpu_gib(device) >= TWO_COPIES_FROM_GIB
    install(
        model,
        fp8=fp8,
        keep_transposed=has_room and settings.recomputation == "none",
        longest=settings.max_length,
        compiled=device.type == "cuda",
        device=device if by_layer else None,
    )
    if by_layer:
        _note_device(model, device)
    remove_padding(model)
    return f"Layers are compiled, with packed attention and a base in {settings.base_precision}."


def _note_device(model: Any, device: torch.device) -> None:
    """Correct what Unsloth and transformers noted when they read the weights into main memory."""
    from training.fast.layers import backbone_of

    noted = importlib.import_module("unsloth_zoo.patching_utils").verify_and_set_device
    for layer in backbone_of(model).layers:
        noted(layer)
    if hasattr(model.get_base_model(), "hf_device_map"):
        model.get_base_model().hf_device_map = {"": device.index}


def is_tight(model: Path, gib: float) -> bool:
    """Say whether a GPU of ``gib`` cannot hold a model in 16 bit and quantise it there."""
    weights = sum(path.stat().st_size for path in model.glob("*.safetensors")) / 2**30
    return gib < 1.6 * weights


def gpu_gib(device: torch.device) -> float:
    """Return what a run can have of a GPU: what is free, and what this process holds."""
    if device.type != "cuda":
        return 0.0
    free, total = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device)
    return float(min(free + torch.cuda.memory_reserved(device), share * total)) / 2**30


def device_name() -> str:
    """Return what trains."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
