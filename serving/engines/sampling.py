"""Sampling parameters: one complete, resolved set that is sent with every request.

Servers take what a request leaves out from the model's own files, so nothing is left out.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from db.input_text import Number

MAX_SEED = 2**63 - 1
MAX_TOKENS = 1_000_000
"""More than any model's context, and than any vocabulary (for ``top_k``)."""
NEUTRAL: Final[Mapping[str, float]] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}
"""The value of each parameter that changes nothing: what a server does that does not know it."""


class SamplingParameters(BaseModel):
    """How tokens are drawn. Equal sets draw from the same distribution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Number = Field(default=0.8, ge=0, le=10)
    """0 always takes the likeliest token; 1 is the model's own distribution."""
    top_p: Number = Field(default=0.95, gt=0, le=1)
    """Draw from the likeliest tokens that together hold this probability."""
    top_k: StrictInt = Field(default=0, ge=0, le=MAX_TOKENS)
    """Draw from this many likeliest tokens; 0 is no limit."""
    min_p: Number = Field(default=0.0, ge=0, le=1)
    """Leave out tokens less likely than this share of the likeliest one's probability."""
    max_tokens: StrictInt = Field(default=512, ge=1, le=MAX_TOKENS)
    """Most tokens of one completion."""
    presence_penalty: Number = Field(default=0.0, ge=-2, le=2)
    """Subtracted from the score of every token that the completion holds already."""
    frequency_penalty: Number = Field(default=0.0, ge=-2, le=2)
    """The same, once for each time the token occurs."""
    repetition_penalty: Number = Field(default=1.0, gt=0, le=10)
    """Divides the scores of tokens in prompt and completion; 1 is off."""
    seed: StrictInt | None = Field(default=None, ge=0, le=MAX_SEED)
    """None (the default) lets the server draw; a seed slows sampling down."""

    def resolved(self) -> dict[str, float | int | None]:
        """Return every parameter with its value, as stored and as sent."""
        return self.model_dump()
