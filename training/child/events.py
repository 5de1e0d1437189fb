"""What the child tells its parent: JSON lines in a file, which outlive both."""

import errno
from pathlib import Path
from typing import Any

from db.new_files import json_line

_DISK = ("no space left", "pytorchstreamwriter failed", "unexpected pos")
"""The last two are what ``torch.save`` says of a full disk."""
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class Events:
    """Appends events; each is whole on disk once ``write`` returns."""

    def __init__(self, path: Path, *, speaks: bool = True) -> None:
        self._path = path
        self._speaks = speaks
        """False in all but the first of several processes: they tell only of failures."""

    def write(self, event: str, **values: Any) -> None:
        """Append one event."""
        if self._speaks or event == "failed":  # whichever process fails first knows why
            self._append(event, values)

    def _append(self, event: str, values: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json_line({'event': event, **values})}\n")


def failure_of(error: BaseException) -> dict[str, str]:
    """Return why training failed: ``kind`` is memory, disk or bug."""
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0][:300]
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _MEMORY):
        return {"kind": "memory", "message": first}
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or any(sign in text.lower() for sign in _DISK):
        return {"kind": "disk", "message": first}
    return {"kind": "bug", "message": f"{type(error).__name__}: {first}"}
