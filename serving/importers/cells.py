"""What single values of a file say, whatever kind of file they come from."""

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def is_blank(value: Any) -> bool:
    """Tell whether a cell holds nothing: no value, no number, or white space."""
    if isinstance(value, str):
        return not value or value.isspace()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, (list, dict, tuple)) and not value


def written(value: Any) -> str:
    """Return a cell as a person would write it: 42.0 as 42, dates as in ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime):
        is_day = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        return value.date().isoformat() if is_day else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
