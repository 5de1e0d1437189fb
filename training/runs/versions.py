"""What a run is made with: packages, the code's own commit, the machine. Imports none of them."""

import os
import platform
import subprocess
from importlib import metadata
from typing import Any

from db.child_process import REPOSITORY

_PACKAGES = ("torch", "transformers", "trl", "peft", "unsloth", "unsloth_zoo", "bitsandbytes")


def code_version() -> dict[str, Any]:
    """Return package versions, the git commit (``-dirty`` where files changed) and the machine."""
    found: dict[str, Any] = {"python": platform.python_version(), "cpus": os.cpu_count()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "commit": _commit()}


def _commit() -> str | None:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
