"""Automatic checks of reasonings and answers: fast, offline, made for precision.

They know a text and its question, nothing of models. ``boilerplate`` is found across texts, with
the store: see ``serving.checks.store.note_sentences``.
"""

from serving.checks.registry import (
    BAD_FINDINGS,
    CHECKS,
    UNUSABLE_FINDINGS,
    check_answer,
    check_reasoning,
)
from serving.checks.text import CheckContext, Finding

__all__ = [
    "BAD_FINDINGS",
    "CHECKS",
    "UNUSABLE_FINDINGS",
    "CheckContext",
    "Finding",
    "check_answer",
    "check_reasoning",
]
