"""Which device this machine serves and trains on.

Standard library only: the set-up script uses it before anything is installed.
"""

import ctypes
import os
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda"]


def resolve_device(wanted: str | None = None) -> Device:
    """Return the device to use: ``wanted`` where it names one, else what the driver tells.

    Args:
        wanted: ``cpu``, ``cuda``, ``auto`` or nothing; nothing reads ``Q2Q_DEVICE``.

    Raises:
        ValueError: ``wanted`` is none of these.
    """
    wanted = wanted or os.environ.get("Q2Q_DEVICE") or "auto"
    match wanted:
        case "cpu" | "cuda":
            return wanted
        case "auto":
            return "cuda" if has_nvidia_driver() else "cpu"
        case _:
            raise ValueError(f"Q2Q_DEVICE is {wanted!r}; set it to cpu, cuda or auto.")


def has_nvidia_driver() -> bool:
    """Say whether an NVIDIA driver runs on this machine, in a container too."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    # Under WSL the driver shows only as a library.
    if not Path("/dev/dxg").exists():
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
