"""Loops: a model that says the same words, characters or lines again and again."""

import re
from collections import Counter
from collections.abc import Sequence

from serving.checks.sentences import normalise
from serving.words import EMOJI, MARKS, SIGN, UNSPACED

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


def repetition_problem(text: str, sentences: list[str], role: str) -> str | None:
    """Say what a text repeats; a song or a poem (role ``creator``) may repeat a line once more."""
    folded = text[:_LONGEST_LOOK].casefold()
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
    return _same_sentence(sentences, 4 if role == "creator" else 3)


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
