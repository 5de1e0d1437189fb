"""What a word is, in any script; one place for all that splits, compares or counts texts.

Vowel signs and accents belong to the letter before them (``दीन`` and ``दिन`` are two words), which
Python's own patterns take apart. Some scripts put no spaces between words: there, letters
are counted, and so many of them stand for a word.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

from db.search import UNSEEN

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff々〆"
KANA = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff"
CJK = f"{HAN}{KANA}"
SOUTHEAST_ASIAN = (
    "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"
    "\u1000-\u102a\u103f\u1050-\u1055\u1780-\u17b3\u17d7"
)
"""Letters of Thai, Lao, Burmese and Khmer, without their marks."""
UNSPACED = f"{CJK}{SOUTHEAST_ASIAN}"
"""Letters of scripts that put no spaces between words."""
_LETTERS_OF_A_WORD = {CJK: 2, SOUTHEAST_ASIAN: 3}
_OPTIONAL = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670\u06d6-\u06ed]"
)
"""Hebrew points, Arabic vowel marks and the stretching sign: the same word stands without them."""


@cache
def _ranges(first_letter: str) -> str:
    """Return the characters of a Unicode category as ranges of a pattern's class."""
    codes = [c for c in range(0x300, 0x1E960) if unicodedata.category(chr(c))[0] == first_letter]
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in _runs(codes))


def _runs(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of numbers that follow each other."""
    first = last = -1
    for code in codes:
        if code != last + 1:
            if first >= 0:
                yield first, last
            first = code
        last = code
    if first >= 0:
        yield first, last


MARKS = _ranges("M")
"""Characters that belong to the letter before them: vowel signs, tones, accents."""
LETTER = f"(?:[^\\W\\d_{UNSPACED}][{MARKS}]*)"
"""Pattern of a letter with its marks, of scripts that put spaces between words."""
SIGN = f"(?:[{UNSPACED}][{MARKS}]*)"
"""Pattern of a letter with its marks, of the other scripts."""
EMOJI = (
    "(?:[\U0001f1e6-\U0001faff\u2600-\u27bf][\ufe0f\U0001f3fb-\U0001f3ff]*"
    "(?:\u200d[\U0001f300-\U0001faff\u2600-\u27bf][\ufe0f\U0001f3fb-\U0001f3ff]*)*)"
)
"""Pattern of an emoji, also one that is put together of several."""
_SIGN_OF = {letters: re.compile(f"[{letters}]") for letters in _LETTERS_OF_A_WORD}
_SIGNS = re.compile(f"{SIGN}+")
_WORDLESS = re.compile(f"(?:[^\\w{MARKS}]|_)+")
_DIGIT = re.compile(r"[^\x00-\x7f\D]")


def plain_form(text: str) -> str:
    """Return ``text`` in NFKC with ASCII digits and nothing unseen, in the case it has.

    Marks that writers may leave out are left out.
    """
    if text.isascii():
        return text
    plain = _OPTIONAL.sub("", unicodedata.normalize("NFKC", UNSEEN.sub("", text)))
    return _DIGIT.sub(lambda found: str(unicodedata.digit(found[0])), plain)


def only_words(text: str) -> str:
    """Return ``text`` as words are compared: in plain form and case-folded, between spaces."""
    return _WORDLESS.sub(" ", plain_form(text).casefold()).strip()


def count_words(text: str) -> int:
    """Return the number of words.

    Two letters of Japanese or Chinese count as one, and three of Thai, Lao, Burmese or Khmer.
    """
    if text.isascii() or _SIGNS.search(text) is None:
        return len(text.split())
    n_unspaced = sum(
        -(-len(_SIGN_OF[letters].findall(text)) // of_a_word)
        for letters, of_a_word in _LETTERS_OF_A_WORD.items()
    )
    others = _SIGNS.sub(" ", text).split()
    return n_unspaced + sum(any(map(str.isalnum, word)) for word in others)


def letters_of(text: str) -> list[str]:
    """Return the characters of ``text``, each with the marks that belong to it."""
    return _CLUSTER.findall(text)


_CLUSTER = re.compile(f"{EMOJI}|.[{MARKS}\u200d]*", re.DOTALL)
