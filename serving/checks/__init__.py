"""Automatic checks of reasonings and answers: fast, offline, made for precision.

This is their registry, one entry each, and all checks of one text at once. They know a text and its
question, nothing of models. ``boilerplate`` is found across texts, with the store: see
``serving.checks.store.note_sentences``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from serving.checks.form import form_problem, length_problem, repetition_problem
from serving.checks.ignorance import ignorance
from serving.checks.language import language_problem
from serving.checks.leak import leak_problem
from serving.checks.text import CheckContext, CheckedText, Finding, TextKind

__all__ = [
    "BAD_FINDINGS",
    "CHECKS",
    "UNUSABLE_FINDINGS",
    "CheckContext",
    "Finding",
    "check_answer",
    "check_reasoning",
]

Severity = Literal["note", "bad", "unusable"]
"""What a finding means for its text, the same wherever texts are chosen: ``note``: a thing to look
at; ``bad``: not to be learned, nor shown before others; ``unusable``: bad, and also no example of
what is worse, since it is not a text that a model chose to end like this."""


@dataclass(frozen=True, slots=True)
class CheckEntry:
    """What looks for one thing; pages have its label and help under its name."""

    severity: Severity
    find: Callable[[CheckedText], str | None] = lambda _: None
    """Returns what was found; nothing where it is found across texts."""
    applies_to: frozenset[TextKind] = frozenset({"reasoning", "answer"})
    reads_words: bool = True
    """It has nothing to say of a text without a word."""


def _empty(one: CheckedText) -> str | None:
    return None if _has_words(one.text) else "no word"


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def _cut_off(one: CheckedText) -> str | None:
    return "stopped at the token limit" if one.ctx.finish_reason == "length" else None


def _filtered(one: CheckedText) -> str | None:
    is_filtered = one.ctx.finish_reason == "content_filter"
    return "ended by a content filter of the server" if is_filtered else None


def _unusual_end(one: CheckedText) -> str | None:
    finish_reason = one.ctx.finish_reason
    if finish_reason in (None, "stop", "length", "content_filter"):
        return None
    if finish_reason == "unknown":
        return "the server did not say why the text ended"
    return f"the server ended it: {finish_reason}"[:120]


CHECKS: dict[str, CheckEntry] = {
    "empty": CheckEntry("unusable", _empty, reads_words=False),
    "unparsed": CheckEntry("unusable", lambda one: one.ctx.unparsed, reads_words=False),
    "cut_off": CheckEntry("unusable", _cut_off, reads_words=False),
    "content_filter": CheckEntry("unusable", _filtered, reads_words=False),
    "unusual_end": CheckEntry("bad", _unusual_end, reads_words=False),
    "prompt_cut": CheckEntry("unusable", lambda one: one.ctx.prompt_problem, reads_words=False),
    "length": CheckEntry("note", length_problem, frozenset({"reasoning"})),
    "form": CheckEntry("bad", form_problem),
    "language": CheckEntry("note", language_problem),
    "boilerplate": CheckEntry("note"),  # see serving.checks.store
    "repetition": CheckEntry("bad", repetition_problem),
    "answer_leak": CheckEntry("bad", leak_problem),
    "dont_know": CheckEntry("note", lambda one: ignorance(one.text), frozenset({"answer"})),
}
"""Every check by its stable name, in the order in which pages show them."""

BAD_FINDINGS: Final = tuple(name for name, check in CHECKS.items() if check.severity != "note")
"""Findings that speak against a text: rules of datasets, queues, dialogues and pages use these."""
UNUSABLE_FINDINGS: Final = tuple(
    name for name, check in CHECKS.items() if check.severity == "unusable"
)
"""Of these, those that also keep a text from being the worse one of a pair, or one not OK."""


def check_reasoning(text: str, ctx: CheckContext) -> list[Finding]:
    """Return what there is to say against ``text`` as a reasoning, in the order of ``CHECKS``.

    A leak is looked for in ``ctx.reference_answer`` and, where it is known, in ``ctx.answer``.
    """
    return _findings(CheckedText(text=text, kind="reasoning", ctx=ctx))


def check_answer(text: str, ctx: CheckContext, reasoning: str | None = None) -> list[Finding]:
    """Return what there is to say against ``text`` as an answer, in the order of ``CHECKS``.

    ``answer_leak`` here says that its ``reasoning`` held this answer already.
    """
    return _findings(CheckedText(text=text, kind="answer", ctx=ctx, reasoning=reasoning))


def _findings(one: CheckedText) -> list[Finding]:
    has_words = _has_words(one.text)
    return [
        Finding(name, detail)
        for name, check in CHECKS.items()
        if one.kind in check.applies_to
        and (has_words or not check.reads_words)
        and (detail := check.find(one)) is not None
    ]
