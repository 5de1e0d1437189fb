"""What a question says, by its wording alone: English, Japanese and Chinese without a model.

A text becomes weighted terms (what it is about) and marks (what it asks for, whether it negates,
which numbers and which side of an opposition it names). Words of form are left out; ways of saying
the same in any theme become one term. The words are in ``wording.yaml``. This sees no meaning: a
paraphrase in other words of the theme looks like another question.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from db.search import UNSEEN
from db.yaml_text import load_yaml, read_text
from serving.words import MARKS

Script = Literal["en", "ja", "zh"]
WORDS: Final = Path(__file__).with_name("wording.yaml")
MOST_CHARACTERS: Final = 2_000
"""Read of one text; questions are shorter."""
LONGEST_PHRASE: Final = 5
"""Words."""
FRAME_WEIGHT: Final = 0.6
SIDE_WEIGHT: Final = 0.8
SIGN_WEIGHT: Final = 0.5
PAIR_WEIGHT: Final = 0.3
"""Of a Chinese character and of a pair of neighbours; words of a theme mostly have two."""

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
_HIRAGANA = "\u3041-\u309f"
_CHARACTER = f"(?:[^\\W_][{MARKS}]*)"
"""A letter or digit with the marks that belong to it."""
_CJK: Final = re.compile(f"[{_HAN}{_KATAKANA}{_HIRAGANA}\uac00-\ud7af]")
_KANA: Final = re.compile(f"[{_HIRAGANA}{_KATAKANA}]")
_RUN: Final = re.compile(f"([{_HAN}]+)|([{_KATAKANA}]+)|([{_HIRAGANA}]+)|({_CHARACTER}+)")
_WORD: Final = re.compile(f"{_CHARACTER}+(?:['’-]{_CHARACTER}+)*")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*[年月日歳回割倍岁次天周%]?")
_COUNTED: Final = re.compile(
    "[一二三四五六七八九十百千万]+[つ個人年月日歳本回割倍点个种位岁次天周]"
)
_SPELT: Final = {
    word: str(n)
    for n, word in enumerate(
        ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2
    )
}
_ENDINGS: Final = ("ingly", "edly", "ings", "ing", "ies", "ied", "ed", "es", "ly", "s", "e", "y")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A question as it is compared."""

    plain: str
    """Letters and digits alone, width and case as one; equal where only signs differ."""
    terms: Mapping[str, float]
    """What it is about, each with its weight before rarity counts."""
    grams: Mapping[str, int]
    """Runs of three letters, or two characters of Japanese or Chinese, with their counts."""
    kinds: frozenset[str]
    """What is asked for: ``why``, ``how``, ``who`` …"""
    is_negated: bool
    numbers: frozenset[str]
    sides: frozenset[tuple[str, int]]
    """Which side of which opposition is named."""
    is_cjk: bool


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a phrase stands for."""

    role: str
    name: str = ""
    side: int = 0


@lru_cache(maxsize=50_000)
def wording(text: str) -> Wording:
    """Return ``text`` made ready; questions of a session come again and again."""
    folded = unicodedata.normalize("NFKC", UNSEEN.sub("", text[:MOST_CHARACTERS])).casefold()
    is_cjk = _CJK.search(folded) is not None
    marks: set[_Mark] = set()
    terms: dict[str, float] = {}
    n_negations = 0
    for term, weight, found in _cjk_terms(folded) if is_cjk else _latin_terms(folded):
        n_negations += any(mark.role == "negations" for mark in found)
        marks |= found
        for mark in found:
            if mark.role == "frames":
                terms[f"={mark.name}"] = FRAME_WEIGHT
            elif mark.role == "opposites":
                terms[f"±{mark.name}{mark.side}"] = SIDE_WEIGHT
        if term:
            terms[term] = max(terms.get(term, 0.0), weight)
    plain = "".join(_WORD.findall(folded))
    return Wording(
        plain=plain,
        terms=terms,
        grams=Counter(_grams(folded)),
        kinds=frozenset(mark.name for mark in marks if mark.role == "kinds"),
        is_negated=n_negations % 2 == 1,
        numbers=_numbers(folded),
        sides=frozenset((mark.name, mark.side) for mark in marks if mark.role == "opposites"),
        is_cjk=is_cjk,
    )


def _latin_terms(folded: str) -> Iterator[tuple[str, float, frozenset[_Mark]]]:
    """Yield stems that carry matter, and what the phrases between them stand for."""
    phrases = _phrases("en")
    words = [word.replace("’", "'") for word in _WORD.findall(folded)]
    stems = [stem(word) for word in words]
    place = 0
    while place < len(words):
        for length in range(min(LONGEST_PHRASE, len(words) - place), 0, -1):
            found = phrases.get(" ".join(stems[place : place + length]))
            if found is not None:
                yield "", 0.0, found
                place += length
                break
        else:
            yield stems[place], 1.0, frozenset()
            place += 1


def _cjk_terms(folded: str) -> Iterator[tuple[str, float, frozenset[_Mark]]]:
    """Yield words and pairs of characters that carry matter, and what phrases stand for."""
    script: Script = "ja" if _KANA.search(folded) else "zh"
    phrases = _phrases(script)
    end = 0
    for match in _finder(script).finditer(folded):
        yield from _run_terms(folded[end : match.start()])
        yield "", 0.0, phrases[match.group()]
        end = match.end()
    yield from _run_terms(folded[end:])


def _run_terms(part: str) -> Iterator[tuple[str, float, frozenset[_Mark]]]:
    none: frozenset[_Mark] = frozenset()
    for han, katakana, hiragana, word in _RUN.findall(part):
        if han:
            for sign in han:
                yield sign, SIGN_WEIGHT, none
            for pair in _pairs(han):
                yield pair, PAIR_WEIGHT, none
        elif katakana:
            yield katakana, 1.0, none
        elif word:
            yield stem(word), 1.0, none
        elif len(hiragana) > 2:
            for pair in _pairs(hiragana):
                yield pair, PAIR_WEIGHT, none


def stem(word: str) -> str:
    """Return an English word without its common endings: cuts, cutting and cut are one."""
    bare = word.removesuffix("'s")
    for ending in _ENDINGS:
        rest = bare.removesuffix(ending)
        if rest != bare and len(rest) >= 3:
            is_doubled = len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz"
            return rest[:-1] if is_doubled else rest
    return bare


def _numbers(folded: str) -> frozenset[str]:
    spelt = (_SPELT[word] for word in _WORD.findall(folded) if word in _SPELT)
    return frozenset([*_NUMBER.findall(folded), *_COUNTED.findall(folded), *spelt])


def _grams(folded: str) -> Iterator[str]:
    for run in _WORD.findall(folded):
        if _CJK.search(run):
            yield from _pairs(run)
        else:
            padded = f" {run} "
            yield from (padded[start : start + 3] for start in range(len(padded) - 2))


def _pairs(run: str) -> list[str]:
    return [run[start : start + 2] for start in range(len(run) - 1)]


@lru_cache(maxsize=3)
def _phrases(script: Script) -> dict[str, frozenset[_Mark]]:
    """Return every phrase of a language with what it stands for; nothing for a word of form."""
    found: dict[str, set[_Mark]] = {}

    def note(phrases: list[str], mark: _Mark | None) -> None:
        for phrase in phrases:
            key = " ".join(map(stem, phrase.split())) if script == "en" else phrase
            found.setdefault(key, set()).update([mark] if mark else [])

    words: dict[str, Any] = load_yaml(read_text(WORDS), where=WORDS.name)
    for name, by_script in words["kinds"].items():
        note(by_script[script], _Mark("kinds", name))
    for name, by_script in words["frames"].items():
        note(by_script[script], _Mark("frames", name))
    for name, sides in words["opposites"].items():
        for side, by_script in enumerate(sides):
            note(by_script[script], _Mark("opposites", name, side))
    note(words["negations"][script], _Mark("negations"))
    note(words["stops"][script], None)
    return {phrase: frozenset(marks) for phrase, marks in found.items()}


@lru_cache(maxsize=2)
def _finder(script: Script) -> re.Pattern[str]:
    longest_first = sorted(_phrases(script), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)))
