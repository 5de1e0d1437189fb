"""What is compared, as a job carries it."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from db.identity import AS_STORED, WHEN_LOADED, Precision
from db.spec_files import validated

KIND = "compare_precision"
"""Of the job, and the purpose of its sweeps."""


class CompareSpec(BaseModel):
    """A model, the precisions that are held against its 16-bit weights, and on how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)
    """Name or id; of a version as served, the stored one counts."""
    precisions: tuple[Precision, ...] = ("fp8",)
    """Those to compare with ``bf16``, which may be named too."""
    questions: StrictInt = Field(default=100, ge=2, le=10_000)
    """Held-out ones first, then the others, the oldest first."""
    max_tokens: StrictInt = Field(default=128, ge=1, le=4096)
    """Of each answer."""
    format: str = "chat@1"
    """The prompt format in which the questions are asked."""

    @model_validator(mode="after")
    def _has_another(self) -> Self:
        if not self.others:
            raise ValueError(f"precisions: name one besides {AS_STORED}: {', '.join(WHEN_LOADED)}")
        return self

    @property
    def others(self) -> tuple[Precision, ...]:
        """The precisions that are compared with 16 bit, each once."""
        return tuple(dict.fromkeys(one for one in self.precisions if one != AS_STORED))


def parse_compare_spec(values: Mapping[str, Any]) -> CompareSpec:
    """Return the spec in ``values``.

    Raises:
        UsageError: A key or a value is wrong.
    """
    return validated(CompareSpec, values, "This cannot be compared: {problems}.")
