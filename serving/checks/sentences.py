"""Sentences of a text: splitting, comparing, hashing. Words are those of ``serving.words``."""

import re
from functools import lru_cache
from hashlib import blake2b

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
    r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[^\sa-z])"
    r"|(?<=[.!?])\s+(?=you\b)"
    r"|(?<=[a-z]{4}[.!?])\s+"
    r"|\n+"
)
"""The same for a text in ASCII, in half the time."""
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_SHORTEST_WORDS = 4


def split_sentences(text: str) -> list[str]:
    """Return the sentences of ``text`` in order, without list marks and empty pieces."""
    return list(_sentences(text))


@lru_cache(maxsize=64)
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


def sentences_of(text: str) -> list[int]:
    """Return the signed 64-bit hashes of the distinct sentences that can be boilerplate."""
    return list(hashed_sentences(text))


def hashed_sentences(text: str) -> dict[int, str]:
    """Return hash → sentence, in order; without very short ones and advice to admit ignorance.

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
