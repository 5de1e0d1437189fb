"""Numbers in a text, as exact values: thousands, decimals, fractions, Japanese numerals."""

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from fractions import Fraction

_DIGITS = {digit: value for value, digit in enumerate("〇一二三四五六七八九")} | {"零": 0}
_TENS = {"十": 10, "百": 100, "千": 1_000}
_MYRIADS = {"万": 10**4, "億": 10**8, "亿": 10**8, "兆": 10**12}
_UNITS = "".join([*_TENS, *_MYRIADS])
_SIGN = r"(?:(?<![\w.)\]])[-−–]\s?)?"
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})[$¥€£￥]?\s?"
    rf"(?:(?P<mixed>(?:(?:{_PLAIN})[{_UNITS}]+)+(?:\d+)?)"
    rf"|(?P<value>{_PLAIN})(?:[eE](?P<e>[-+]?\d{{1,3}})|\s?[×x*]\s?10\^\{{?(?P<power>-?\d{{1,3}})\}}?)?"
    rf"(?:\s?/\s?(?P<under>{_PLAIN})(?![\d/]))?)"
)
_FRACTION = re.compile(r"(?P<sign>-?)\s*\\[dt]?frac\s*\{?(\d+)\}?\s*\{?(\d+)\}?")
_KANJI = re.compile(f"(?P<sign>マイナス|-)?(?P<value>[{''.join(_DIGITS)}{_UNITS}]+)")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d{1,2}|\d{4,})(?![\d.,])")
_MIXED = re.compile(r"(?<![\d/.,])(\d+)\s(\d+)/(\d+)(?![\d/])")
_MOST_DIGITS = 400


def numbers_in(text: str) -> list[Fraction]:
    """Return the numbers of ``text`` in their order; units and currencies are not looked at.

    Numbers written in Japanese numerals alone count only where there are no others: 一 and 三 stand
    in many words that are no numbers.

    Args:
        text: In compatible form (``serving.correctness.final_answer.compatible``).
    """
    text = _FRACTION.sub(r"\g<sign>\2/\3", text.replace("\\,", "").replace("\\!", ""))
    text = _DECIMAL_COMMA.sub(r"\1.\2", text)
    text = _MIXED.sub(_improper, text)
    found = list(_arabic(text))
    return found or list(_kanji(text))


def _improper(mixed: re.Match[str]) -> str:
    """Return 7/2 of ``3 1/2``; what is no mixed number stays."""
    whole, over, under = map(int, mixed.groups())
    return f"{whole * under + over}/{under}" if over < under <= 1_000 else mixed.group()


def _arabic(text: str) -> Iterator[Fraction]:
    for one in _NUMBER.finditer(text):
        if len(one.group()) > _MOST_DIGITS:
            continue
        value = _mixed(one["mixed"]) if one["mixed"] else _plain(one["value"])
        value *= Fraction(10) ** int(one["e"] or one["power"] or 0)
        if one["under"]:
            under = _plain(one["under"])
            if not under:
                continue
            value /= under
        yield -value if one["sign"].strip() else value


def _plain(text: str) -> Fraction:
    try:
        return Fraction(Decimal(text.replace(",", "")))
    except InvalidOperation:
        return Fraction(0)


def _mixed(text: str) -> Fraction:
    """Return 12000 of ``1万2千``: digits with Japanese units."""
    total = Fraction(0)
    part = Fraction(0)
    """What stands since the last of 万, 億 and 兆."""
    for digits, units in re.findall(rf"({_PLAIN})([{_UNITS}]*)", text):
        value = _plain(digits)
        for unit in units:
            if unit in _TENS:
                value *= _TENS[unit]
            else:
                total += (part + value) * _MYRIADS[unit]
                part, value = Fraction(0), Fraction(0)
        part += value
    return total + part


def _kanji(text: str) -> Iterator[Fraction]:
    for one in _KANJI.finditer(text):
        value = _kanji_value(one["value"])
        yield Fraction(-value if one["sign"] else value)


def _kanji_value(text: str) -> int:
    """Return 365 of 三百六十五, and of 三六五."""
    if not set(text) & set(_UNITS):
        return int("".join(str(_DIGITS[one]) for one in text))
    total = part = digit = 0
    for one in text:
        if one in _DIGITS:
            digit = digit * 10 + _DIGITS[one]
        elif one in _TENS:
            part += (digit or 1) * _TENS[one]
            digit = 0
        else:
            total += (part + digit or 1) * _MYRIADS[one]
            part = digit = 0
    return total + part + digit


def shown(value: Fraction) -> str:
    """Return a number as people write it, in a few characters."""
    if value.denominator == 1 and abs(value.numerator) < 10**15:
        return str(value.numerator)
    try:
        return f"{float(value):.10g}"
    except OverflowError:
        return "a very large number"
