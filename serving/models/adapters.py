"""What a LoRA adapter does to its base: which weights it changes, and whether they fit."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.models.tensor_files import (
    ModelError,
    TensorPlace,
    read_json,
    tensor_places,
    weight_files,
)

CONFIG = "adapter_config.json"
_NOT_EXACT = frozenset({"pissa", "olora", "corda", "loftq"})
"""Ways to begin that change the base itself: their tensors count from other weights."""
_SPECIAL = (
    *("layer_replication", "alora_invocation_tokens", "use_qalora", "use_bdlora"),
    *("arrow_config", "kasa_config", "monteclora_config"),
)


class AdapterConfig(BaseModel):
    """The settings of PEFT's LoRA that act on its tensors; defaults are PEFT's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    peft_type: str = "LORA"
    r: int = Field(default=8, ge=1)
    lora_alpha: float = Field(default=8.0, allow_inf_nan=False)
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    bias: str = "none"
    lora_bias: bool = False
    modules_to_save: tuple[str, ...] = ()
    trainable_token_indices: tuple[int, ...] | dict[str, tuple[int, ...]] | None = None
    target_parameters: tuple[str, ...] = ()
    init_lora_weights: bool | str = True
    layer_replication: tuple[tuple[int, ...], ...] = ()
    alora_invocation_tokens: tuple[int, ...] = ()
    use_qalora: bool = False
    use_bdlora: dict[str, Any] | None = None
    arrow_config: dict[str, Any] | None = None
    kasa_config: dict[str, Any] | None = None
    monteclora_config: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def load(cls, adapter: Path) -> Self:
        """Return what the folder of an adapter says.

        Raises:
            ModelError: A setting is not what PEFT writes; the sentence names file and field.
        """
        path = adapter / CONFIG
        try:
            config = cls.model_validate(read_json(path))
            for key in (*config.rank_pattern, *config.alpha_pattern):
                re.compile(key)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise ModelError(
                "{path}: {field} is wrong ({problem}). Save the adapter again with PEFT.",
                path=path,
                field=field,
                problem=first["msg"],
            ) from error
        except re.error as error:
            raise ModelError(
                "{path}: a pattern is no regular expression ({error}).", path=path, error=error
            ) from error
        return config

    def rank(self, module: str) -> int:
        """Return the rank that the settings give a module, by PEFT's rule: the first match."""
        return int(_first_match(self.rank_pattern, module, self.r))

    def alpha(self, module: str) -> float:
        """Return the alpha of a module."""
        return float(_first_match(self.alpha_pattern, module, self.lora_alpha))

    def scale(self, module: str) -> float:
        """Return the factor of B · A of a module: alpha / r, or alpha / sqrt(r) (rsLoRA)."""
        rank = self.rank(module)
        return self.alpha(module) / (math.sqrt(rank) if self.use_rslora else rank)

    @property
    def begins_elsewhere(self) -> bool:
        """Say whether its tensors count from other weights than the base's own, e.g. PiSSA's."""
        return str(self.init_lora_weights).lower().split("_")[0] in _NOT_EXACT

    @property
    def special(self) -> tuple[str, ...]:
        """Settings that make it another kind of adapter than LoRA on single weights."""
        return tuple(name for name in _SPECIAL if getattr(self, name))

    def identity(self) -> str:
        """Return all that acts on the tensors and is not PEFT's default, as canonical JSON."""
        acts: dict[str, object] = {"r": self.r, "lora_alpha": self.lora_alpha}
        for name, value in self.model_dump(mode="json", exclude_defaults=True).items():
            if isinstance(value, dict):  # the first match counts, so their order does too
                acts[name] = list(value.items())
            elif isinstance(value, list) and name == "modules_to_save":
                acts[name] = sorted(value)
            else:
                acts[name] = value
        if not self.begins_elsewhere:
            acts.pop("init_lora_weights", None)
        return json.dumps({name: value for name, value in acts.items() if value}, sort_keys=True)


def _first_match(pattern: Mapping[str, float], module: str, default: float) -> float:
    return next(
        (value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", module)), default
    )


EMBEDDING, HEAD = "embed_tokens", "lm_head"
_PACKED = frozenset({"U8", "I8", "I32"})
"""Quantised weights are stored in other shapes."""
_PREFIX = "base_model.model."
_PARTS = re.compile(
    r"(?P<module>.+)\.(?:"
    r"lora_(?P<half>[AB])(?:\.\w+)?\.weight"
    r"|lora_embedding_(?P<embedding>[AB])(?:\.\w+)?"
    r"|(?P<magnitude>lora_magnitude_vector)(?:\.\w+)?(?:\.weight)?"
    r"|lora_B(?:\.\w+)?\.(?P<lora_bias>bias)"
    r"|token_adapter\.(?P<tokens>trainable_tokens_delta)"
    r"|(?:base_layer|modules_to_save(?:\.\w+)?)\.(?P<saved>weight|bias)"
    r")$"
)


@dataclass(slots=True, kw_only=True)
class WeightChange:
    """What an adapter does to one tensor of its base; all but ``module`` are the adapter's names.

    It is done in this order: the tensor is replaced, B · A is added, rows of tokens are replaced.
    """

    module: str
    """As the patterns of the adapter's settings match it, e.g. ``model.layers.0.mlp.up_proj``."""
    saved: str | None = None
    """A tensor saved whole, of the base's shape."""
    a: str | None = None
    """(r, in) of a linear layer, (r, vocabulary) of an embedding."""
    b: str | None = None
    """(out, r), or (width, r)."""
    is_embedding: bool = False
    magnitude: str | None = None
    """DoRA's length of each row, (out,)."""
    bias: str | None = None
    """LoRA's own bias, added to the base's after scaling."""
    tokens: str | None = None
    """Rows (tokens, width) in the place of those of trained tokens."""

    @property
    def is_plain(self) -> bool:
        """Say whether B · A of a linear layer is all there is."""
        return self.a is not None and not (
            self.saved or self.is_embedding or self.magnitude or self.tokens
        )

    @property
    def must_change(self) -> bool:
        """Say whether a merge that leaves the tensor as it is has failed: copies may be equal."""
        return self.a is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFolder:
    """An adapter's settings, tensors, and what they do to which tensor of the base."""

    path: Path
    config: AdapterConfig
    tensors: Mapping[str, TensorPlace] = field(repr=False)
    changes: Mapping[str, WeightChange] = field(repr=False)
    """Name of a tensor of the base → what happens to it."""

    @property
    def rank(self) -> int:
        """The largest rank of its tensors."""
        return max((self.rank_of(one) for one in self.changes.values() if one.a), default=1)

    @property
    def served_rank(self) -> int:
        """The rank that vLLM wants room for: it looks at the settings, too."""
        return max(self.rank, self.config.r, *self.config.rank_pattern.values())

    def rank_of(self, change: WeightChange) -> int:
        """Return the rank of one change, from its tensor A."""
        assert change.a is not None
        return self.tensors[change.a].shape[0]


def read_adapter(adapter: Path) -> AdapterFolder:
    """Return what an adapter does.

    Raises:
        ModelError: It holds no LoRA, half of one, or other ranks than its settings say.
    """
    config, tensors = AdapterConfig.load(adapter), _tensors(adapter)
    changes: dict[str, WeightChange] = {}
    for name in tensors:
        _note(changes, name)
    if not any(change.a or change.b for change in changes.values()):
        raise ModelError(
            "{adapter} holds no LoRA weights. Give the folder that PEFT saved.", adapter=adapter
        )
    read = AdapterFolder(
        path=adapter, config=config, tensors=tensors, changes=dict(sorted(changes.items()))
    )
    _check_halves(read)
    return read


def check_fit(adapter: Path, base: Path) -> None:
    """Return if every tensor that the adapter changes is in the base, with fitting shape.

    Raises:
        ModelError: it is an adapter of another build, e.g. of split q/k/v where these are fused.
    """
    read, weights, tied = read_adapter(adapter), _tensors(base), shares_embeddings(base)
    for name, change in read.changes.items():
        target = weights.get(_embedding_of(name, weights) if tied else name)
        if target is None and change.bias is not None:
            raise ModelError(
                "The adapter in {adapter} adds a bias to {module}, which has none in the "
                "base in {base}: it can be neither served nor merged. Train one without lora_bias.",
                adapter=adapter,
                module=change.module,
                base=base,
            )
        if target is None:
            raise ModelError(
                "The adapter in {adapter} changes {tensor}, which the base in {base} does "
                "not have{instead}. Name the base it was trained on with "
                "--base.",
                adapter=adapter,
                tensor=_plain(name),
                base=base,
                instead=_instead(change.module, weights),
            )
        if target.dtype not in _PACKED and not _fits(read, change, target):
            raise ModelError(
                "The adapter in {adapter} changes {tensor} of another size than the base in "
                "{base} has. Name the base it was trained on with --base.",
                adapter=adapter,
                tensor=_plain(name),
                base=base,
            )


def shares_embeddings(base: Path) -> bool:
    """Say whether a model's first and last layer are one tensor (tied embeddings)."""
    config = read_json(base / "config.json")
    nested = config.get("text_config")
    text = nested if isinstance(nested, dict) else {}
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    weights = _tensors(base)
    has_head = any(name.endswith(f"{HEAD}.weight") for name in weights)
    return bool(tied) if tied is not None else not has_head


def linear_modules(base: Path) -> dict[str, TensorPlace]:
    """Return the modules of a model whose weight is a matrix, e.g. ``model.layers.0.mlp.up_proj``.

    Quantised ones count too, whatever their stored shape.
    """
    return {
        name.removesuffix(".weight"): place
        for name, place in _tensors(base).items()
        if name.endswith(".weight") and (len(place.shape) == 2 or place.dtype in _PACKED)
    }


def _note(changes: dict[str, WeightChange], name: str) -> None:
    """Put a tensor of an adapter where it belongs."""
    short = name.removeprefix(_PREFIX)
    match = _PARTS.fullmatch(short)
    if match is None:  # saved whole: a bias, or a module of ``modules_to_save``
        changes.setdefault(short, WeightChange(module=short.rpartition(".")[0])).saved = name
        return
    module, part = match["module"], match["saved"] or match["lora_bias"] or "weight"
    change = changes.setdefault(f"{module}.{part}", WeightChange(module=module))
    if match["saved"]:
        change.saved = name
    elif match["lora_bias"]:
        change.bias = name
    elif match["tokens"]:
        change.tokens = name
    elif match["magnitude"]:
        change.magnitude = name
    else:
        change.is_embedding = match["embedding"] is not None
        if "A" in (match["half"], match["embedding"]):
            change.a = name
        else:
            change.b = name


def _check_halves(read: AdapterFolder) -> None:
    for change in read.changes.values():
        if (change.a is None) != (change.b is None) or (change.magnitude and change.a is None):
            raise ModelError(
                "The adapter in {read_path} has only half of {module}. Save it again.",
                read_path=read.path,
                module=change.module,
            )
        if change.a is not None and read.rank_of(change) != read.config.rank(change.module):
            raise ModelError(
                "{read_path} gives {module} the rank "
                "{rank}, and its tensors have {rank_of}, "
                "so nobody can say how strongly it acts. Save the adapter again with PEFT.",
                read_path=read.path / CONFIG,
                module=change.module,
                rank=read.config.rank(change.module),
                rank_of=read.rank_of(change),
            )


def _tensors(folder: Path) -> dict[str, TensorPlace]:
    found = tensor_places(weight_files(folder)).values()
    return {name: place for places in found for name, place in places.items()}


def _fits(read: AdapterFolder, change: WeightChange, target: TensorPlace) -> bool:
    """A is (rank, in) and B is (out, rank), of a weight (out, in); an embedding's is turned."""
    tensors = read.tensors
    if change.saved is not None and tensors[change.saved].shape != target.shape:
        return False
    if change.tokens is not None and tensors[change.tokens].shape[1:] != target.shape[1:]:
        return False
    if change.bias is not None and tensors[change.bias].shape != target.shape:
        return False
    if change.a is None or change.b is None or len(target.shape) != 2:
        return True
    a, b = tensors[change.a].shape, tensors[change.b].shape
    if len(a) != 2 or len(b) != 2:
        return True
    rows, columns = (a[1], b[0]) if change.is_embedding else (b[0], a[1])
    return (rows, columns) == target.shape


def _embedding_of(name: str, weights: Mapping[str, TensorPlace]) -> str:
    """Return the tensor that stands for ``name`` where first and last layer are one."""
    if name in weights or not name.endswith(f"{HEAD}.weight"):
        return name
    return next((one for one in weights if one.endswith(f"{EMBEDDING}.weight")), name)


def _plain(name: str) -> str:
    return name.removesuffix(".weight")


def _instead(module: str, weights: Mapping[str, TensorPlace]) -> str:
    parent = module.rpartition(".")[0]
    siblings = sorted(
        name.removesuffix(".weight").rpartition(".")[2]
        for name in weights
        if name.startswith(parent + ".") and name.count(".") == module.count(".") + 1
    )
    return f" (it has {', '.join(siblings)})" if siblings else ""
