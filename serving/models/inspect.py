"""What a model folder says of itself: its JSON files and tokenizer; imports no model library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serving.formats.tokenizer import PromptTokenizer
from serving.models.adapters import read_adapter
from serving.models.errors import ModelError
from serving.models.tensor_files import read_json, tensor_places, weight_files

Kind = Literal["base", "adapter", "merged"]

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a folder holds. For an adapter, tokenizer and context are those saved beside it."""

    kind: Kind
    architecture: str | None
    dtype: str | None
    """As in config.json, e.g. ``bfloat16``."""
    n_parameters: int
    context_length: int | None
    """Tokens of prompt and completion together."""
    bos_token_id: int | None
    stop_token_ids: tuple[int, ...]
    """Every id that the model's files name as an end, in that order."""
    tokenizer_hash: str | None
    """See ``serving.formats.tokenizer.PromptTokenizer.content_hash``."""
    base: str | None = None
    """Path or name of the base that an adapter or merged folder names."""
    rank: int | None = None
    """The largest of an adapter's tensors."""


def inspect_folder(folder: Path) -> ModelFacts:
    """Return the facts of the model in ``folder``.

    Raises:
        ModelError: it is no model folder, or a file of it cannot be read.
    """
    files = weight_files(folder)
    adapter = read_json(folder / "adapter_config.json")
    config = read_json(folder / "config.json")
    if not adapter and not config:
        raise ModelError(f"{folder} has no config.json. Give the folder of a whole model.")
    n_parameters = sum(
        place.n_elements for places in tensor_places(files).values() for place in places.values()
    )
    manifest = read_json(folder / "manifest.json")
    architectures = config.get("architectures")
    nested = config.get("text_config")
    text_config = {**config, **nested} if isinstance(nested, dict) else config
    tokenizer = PromptTokenizer.load(folder) if (folder / "tokenizer.json").is_file() else None
    return ModelFacts(
        kind=_kind(adapter, manifest),
        architecture=str(architectures[0]) if isinstance(architectures, list) else None,
        dtype=_text(text_config.get("dtype") or text_config.get("torch_dtype")),
        n_parameters=n_parameters,
        context_length=next(
            (value for key in _CONTEXT_KEYS if (value := _int(text_config.get(key)))), None
        ),
        bos_token_id=tokenizer.bos_token_id if tokenizer else None,
        stop_token_ids=_stops(folder, text_config, tokenizer),
        tokenizer_hash=tokenizer.content_hash if tokenizer else None,
        base=_text(adapter.get("base_model_name_or_path") or manifest.get("base")),
        rank=read_adapter(folder).rank if adapter else None,
    )


def _kind(adapter: dict[str, Any], manifest: dict[str, Any]) -> Kind:
    if adapter:
        return "adapter"
    return "merged" if manifest.get("kind") == "merged" else "base"


def _stops(
    folder: Path, config: dict[str, Any], tokenizer: PromptTokenizer | None
) -> tuple[int, ...]:
    named: list[object] = []
    for source in (read_json(folder / "generation_config.json"), config):
        ids = source.get("eos_token_id")
        named += ids if isinstance(ids, list) else [ids]
    named.append(tokenizer.eos_token_id if tokenizer else None)
    return tuple(dict.fromkeys(token for one in named if (token := _int(one)) is not None))


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
