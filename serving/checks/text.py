"""A text that is checked, what is known of it, and its sentences: split, compared, hashed.

Words are those of ``serving.words``.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

from db.input_text import load_yaml, read_text
from serving.words import count_words, only_words

_TITLES = ("Mr. ", "Mrs. ", "Ms. ", "Dr. ", "Prof. ", "St. ", "Mt. ", "Fig. ", "No. ", "vs. ")
_TITLE = re.compile(r"\b(Mr|Mrs|Ms|Dr|Prof|St|Mt|Fig|No|vs)\.(?= )")
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•・])[ \t]+", re.MULTILINE)
_BOUNDARY = re.compile(
    r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\sa-z])"  # the next word is not in lower case
    r"|(?<=[.!?])\s+(?=you\b)"
    r"|(?<=[a-z]{4}[.!?])\s+"  # after a long word even where it is: "e.g. this" stays whole
    r"|(?<=[。！？])(?![」』）”])"
    r"|(?<=[।॥؟۔។။])\s*"  # Hindi, Arabic, Urdu, Khmer, Burmese
    r"|\n+"
)
_ASCII_BOUNDARY = re.compile(
    r"(?=[\s\"')\]])(?:"  # looked for first, since most characters are none of these
    r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[^\sa-z])"
    r"|(?<=[.!?])\s+(?=you\b)"
    r"|(?<=[a-z]{4}[.!?])\s+"
    r"|\n+)"
)
"""The same for a text in ASCII, in a quarter of the time."""
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_SHORTEST_WORDS = 4
_FILE = Path(__file__).with_name("words.yaml")
WORD_LISTS: Final[dict[str, Any]] = load_yaml(read_text(_FILE), where=_FILE.name)
"""The lists of words of all checks, each as one text."""
TextKind = Literal["reasoning", "answer"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check noticed in one text; a text has at most one of each name."""

    name: str
    """A key of ``CHECKS``."""
    detail: str
    """What was found, e.g. the words or the count."""


@dataclass(frozen=True, kw_only=True)
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

    @cached_property
    def given(self) -> str:
        """The question and its context as one text."""
        return f"{self.question}\n{self.context}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedText:
    """A text with all that its checks look at."""

    text: str
    kind: TextKind
    ctx: CheckContext
    reasoning: str | None = None
    """What an answer was written under."""

    @property
    def sentences(self) -> list[str]:
        """The sentences of the text."""
        return split_sentences(self.text)


def split_sentences(text: str) -> list[str]:
    """Return the sentences of ``text`` in order, without list marks and empty pieces."""
    return list(_sentences(text))


@lru_cache(maxsize=2048)
def _sentences(text: str) -> tuple[str, ...]:
    """Return the same; several checks ask for the same text one after the other."""
    plain = _TITLE.sub(r"\1", text) if any(map(text.__contains__, _TITLES)) else text
    if "\n" in plain or not plain[:1].isalpha():
        plain = _LIST_MARK.sub("", plain)
    boundary = _ASCII_BOUNDARY if plain.isascii() else _BOUNDARY
    return tuple(piece for part in boundary.split(plain) if (piece := part.strip()))


def normalise(text: str) -> str:
    """Return ``text`` case-folded, with everything but letters and digits as one space."""
    if text.isascii():
        return " ".join(text.translate(_ASCII).split())
    return only_words(text)


def hashed_sentences(text: str) -> dict[int, str]:
    """Return signed 64-bit hash → sentence of those that can be boilerplate, in order.

    Very short ones cannot, nor can advice to admit ignorance.

    The prompt formats ask for "say that you don't know", so that sentence is no boilerplate.
    """
    hashes: dict[int, str] = {}
    for sentence in split_sentences(text):
        plain = normalise(sentence)
        if _is_long_enough(plain) and not any(map(plain.__contains__, _ADMITS)):
            digest = blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            hashes.setdefault(int.from_bytes(digest, "big", signed=True), sentence)
    return hashes


_ADMITS = ("don t know", "do not know", "unsure", "not sure", "not certain")


def _is_long_enough(plain: str) -> bool:
    if plain.isascii():
        return plain.count(" ") + 1 >= _SHORTEST_WORDS
    return count_words(plain) >= _SHORTEST_WORDS
