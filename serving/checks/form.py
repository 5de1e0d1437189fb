"""Whether a reasoning is made of "You should …" sentences, and what a text should not hold."""

import re

from serving.checks.findings import CheckContext
from serving.words import count_words

MAX_SENTENCES = 5
MAX_WORDS = 120

_YOU_SHOULD = re.compile(r"\byou should\b", re.IGNORECASE)
_TAG = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|</?(?:s|think|reasoning|response|answer|system)>|\[/?INST\]|<<?/?SYS>?>"
    r"|^#{2,}\s*(?:Instruction|Input|Context|Reasoning|Response)\b:?",
    re.IGNORECASE | re.MULTILINE,
)
_SPEAKER = re.compile(
    r"^\s*\**(?:User|Human|Assistant|System|AI|Bot|ChatGPT)\**\s*[:：]", re.MULTILINE
)
_HEADING = re.compile(r"^\s*\**(?:Reasoning|Response|Instruction)\**\s*[:：]", re.IGNORECASE)
_AI_WORDS = ("AI", "ai ", "ntelligence", "anguage model", "人工", "言語モデル", "语言模型")
_AS_AN_AI = re.compile(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|(?:AI|人工知能|言語モデル)(?:アシスタント|言語モデル)?として(?:、|私|お答え)"
    r"|作为(?:一个|一名)?(?:AI|人工智能|语言模型)",
    re.IGNORECASE,
)
_THE_ASSISTANT = re.compile(
    r"\bthe (AI )?assistant(?:'s|’s)?\b"
    r"(?!\s+(?:manager|professor|coach|director|editor|teacher))",
    re.IGNORECASE,
)
_AN_ASSISTANT = re.compile(r"\bassistants?\b|アシスタント|助手|助理", re.IGNORECASE)
_AN_AI_ASSISTANT = re.compile(r"\bAI\b.{0,20}(?:assistant|アシスタント|助手|助理)", re.IGNORECASE)


def length_problem(text: str, sentences: list[str]) -> str | None:
    """Say by how much a reasoning is too long."""
    if len(sentences) > MAX_SENTENCES:
        return f"{len(sentences)} sentences; at most {MAX_SENTENCES}"
    n_words = count_words(text)
    return f"{n_words} words; at most {MAX_WORDS}" if n_words > MAX_WORDS else None


def reasoning_form_problem(text: str, sentences: list[str], ctx: CheckContext) -> str | None:
    """Say how a reasoning departs from sentences of the form "You should …"."""
    leftover = leftover_problem(text, ctx)
    if leftover:
        return leftover
    assistant = _THE_ASSISTANT.search(text) if "ssistant" in text else None
    if assistant:
        topic = _AN_AI_ASSISTANT if assistant[1] else _AN_ASSISTANT
        if not topic.search(ctx.question + "\n" + ctx.context):
            return f"leftover: {assistant.group()}"
    if not _YOU_SHOULD.search(sentences[0]):
        return "does not begin with “You should …”"
    n_matching = sum(1 for sentence in sentences if _YOU_SHOULD.search(sentence))
    if n_matching * 2 < len(sentences):
        return f"only {n_matching} of {len(sentences)} sentences have the form “You should …”"
    return None


def leftover_problem(text: str, ctx: CheckContext) -> str | None:
    """Say which tag, chat marker or stock phrase was left in a text and is not in its question."""
    patterns = []
    if "<" in text or "[" in text or "##" in text:
        patterns.append(_TAG)
    if ":" in text or "：" in text:
        patterns += [_SPEAKER, _HEADING]
    if any(map(text.__contains__, _AI_WORDS)):
        patterns.append(_AS_AN_AI)
    given = ctx.question + "\n" + ctx.context
    for pattern in patterns:  # the tests above spare most texts the search
        found = pattern.search(text)
        if found and not pattern.search(given):
            return f"leftover: {found.group().strip()}"
    return None
