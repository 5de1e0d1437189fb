"""Commands on a disk of their own: a small one that fills up, or one that can only be read."""

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.fixtures import ROOT

_UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--mount", "-r")


def run_mounted(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose mounts end with it; ``q2q`` in it is the command line."""
    return subprocess.run(
        [
            *_UNSHARE,
            "sh",
            "-ec",
            f'q2q() {{ "{sys.executable}" -m workbench.cli.main "$@"; }}\n{script}',
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def small_disk(folder: Path, n_mib: int) -> str:
    """Return the line that puts an empty disk of ``n_mib`` on ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"mount -t tmpfs -o size={n_mib}m none '{folder}'\n"


def read_only_disk(folder: Path) -> str:
    """Return the line that lets nothing be written in ``folder`` any more."""
    return f"mount --bind '{folder}' '{folder}'\nmount -o remount,ro,bind '{folder}'\n"
