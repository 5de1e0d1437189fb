"""What can be done with an adapter: served beside its base by vLLM 0.32, merged into it, or both.

vLLM's rules are those of its ``vllm/lora/peft_helper.py``. What passes here and is refused there
all the same is left out when the server starts (``serving.engine.supervisor``).
"""

from collections.abc import Sequence
from pathlib import Path

from db.messages import Message
from db.models import ModelRow
from db.settings import Settings
from serving.device import resolve_device
from serving.engine.command import Adapter, ServerSpec
from serving.models.adapters import (
    EMBEDDING,
    HEAD,
    AdapterFolder,
    WeightChange,
    read_adapter,
    shares_embeddings,
)
from serving.models.tensor_files import ModelError

LARGEST_RANK = 512
"""The largest ``--max-lora-rank`` that vLLM takes."""


def why_not_served(adapter: AdapterFolder) -> str | None:
    """Return why vLLM cannot serve an adapter beside its base, as ``it …``; None if it can."""
    config, changes = adapter.config, adapter.changes.values()
    if config.begins_elsewhere or config.special:
        return _why_neither(adapter)
    if config.use_dora or any(change.magnitude for change in changes):
        return "it uses DoRA"
    if any(change.tokens for change in changes) or config.trainable_token_indices:
        return "it trains single tokens (trainable_token_indices)"
    if config.lora_bias or config.bias != "none" or any(_is_bias(name) for name in adapter.changes):
        return "it trains biases"
    saved = {*config.modules_to_save, *(one.module for one in changes if one.saved and not one.a)}
    if saved:
        modules = ", ".join(sorted(saved))
        return Message("it holds whole weights of {modules} (modules_to_save)", modules=modules)
    if adapter.served_rank > LARGEST_RANK:
        return Message("its rank {n} is above {most}", n=adapter.served_rank, most=LARGEST_RANK)
    return None


def why_not_merged(adapter: AdapterFolder, base: Path) -> str | None:
    """Return why an adapter cannot be merged into its base, as ``it …``; None if it can."""
    config = adapter.config
    if config.begins_elsewhere or config.special:
        return _why_neither(adapter)
    if config.fan_in_fan_out:
        return "it is of transposed layers (fan_in_fan_out)"
    if any(change.magnitude and change.is_embedding for change in adapter.changes.values()):
        return "it uses DoRA on an embedding"
    if any(change.tokens and not _indices(adapter, change) for change in adapter.changes.values()):
        return "it does not say which tokens it trained (trainable_token_indices)"
    if not shares_embeddings(base):
        return None
    alone = [
        change.module
        for change in adapter.changes.values()
        if change.module.endswith((EMBEDDING, HEAD)) and not change.tokens
    ]
    return (
        f"it changes {' and '.join(alone)}, and the base uses one tensor for {EMBEDDING} and {HEAD}"
        if alone
        else None
    )


def check_mergeable(adapter: AdapterFolder, base: Path) -> None:
    """Return if a merge can hold all that the adapter does.

    Raises:
        ModelError: It cannot; the sentence says why.
    """
    why = why_not_merged(adapter, base)
    if why is not None:
        raise ModelError(
            "The adapter in {adapter_path} cannot be merged: {why}. {remedy}",
            adapter_path=adapter.path,
            why=why,
            remedy=_remedy(adapter),
        )


def note_of(adapter: Path, base: Path | None, name: str) -> str | None:
    """Return what people are told of an adapter that can only be merged; None where it is served.

    Raises:
        ModelError: It can be neither served nor merged.
    """
    read = read_adapter(adapter)
    served = why_not_served(read)
    if served is None:
        return None
    merged = None if base is None else why_not_merged(read, base)
    if merged is not None:
        and_why = "" if merged == served else f"; it cannot be merged either, since {merged}"
        raise ModelError(
            "The adapter in {adapter} cannot be served: {served}{and_why}. "
            "Train one without that, or convert it with PEFT to a plain LoRA.",
            adapter=adapter,
            served=served,
            and_why=and_why,
        )
    return Message(
        "vLLM cannot serve it beside its base: {why}. Merge it with `q2q merge {name}`, and use the"
        " merged model.",
        why=served,
        name=name,
    )


def token_indices(adapter: AdapterFolder, change: WeightChange) -> list[int]:
    """Return the tokens whose rows an adapter trained, in the order of its rows.

    Raises:
        ModelError: Its settings name none, or another number than there are rows.
    """
    assert change.tokens is not None
    found = list(_indices(adapter, change))
    if len(found) != adapter.tensors[change.tokens].shape[0]:
        raise ModelError(
            "The adapter in {adapter_path} names {n_found} trained tokens of {module} "
            "and holds {shape}. Save it again with PEFT.",
            adapter_path=adapter.path,
            n_found=len(found),
            module=change.module,
            shape=adapter.tensors[change.tokens].shape[0],
        )
    return found


def _indices(adapter: AdapterFolder, change: WeightChange) -> tuple[int, ...]:
    named = adapter.config.trainable_token_indices or ()
    if not isinstance(named, dict):
        return named
    last = change.module.rpartition(".")[2]
    return next((ids for key, ids in named.items() if key.rpartition(".")[2] == last), ())


def _why_neither(adapter: AdapterFolder) -> str:
    config = adapter.config
    if config.begins_elsewhere:
        return f"it was begun with {config.init_lora_weights}, which changes the base itself"
    return f"it uses {', '.join(config.special)}"


def _remedy(adapter: AdapterFolder) -> str:
    if why_not_served(adapter) is None:
        return "Serve it beside its base, or train one without that."
    return "Train one without that."


def _is_bias(name: str) -> bool:
    return name.endswith(".bias")


FALLBACK_CONTEXT = 4096


def server_spec(
    model: ModelRow, settings: Settings, adapters: Sequence[ModelRow] = ()
) -> ServerSpec:
    """Return how to serve ``model`` with ``adapters`` beside it, each under its own name.

    Raises:
        ModelError: A folder is gone, or an adapter belongs to another base.
    """
    for adapter in adapters:
        if adapter.base_id != model.id:
            raise ModelError(
                "The adapter {adapter_name} does not belong to {model_name}.",
                adapter_name=adapter.name,
                model_name=model.name,
            )
    return ServerSpec(
        model=folder_of(model),
        served_name=model.name,
        context_length=model.context_length or FALLBACK_CONTEXT,
        precision=model.precision,
        adapters=tuple(
            Adapter(
                name=adapter.name,
                path=folder_of(adapter),
                rank=served_rank(folder_of(adapter)),
            )
            for adapter in adapters
        ),
        device=resolve_device(settings.device),
    )


def served_rank(adapter: Path) -> int:
    """Return the rank that a server must have room for: of all tensors and settings.

    Raises:
        ModelError: vLLM cannot serve the adapter; the sentence says why and what to do.
    """
    read = read_adapter(adapter)
    why = why_not_served(read)
    if why is not None:
        raise ModelError(
            "vLLM cannot serve the adapter in {folder}: {why}. Merge it instead.",
            folder=adapter,
            why=why,
        )
    return read.served_rank


def folder_of(model: ModelRow) -> Path:
    """Return the folder of a model's weights.

    Raises:
        ModelError: They are not on this machine, or not any more.
    """
    if model.folder is not None:
        return model.folder
    if model.state == "pruned":
        raise ModelError(
            "The weights of {model_name} were pruned; make them again: `q2q merge`.",
            model_name=model.name,
        )
    if model.path is None:
        raise ModelError(
            "{model_name} is known by its server alone and has no weights here. Choose another "
            "model, or add its folder with `q2q model add`.",
            model_name=model.name,
        )
    raise ModelError(
        "The folder of {model_name} ({model_path}) is gone. Add it again with "
        "`q2q model add`, or choose another model.",
        model_name=model.name,
        model_path=model.path,
    )
