"""Control reasonings: what a reasoning is compared with to tell what it adds.

``shuffled`` has the same words in another order, ``truncated`` the first half, and ``foreign`` is
a reasoning of another question. Each is made once for a reasoning and kept.
"""

import random
import zlib
from collections.abc import Mapping, Sequence

from serving.checks.text import split_sentences
from serving.words import letters_of

FEWEST_WORDS = 4
"""A text with fewer words between spaces (as in Japanese) is handled by its characters."""


def shuffled(text: str) -> str:
    """Return the words of ``text`` in another order, the same for the same text."""
    parts, glue = _parts(text)
    order = list(parts)
    drawn = random.Random(zlib.crc32(text.encode()))
    for _ in range(10):
        drawn.shuffle(order)
        if order != parts:
            break
    return glue.join(order)


def truncated(text: str) -> str:
    """Return the first half: of the sentences; of the words where there is only one sentence."""
    sentences = split_sentences(text)
    if len(sentences) > 1:
        half = sentences[: len(sentences) // 2]
        return ("" if _is_spaceless(text) else " ").join(half)
    parts, glue = _parts(text)
    return glue.join(parts[: max(1, len(parts) // 2)])


def pair_foreign(
    wanting: Mapping[int, Sequence[int]], pool: Sequence[tuple[int, int, str]]
) -> dict[int, tuple[int, str]]:
    """Return id and text of a foreign reasoning for each; within a question they differ.

    They repeat only where there are fewer foreign ones than are wanted.

    Args:
        wanting: Question → reasonings that need a foreign one.
        pool: Question, id and text of reasonings to take them from.
    """
    found: dict[int, tuple[int, str]] = {}
    for question_id, variant_ids in wanting.items():
        others = [(one, text) for other, one, text in pool if other != question_id]
        if not others:
            continue
        drawn = random.Random(question_id)
        drawn.shuffle(others)
        for place, variant_id in enumerate(variant_ids):
            found[variant_id] = others[place % len(others)]
    return found


def _parts(text: str) -> tuple[list[str], str]:
    words = text.split()
    return (letters_of("".join(words)), "") if _is_spaceless(text) else (words, " ")


def _is_spaceless(text: str) -> bool:
    return len(text.split()) < FEWEST_WORDS
