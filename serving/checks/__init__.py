"""Automatic checks of reasonings and answers: fast, offline, made for precision.

They know a text and its question, nothing of models. ``boilerplate`` is found across texts, with
the store: see ``serving.checks.boilerplate.note_sentences``.
"""

from serving.checks.findings import (
    BAD_FINDINGS,
    CHECKS,
    UNUSABLE_FINDINGS,
    CheckContext,
    CheckInfo,
    Finding,
)
from serving.checks.run import check_answer, check_reasoning
from serving.checks.sentences import sentences_of

__all__ = [
    "BAD_FINDINGS",
    "CHECKS",
    "UNUSABLE_FINDINGS",
    "CheckContext",
    "CheckInfo",
    "Finding",
    "check_answer",
    "check_reasoning",
    "sentences_of",
]
