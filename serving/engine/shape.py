"""What a plan has to know of a model: its sizes, read from config.json and the tensors' headers."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from db.identity import Precision
from serving.models.tensor_files import (
    ModelError,
    TensorPlace,
    read_json,
    tensor_places,
    weight_files,
)

_KEYS = {
    "layers": ("num_hidden_layers", "n_layer"),
    "heads": ("num_attention_heads", "n_head"),
    "hidden": ("hidden_size", "n_embd"),
    "vocabulary": ("vocab_size",),
}
_OUTSIDE = ("embed", "wte", "wpe", "lm_head", "norm")
"""In names of tensors that no quantisation at loading reaches."""
_STORED_AS: Mapping[str, Precision] = {
    "awq": "awq",
    "gptq": "gptq",
    "bitsandbytes": "nf4",
    "fp8": "fp8",
}
"""The methods of ``quantization_config`` in config.json."""


class ModelShape(BaseModel):
    """The sizes of a model; a pure value, so that absent models can be planned too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    hidden: int = Field(ge=1)
    intermediate: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    context_length: int = Field(ge=1)
    linear: int = Field(ge=0)
    """Values in linear layers: what FP8 and 4 bit reach."""
    other: int = Field(ge=0)
    """Values that stay in 16 bit: embeddings, head, norms."""
    lora_width: int = Field(ge=0)
    """Inputs and outputs of all linear layers together: values of an adapter of rank 1."""
    stored_bytes: int = Field(default=0, ge=0)
    """Of the tensors of a folder that is quantised already; 0 for others."""
    stored_as: Precision | None = None
    """The precision of such a folder, where it is one that has a name here."""

    @property
    def parameters(self) -> int:
        """All values."""
        return self.linear + self.other


def shape_of(config: Mapping[str, Any], name: str) -> ModelShape:
    """Return the shape of a Llama-like model by its config.json alone.

    Raises:
        ModelError: It lacks a size that a plan needs.
    """
    nested = config.get("text_config")
    config = {**config, **nested} if isinstance(nested, dict) else config
    sizes = {key: _size(config, names, name) for key, names in _KEYS.items()}
    shape = ModelShape(
        name=name,
        **sizes,
        kv_heads=_size(config, ["num_key_value_heads"], name, sizes["heads"]),
        head_dim=_size(config, ["head_dim"], name, max(1, sizes["hidden"] // sizes["heads"])),
        intermediate=_size(config, ["intermediate_size"], name, 4 * sizes["hidden"]),
        context_length=_size(config, ["max_position_embeddings"], name, 4096),
        linear=0,
        other=0,
        lora_width=0,
    )
    return shape.model_copy(update=_by_formula(shape, _is_tied(config)))


def read_shape(folder: Path, name: str | None = None) -> ModelShape:
    """Return the shape of the model in ``folder``; weights may be missing beside config.json.

    Raises:
        ModelError: There is no config.json, or it lacks a size that a plan needs.
    """
    config = read_json(folder / "config.json")
    if not config:
        raise ModelError(
            "{folder} has no config.json. Give the folder of a whole model.", folder=folder
        )
    shape = shape_of(config, name or folder.name)
    counted = _counted(folder, _is_tied(config))
    stated = config.get("quantization_config")
    if not isinstance(stated, dict):
        return shape.model_copy(update={**counted, "stored_bytes": 0})
    stored = {
        "stored_as": _STORED_AS.get(str(stated.get("quant_method"))),
        "stored_bytes": counted.get("stored_bytes", 0),
    }
    return shape.model_copy(update=stored)


def _is_tied(config: Mapping[str, Any]) -> bool:
    return bool(config.get("tie_word_embeddings", False))


def _size(
    config: Mapping[str, Any], names: Iterable[str], model: str, default: int | None = None
) -> int:
    """Return the first of ``names`` that is a size; the default, if any, where all are left out."""
    found = [config[name] for name in names if config.get(name) is not None]
    for value in found:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    if default is not None and not found:
        return default
    raise ModelError(
        "The config.json of {model} does not say {names}, so that its memory cannot be planned."
        " Fetch the model again.",
        model=model,
        names=" or ".join(names),
    )


def _counted(folder: Path, tied: bool) -> dict[str, int]:
    """Return the values of the tensors' headers; nothing where there are no weights."""
    try:
        files = weight_files(folder)
    except ModelError:
        return {}
    counted = {"linear": 0, "other": 0, "lora_width": 0, "stored_bytes": 0}
    for places in tensor_places(files).values():
        for name, place in places.items():
            counted["stored_bytes"] += place.end - place.start
            if tied and name.startswith("lm_head"):
                continue
            if _is_linear(name, place):
                counted["linear"] += place.n_elements
                counted["lora_width"] += sum(place.shape[-2:])
            else:
                counted["other"] += place.n_elements
    return counted


def _is_linear(name: str, place: TensorPlace) -> bool:
    return len(place.shape) >= 2 and not any(part in name for part in _OUTSIDE)


def _by_formula(shape: ModelShape, tied: bool) -> dict[str, int]:
    """Return the values of a Llama-like model of this shape: the one that most models have."""
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    h, wide = shape.hidden, shape.intermediate
    return {
        "linear": shape.layers * (2 * h * q + 2 * h * kv + 3 * h * wide),
        "other": shape.vocabulary * h * (1 if tied else 2) + (2 * shape.layers + 1) * h,
        "lora_width": shape.layers * (2 * (h + q) + 2 * (h + kv) + 3 * (h + wide)),
    }


DEFAULT_SHAPE = shape_of(
    {
        "hidden_size": 5120,
        "intermediate_size": 17920,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 10,
        "vocab_size": 32064,
        "max_position_embeddings": 4096,
    },
    "phi-3-medium-4k-instruct",
)
"""Of the default model on CUDA, so that it can be planned before its 28 GB are fetched."""
