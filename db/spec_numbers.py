"""Numbers in specs that people write: what looks like another thing is not taken for one."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictFloat

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


def _with_exponent(value: Any) -> Any:
    """Read ``2e-4``, which YAML 1.1 takes for a text since it has no point."""
    is_number = isinstance(value, str) and _EXPONENT.fullmatch(value)
    return float(value) if is_number else value


Number = Annotated[StrictFloat, BeforeValidator(_with_exponent), Field(allow_inf_nan=False)]
"""A finite number; ``true`` and texts are none. Whole numbers are pydantic's ``StrictInt``."""
