"""Whether a reasoning is made of "You should …" sentences, and what no text should hold."""

import re
from collections import Counter
from collections.abc import Sequence

from serving.checks.text import CheckedText, normalise
from serving.words import EMOJI, MARKS, SIGN, UNSPACED, count_words

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


def length_problem(one: CheckedText) -> str | None:
    """Say by how much a reasoning is too long."""
    n_sentences = len(one.sentences)
    if n_sentences > MAX_SENTENCES:
        return f"{n_sentences} sentences; at most {MAX_SENTENCES}"
    n_words = count_words(one.text)
    return f"{n_words} words; at most {MAX_WORDS}" if n_words > MAX_WORDS else None


def form_problem(one: CheckedText) -> str | None:
    """Say which leftovers a text holds, or how a reasoning departs from "You should …"."""
    leftover = _leftover(one.text, one.ctx.given)
    if leftover or one.kind == "answer":
        return leftover
    text, sentences = one.text, one.sentences
    assistant = _THE_ASSISTANT.search(text) if "ssistant" in text else None
    if assistant:
        topic = _AN_AI_ASSISTANT if assistant[1] else _AN_ASSISTANT
        if not topic.search(one.ctx.given):
            return f"leftover: {assistant.group()}"
    if not _YOU_SHOULD.search(sentences[0]):
        return "does not begin with “You should …”"
    n_matching = sum(1 for sentence in sentences if _YOU_SHOULD.search(sentence))
    if n_matching * 2 < len(sentences):
        return f"only {n_matching} of {len(sentences)} sentences have the form “You should …”"
    return None


def _leftover(text: str, given: str) -> str | None:
    """Say which tag, chat marker or stock phrase was left in a text and is not in its question."""
    patterns = []
    if "<" in text or "[" in text or "##" in text:
        patterns.append(_TAG)
    if ":" in text or "：" in text:
        patterns += [_SPEAKER, _HEADING]
    if any(map(text.__contains__, _AI_WORDS)):
        patterns.append(_AS_AN_AI)
    for pattern in patterns:  # the tests above spare most texts the search
        found = pattern.search(text)
        if found and not pattern.search(given):
            return f"leftover: {found.group().strip()}"
    return None


_Gram = tuple[str, str, str, str]
_UNIT = re.compile(f"{SIGN}|{EMOJI}|(?:[^\\W_{UNSPACED}][{MARKS}]*)+")
_ASCII_UNIT = re.compile("[a-z0-9]+")
_ONE_LETTER = re.compile(f"([^\\W\\d_]|[{MARKS}])\\1{{15,}}")
_SIGN = re.compile(f"{SIGN}|{EMOJI}")
_LONGEST_PERIOD = 60
_LONGEST_LOOK = 20_000
_LEAST_SHARE = 0.3
"""A sentence that comes back is a loop only where it fills that much of the text."""
_LEAST_SIGNS = 15


def repetition_problem(one: CheckedText) -> str | None:
    """Say what a text repeats; a song or a poem (role ``creator``) may repeat a line once more."""
    folded = one.text[:_LONGEST_LOOK].casefold()
    units = (_ASCII_UNIT if folded.isascii() else _UNIT).findall(folded)
    letter = _ONE_LETTER.search(max(units, key=len, default=""))
    if letter:
        return f"“{letter.group(1)}” {len(letter.group())} times in a row"
    grams: list[_Gram] = list(zip(units, units[1:], units[2:], units[3:], strict=False))
    counts = Counter(grams)
    if not counts or max(counts.values()) < 3:  # most texts end here
        return None
    for period in _periods(grams, counts):
        found = _row_of_units(units, period)
        if found:
            return found
    return _same_sentence(one.sentences, 4 if one.ctx.role == "creator" else 3)


def _periods(grams: Sequence[_Gram], counts: Counter[_Gram]) -> list[int]:
    """Return the distances at which runs of four units come back, shortest first."""
    last_seen: dict[_Gram, int] = {}
    periods = set()
    for position, gram in enumerate(grams):
        if counts[gram] >= 3:
            periods.add(position - last_seen.get(gram, -_LONGEST_PERIOD))
            last_seen[gram] = position
    return sorted(period for period in periods if period < _LONGEST_PERIOD)


def _row_of_units(units: Sequence[str], period: int) -> str | None:
    """Say which run of ``period`` units follows upon itself too often."""
    n_same = 0
    for end, (ahead, here) in enumerate(zip(units[period:], units, strict=False), start=1):
        n_same = n_same + 1 if ahead == here else 0
        if n_same and n_same % period == 0:
            piece = units[end - period : end]
            n_times = n_same // period + 1
            if n_times >= _times_allowed(piece) + 1:
                is_unspaced = _SIGN.match(piece[0]) is not None
                return f"“{('' if is_unspaced else ' ').join(piece)[:60]}” {n_times} times in a row"
    return None


def _times_allowed(piece: Sequence[str]) -> int:
    """Return how often people say ``piece`` in a row: "very, very, very" is no loop."""
    if all(unit.isdigit() for unit in piece):
        return 30
    if all(_SIGN.match(unit) for unit in piece):
        return max(2, (_LEAST_SIGNS - 1) // len(piece))
    return {1: 5, 2: 3, 3: 3}.get(len(piece), 2)


def _same_sentence(sentences: list[str], limit: int) -> str | None:
    """Say which sentence stands in the text ``limit`` times or more and fills much of it."""
    plain = [normalise(sentence) for sentence in sentences]
    sentence, n_times = Counter(plain).most_common(1)[0]
    n_filled = n_times * len(sentence)
    if n_times >= limit and n_filled >= _LEAST_SHARE * sum(map(len, plain)):
        return f"“{sentence[:60]}” {n_times} times"
    return None
