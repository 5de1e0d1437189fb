"""What a question says, by its wording alone: English, Japanese and Chinese without a model.

A text becomes weighted terms (what it is about) and marks (what it asks for, whether it negates,
which numbers, names and side of an opposition it has). Words of form and of politeness are left
out; ways of saying the same in any theme become one term. The words are in ``wording.yaml``.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from db.input_text import load_yaml, read_text
from db.search import UNSEEN
from serving.words import MARKS

HAN: Final = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KATAKANA: Final = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
HIRAGANA: Final = "\u3041-\u309f"


def folded(text: str) -> str:
    """Return a text with width and case as one, and without what nobody sees."""
    return unicodedata.normalize("NFKC", UNSEEN.sub("", text)).casefold()


_VALUES: Final = dict(zip("〇零一二三四五六七八九两兩", (0, *range(10), 2, 2), strict=True))
_POWERS: Final = dict(
    zip("十百千万萬億亿", (10, 100, 1_000, *[10_000] * 2, *[10**8] * 2), strict=True)
)
_SIGNS: Final = "".join((*_VALUES, *_POWERS))
_TIMES: Final = "年月日歳才岁天周週時时分秒"
_COUNTERS: Final = (
    f"{_TIMES}つ個人名本回割倍点章節节条巻卷部番匹枚冊册軒階个個种種位次层層届只张張里元块"
)
_DIGITS: Final = re.compile(rf"(\d+(?:[.,]\d+)*)(?:([{_TIMES}])|\s*(%))?")
_COUNTED: Final = re.compile(f"(第)?([{_SIGNS}]+)(?:([{_COUNTERS}])|(?<=第.))")
_SPELT: Final = {
    word: n
    for n, word in enumerate(
        (
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ),
        start=2,
    )
}
_LETTERS: Final = re.compile(r"[a-z]+")
_QUOTED: Final = re.compile("[「『《〈“]([^」』》〉”]+)[」』》〉”]")
_CAPITALISED: Final = re.compile(r"(?<=[\w,;:’')] )[A-Z][\w’'-]*")
_MAX_CAPITALISED: Final = 0.5
"""Share of capitalised words from which they are a way of writing, and name nothing."""
_STANDARDS: Final = (
    re.compile(r"\bthan (?:an? |the )?([\w'-]+)"),
    re.compile(f"([{HAN}]+|[{KATAKANA}]+)より"),
    re.compile(f"比([{HAN}])"),
)


def numbers(text: str) -> tuple[str, ...]:
    """Return the numbers of a text, sorted; units of time and % belong to them."""
    plain = folded(text)
    found = [
        digits.replace(",", "").rstrip(".") + (unit or percent)
        for digits, unit, percent in _DIGITS.findall(plain)
    ]
    for ordinal, signs, counter in _COUNTED.findall(plain):
        value, unit = _value(signs), counter if counter in _TIMES else ""
        if value != 1 or unit or ordinal:
            found.append(f"{value}{unit}")
    found += [str(_SPELT[word]) for word in _LETTERS.findall(plain) if word in _SPELT]
    return tuple(sorted(found))


def names(text: str) -> frozenset[str]:
    """Return what is quoted or capitalised within a sentence, in small letters."""
    plain = unicodedata.normalize("NFKC", text)
    capitalised = _CAPITALISED.findall(plain)
    if len(capitalised) > _MAX_CAPITALISED * len(plain.split()):
        capitalised = []
    return frozenset(one.casefold() for one in (*capitalised, *_QUOTED.findall(text)) if one != "I")


def standards(text: str) -> frozenset[str]:
    """Return what the text compares something with: the Moon in "larger than the Moon"."""
    plain = folded(text)
    return frozenset(one for pattern in _STANDARDS for one in pattern.findall(plain))


def _value(signs: str) -> int:
    """Return the value of Chinese numerals, in words (二十) or in places (二〇一〇)."""
    if not any(sign in _POWERS for sign in signs):
        return int("".join(str(_VALUES[sign]) for sign in signs))
    total = section = digit = 0
    for sign in signs:
        if sign in _VALUES:
            digit = _VALUES[sign]
        elif _POWERS[sign] >= 10_000:
            total = (total + section + digit or 1) * _POWERS[sign]
            section = digit = 0
        else:
            section += (digit or 1) * _POWERS[sign]
            digit = 0
    return total + section + digit


Script = Literal["en", "ja", "zh"]
WORDS: Final = Path(__file__).with_name("wording.yaml")
MAX_CHARACTERS: Final = 2_000
"""Read of one text; questions are shorter."""
LONGEST_PHRASE: Final = 5
"""Words."""
FRAME_WEIGHT: Final = 0.6
SIDE_WEIGHT: Final = 0.8
SIGN_WEIGHT: Final = 0.5
PAIR_WEIGHT: Final = 0.3
"""Of a Chinese character and of a pair of neighbours; words of a theme mostly have two."""

_CHARACTER = f"(?:[^\\W_][{MARKS}]*)"
"""A letter or digit with the marks that belong to it."""
_CJK: Final = re.compile(f"[{HAN}{KATAKANA}{HIRAGANA}\uac00-\ud7af]")
_KANA: Final = re.compile(f"[{HIRAGANA}{KATAKANA}]")
_RUN: Final = re.compile(f"([{HAN}]+)|([{KATAKANA}]+)|([{HIRAGANA}]+)|({_CHARACTER}+)")
_WORD: Final = re.compile(f"{_CHARACTER}+(?:['’-]{_CHARACTER}+)*")
_POLITE: Final = re.compile(
    r"^\W*(?:(?:can|could|would|will) you\b)?\W*(?:(?:please|kindly)\b)?|,? please\W*$"
    "|^(?:请问|請問|请|請|麻烦您|麻烦你)"
)
"""What makes a request no other one: it is short, so that a sentence vector would turn far."""
_ENDINGS: Final = ("ingly", "edly", "ings", "ing", "ies", "ied", "ed", "es", "ly", "s", "e", "y")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A question as it is compared."""

    plain: str
    """Letters and digits alone, width and case as one, without politeness at its ends; equal where
    only signs differ."""
    order: tuple[str, ...]
    """All that it says, in order: stems, or the signs of Chinese and Japanese."""
    terms: Mapping[str, float]
    """What it is about, each with its weight; runs of letters where it is all words of form."""
    words: tuple[tuple[str, str], ...]
    """Words that carry matter, each with its stem or the names of what it stands for, in order."""
    kinds: frozenset[str]
    """What is asked for: ``why``, ``how``, ``who`` …"""
    is_negated: bool
    numbers: tuple[str, ...]
    names: frozenset[str]
    standards: frozenset[str]
    """What something is compared with."""
    sides: frozenset[tuple[str, int]]
    """Which side of which opposition is named."""
    is_cjk: bool


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a phrase stands for."""

    role: str
    name: str = ""
    side: int = 0


_MATTER: Final = ("frames", "opposites")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a text: a word that carries matter with its terms, or the marks of a phrase."""

    word: str = ""
    stem: str = ""
    terms: tuple[tuple[str, float], ...] = ()
    marks: frozenset[_Mark] = frozenset()


@lru_cache(maxsize=50_000)
def wording(text: str) -> Wording:
    """Return ``text`` made ready; questions of a dialogue come again and again."""
    plain = folded(text[:MAX_CHARACTERS])
    is_cjk = _CJK.search(plain) is not None
    pieces = list(_cjk_pieces(plain) if is_cjk else _latin_pieces(plain))
    marks = {mark for piece in pieces for mark in piece.marks}
    n_negations = sum(any(mark.role == "negations" for mark in one.marks) for one in pieces)
    tokens = _WORD.findall(_POLITE.sub("", plain)) or _WORD.findall(plain)
    return Wording(
        plain="".join(tokens),
        order=tuple("".join(tokens)) if is_cjk else tuple(map(stem, tokens)),
        terms=_terms(pieces, marks) or dict.fromkeys(_grams(plain), 1.0),
        words=tuple((piece.word, piece.stem) for piece in pieces if piece.word),
        kinds=frozenset(mark.name for mark in marks if mark.role == "kinds"),
        is_negated=n_negations % 2 == 1,
        numbers=numbers(text[:MAX_CHARACTERS]),
        names=names(text[:MAX_CHARACTERS]),
        standards=standards(text[:MAX_CHARACTERS]),
        sides=frozenset((mark.name, mark.side) for mark in marks if mark.role == "opposites"),
        is_cjk=is_cjk,
    )


def _terms(pieces: Sequence[_Piece], marks: Collection[_Mark]) -> dict[str, float]:
    terms: dict[str, float] = {}
    for mark in marks:
        if mark.role == "frames":
            terms[f"={mark.name}"] = FRAME_WEIGHT
        elif mark.role == "opposites":
            terms[f"±{mark.name}{mark.side}"] = SIDE_WEIGHT
    for term, weight in (one for piece in pieces for one in piece.terms):
        terms[term] = max(terms.get(term, 0.0), weight)
    return terms


def _latin_pieces(plain: str) -> Iterator[_Piece]:
    phrases = _phrases("en")
    words = [word.replace("’", "'") for word in _WORD.findall(plain)]
    stems = [stem(word) for word in words]
    place = 0
    while place < len(words):
        for length in range(min(LONGEST_PHRASE, len(words) - place), 0, -1):
            found = phrases.get(" ".join(stems[place : place + length]))
            if found is not None:
                yield _phrase(" ".join(words[place : place + length]), found)
                place += length
                break
        else:
            yield _Piece(words[place], stems[place], ((stems[place], 1.0),))
            place += 1


def _cjk_pieces(plain: str) -> Iterator[_Piece]:
    script: Script = "ja" if _KANA.search(plain) else "zh"
    phrases = _phrases(script)
    end = 0
    for match in _finder(script).finditer(plain):
        yield from _run_pieces(plain[end : match.start()])
        yield _phrase(match.group(), phrases[match.group()])
        end = match.end()
    yield from _run_pieces(plain[end:])


def _phrase(text: str, marks: frozenset[_Mark]) -> _Piece:
    """Return a phrase; one that stands for something carries matter too, whatever its words."""
    stands_for = sorted(f"{one.name}{one.side}" for one in marks if one.role in _MATTER)
    return _Piece(text if stands_for else "", " ".join(stands_for), marks=marks)


def _run_pieces(part: str) -> Iterator[_Piece]:
    for han, katakana, hiragana, word in _RUN.findall(part):
        if han:
            signs = ((sign, SIGN_WEIGHT) for sign in han)
            yield _Piece(han, han, (*signs, *((pair, PAIR_WEIGHT) for pair in _pairs(han))))
        elif katakana:
            yield _Piece(katakana, katakana, ((katakana, 1.0),))
        elif word:
            yield _Piece(word, stem(word), ((stem(word), 1.0),))
        elif len(hiragana) > 2:
            yield _Piece(terms=tuple((pair, PAIR_WEIGHT) for pair in _pairs(hiragana)))


def stem(word: str) -> str:
    """Return an English word without its common endings: cuts, cutting and cut are one."""
    base = word.removesuffix("'s")
    for ending in _ENDINGS:
        rest = base.removesuffix(ending)
        if rest != base and len(rest) >= 3:
            is_doubled = len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz"
            return rest[:-1] if is_doubled else rest
    return base


def _grams(plain: str) -> Iterator[str]:
    for run in _WORD.findall(plain):
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
