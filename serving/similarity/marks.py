"""Marks that tell two texts apart however alike they are: numbers, names, what is compared with.

Numbers are values: 3, ３, 三つ, 第三章 and "three" are one. A single "one" counts only with a unit
of time, since 一个 and "one" mostly mean "a".
"""

import re
import unicodedata
from typing import Final

from serving.similarity.scripts import HAN, KATAKANA, folded

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
_WORD: Final = re.compile(r"[a-z]+")
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
    found += [str(_SPELT[word]) for word in _WORD.findall(plain) if word in _SPELT]
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
