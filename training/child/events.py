"""What the child tells its parent, and why training failed."""

import errno
from typing import Any

from db.child_process import send

_DISK = ("no space left", "pytorchstreamwriter failed", "unexpected pos")
"""The last two are what ``torch.save`` says of a full disk."""
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class Events:
    """Tells the parent what happens; the last event says how it ended."""

    def __init__(self, *, speaks: bool = True) -> None:
        self._speaks = speaks
        """False in all but the first of several processes: they tell only of failures."""

    def write(self, event: str, **values: Any) -> None:
        """Tell of one event."""
        if event == "failed":  # whichever process fails first knows why
            send(error=values["message"], kind=values["kind"])
        elif not self._speaks:
            return
        elif event in ("done", "stopped"):
            send(result={"event": event, **values})
        else:
            send(event=event, **values)


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
