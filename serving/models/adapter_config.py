"""What ``adapter_config.json`` says that changes how an adapter's tensors act on its base."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.models.errors import ModelError
from serving.models.tensor_files import read_json

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
                f"{path}: {field} is wrong ({first['msg']}). Save the adapter again with PEFT."
            ) from error
        except re.error as error:
            raise ModelError(f"{path}: a pattern is no regular expression ({error}).") from error
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
