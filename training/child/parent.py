"""The child's tie to its parent: a pipe on stdin that ends when the parent does."""

import os
import signal
import stat
import sys
import threading


def end_with_parent() -> None:
    """End this whole process group when the parent is gone, however it went."""
    if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        threading.Thread(target=_wait, name="parent", daemon=True).start()


def _wait() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)
