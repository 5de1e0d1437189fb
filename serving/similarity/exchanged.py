"""Who does what to whom: two questions alike but for two words that stand in each other's place.

"How can teachers motivate students?" and "How can students motivate teachers?" have the same words
and nearly one meaning for a sentence vector. The same is asked only where the two words stand side
by side ("cats and dogs") or the question is of what lies between them (their difference).
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from serving.similarity.wording import HIRAGANA

MAX_WORDS: Final = 3
"""Of an exchanged part."""
MAX_SIGNS: Final = 12
"""The same of Chinese and Japanese."""
_JOINERS: Final = frozenset(("and", "or", "nor", "vs", "versus", "と", "や", "か", "も"))
_JOINERS_HAN: Final = frozenset(("和", "与", "與", "跟", "及", "或", "还是", "還是"))
_EITHER_WAY: Final = re.compile(
    "differ|compar|similar|distin|違|異な|比べ|比較|似|区别|區別|差|不同|比较|相比|相似"
)
"""Of questions that ask the same whichever comes first."""
_HIRAGANA: Final = re.compile(f"[{HIRAGANA}]")


def are_exchanged(
    one: Sequence[str], other: Sequence[str], plain: str, matter: Collection[str] | None
) -> bool:
    """Tell whether two parts of a question stand in each other's place in the other one.

    Args:
        one: What a question says, in order: words, or the signs of Chinese and Japanese.
        other: The same of another question.
        plain: The letters of the first.
        matter: Words that carry matter, which alone are looked at; None: signs that are no
            particles.
    """
    if len(one) != len(other) or sorted(one) != sorted(other) or _EITHER_WAY.search(plain):
        return False
    start = _n_common(one, other)
    end = len(one) - _n_common(one[:start:-1], other[:start:-1])
    mine, theirs = one[start:end], other[start:end]
    for n_first in range(1, _longest(mine, matter) + 1):
        for n_last in range(1, _longest(mine[::-1], matter) + 1):
            middle = mine[n_first : len(mine) - n_last]
            if (*mine[len(mine) - n_last :], *middle, *mine[:n_first]) == tuple(theirs) and middle:
                return not _is_joined(middle, one[:start], one[end:])
    return False


def _n_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items both begin with."""
    pairs = enumerate(zip(one, other, strict=True))
    return next((place for place, (a, b) in pairs if a != b), len(one))


def _longest(part: Sequence[str], matter: Collection[str] | None) -> int:
    """Return how many items at the beginning of ``part`` may be exchanged."""
    limit = MAX_SIGNS if matter is None else MAX_WORDS
    found = 0
    for item in part[: min(limit, len(part) - 2)]:
        if _HIRAGANA.match(item) if matter is None else item not in matter:
            break
        found += 1
    return found


def _is_joined(middle: Sequence[str], before: Sequence[str], after: Sequence[str]) -> bool:
    """Tell whether only a joining word stands between the two, and what both begin or end with."""
    text = "".join(middle)
    return any(
        (text.endswith(joiner) and "".join(after).startswith(text.removesuffix(joiner)))
        or (text.startswith(joiner) and "".join(before).endswith(text.removeprefix(joiner)))
        for joiner in _JOINERS | _JOINERS_HAN
    )
