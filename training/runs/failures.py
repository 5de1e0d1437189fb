"""Sentences for runs that failed: what happened, and which setting to change."""

import signal
from pathlib import Path

from db.errors import Q2QError, free_bytes
from training.runs.presets import RunSettings


class TrainingFailed(Q2QError):
    """A run failed; the sentence says why and what to do."""


def sentence(
    kind: str, message: str, settings: RunSettings, log: Path, *, on_gpu: bool = True
) -> str:
    """Return why a run failed, for people.

    Args:
        kind: ``memory``, ``disk`` or ``bug``, as the child told.
        message: Its own words.
        settings: Those of the run, to name the one to change.
        log: Where the whole story is.
        on_gpu: Whose memory was too small.
    """
    if kind == "memory":
        whose = "GPU memory" if on_gpu else "memory"
        return f"Training ran out of {whose}; {_smaller(settings)}. Then start it again."
    if kind == "disk":
        return (
            f"The disk of {log.parent} is full; free some space there or set save_every higher,"
            " then resume the run."
        )
    return f"Training failed: {message}. The full log is {log}."


def exit_sentence(code: int, settings: RunSettings, log: Path, *, on_gpu: bool) -> str:
    """Return why a child that told nothing ended."""
    if code == -signal.SIGKILL:
        return (
            "The training process was killed, most likely by the system for want of memory;"
            f" {_smaller(settings)}, or resume the run."
        )
    if free_bytes(log.parent) < 2**20:
        return sentence("disk", "", settings, log, on_gpu=on_gpu)
    return f"The training process ended with code {code}. The full log is {log}."


def _smaller(settings: RunSettings) -> str:
    """Return the one change that saves the most."""
    if settings.recomputation == "none":
        return "set recomputation: unsloth"
    if settings.batch > 1:
        return (
            f"set batch: {settings.batch // 2} (now {settings.batch}), and accumulation:"
            f" {settings.accumulation * 2} to learn alike"
        )
    if settings.max_length > 512:
        return f"set max_length: {settings.max_length // 2} (now {settings.max_length})"
    return "choose a smaller base, or a smaller r"
