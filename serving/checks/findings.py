"""What a check finds, what it needs to know, and the one table of all checks."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["reasoning", "answer"]
Severity = Literal["note", "bad", "unusable"]
"""What a finding means for its text, the same wherever texts are chosen: ``note``: a thing to look
at; ``bad``: not to be learned, nor shown before others; ``unusable``: bad, and also no example of
what is worse, since it is not a text that a model chose to end like this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check noticed in one text; a text has at most one of each name."""

    name: str
    """A key of ``CHECKS``."""
    detail: str
    """What was found, e.g. the words or the count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What the checks may know about a text besides its words."""

    question: str
    context: str = ""
    reference_answer: str | None = None
    role: str = "assistant"
    language: str | None = None
    """ISO 639-1 code of the question; told from its text where None."""
    finish_reason: str | None = None
    """As the engine gave it; ``length`` means that the token limit cut the text, ``unknown`` that
    the engine did not say. None for a text that no engine gave."""
    prompt_problem: str | None = None
    """What is wrong with the prompt that the text answers; None where it was read as sent."""
    unparsed: str | None = None
    """Why the parser could not split the completion; None where it could."""
    answer: str | None = None
    """The answer written under a reasoning, where it is known already."""


@dataclass(frozen=True, slots=True)
class CheckInfo:
    """How a check is called and what it looks for."""

    label_en: str
    label_ja: str
    what: str
    applies_to: frozenset[Kind]
    severity: Severity = "note"


_BOTH: frozenset[Kind] = frozenset({"reasoning", "answer"})
_REASONING: frozenset[Kind] = frozenset({"reasoning"})
_ANSWER: frozenset[Kind] = frozenset({"answer"})

CHECKS: dict[str, CheckInfo] = {
    "empty": CheckInfo("empty", "空", "Holds no word at all.", _BOTH, "unusable"),
    "unparsed": CheckInfo(
        "unparsed",
        "解析できず",
        "The completion could not be split into reasoning and response.",
        _BOTH,
        "unusable",
    ),
    "cut_off": CheckInfo(
        "cut off",
        "途中で終了",
        "The token limit ended the text before it was done.",
        _BOTH,
        "unusable",
    ),
    "content_filter": CheckInfo(
        "content filter",
        "コンテンツフィルター",
        "A content filter of the server withheld the text, or the rest of it.",
        _BOTH,
        "unusable",
    ),
    "unusual_end": CheckInfo(
        "unusual end",
        "通常と異なる終了",
        "The server ended the text for another reason than its end or the token limit, or did not "
        "say why.",
        _BOTH,
        "bad",
    ),
    "prompt_cut": CheckInfo(
        "prompt cut",
        "プロンプト切り捨て",
        "The server read only a part of the prompt, so that the text answers something else.",
        _BOTH,
        "unusable",
    ),
    "length": CheckInfo(
        "too long",
        "長すぎる",
        "More than five sentences or 120 words (240 Japanese or Chinese characters).",
        _REASONING,
    ),
    "form": CheckInfo(
        "form",
        "形式",
        "A reasoning that is not made of “You should …” sentences; in any text, leftovers such as "
        "“the assistant”, “As an AI”, tags and chat markers.",
        _BOTH,
        "bad",
    ),
    "language": CheckInfo(
        "language",
        "言語",
        "A reasoning that is not in English; an answer that is not in the question's language.",
        _BOTH,
    ),
    "boilerplate": CheckInfo(
        "boilerplate",
        "決まり文句",
        "One of its sentences stands under five or more different questions.",
        _BOTH,
    ),
    "repetition": CheckInfo(
        "repetition", "繰り返し", "Words or lines go round in a loop.", _BOTH, "bad"
    ),
    "answer_leak": CheckInfo(
        "answer leak",
        "答えの漏れ",
        "The reasoning holds the answer or the reference answer: a name, a number or a long run of "
        "words that the question does not have.",
        _BOTH,
        "bad",
    ),
    "dont_know": CheckInfo(
        "don't know", "わからない", "The answer says that it does not know.", _ANSWER
    ),
}
"""Every check by its stable name, in the order in which pages show them."""

BAD_FINDINGS: Final = tuple(name for name, info in CHECKS.items() if info.severity != "note")
"""Findings that speak against a text: rules of datasets, queues, dialogues and pages use these."""
UNUSABLE_FINDINGS: Final = tuple(
    name for name, info in CHECKS.items() if info.severity == "unusable"
)
"""Of these, those that also keep a text from being the worse one of a pair, or one not OK."""
