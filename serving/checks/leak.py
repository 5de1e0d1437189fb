"""Whether a reasoning gives the answer away: by a name, a number, a phrase or a long run of words.

What the question and its context say is known and never a leak. A leak in another language than the
answer ("Mount Fuji" for 富士山) is not looked for here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from serving.checks.ignorance import ignorance
from serving.checks.text import WORD_LISTS, CheckContext, CheckedText
from serving.words import CJK, HAN, LETTER, MARKS, SOUTHEAST_ASIAN, count_words, plain_form

_CJK_CHAR = re.compile(f"[{CJK}]")
_SOUTHEAST_ASIAN = re.compile(f"[{SOUTHEAST_ASIAN}]")
_TOKEN = re.compile(
    r"[a-z]{1,2}(?:\+\+|#)(?![\w+#])"  # C++, F#
    r"|(?:(?<![^\s(\[=,:（、，])-)?\d+(?:\.\d+)?%?"  # -5 but not the second half of 3-5
    f"|[{CJK}]+|(?:[{SOUTHEAST_ASIAN}][{MARKS}]*)+|{LETTER}+"
)
_ASCII_TOKEN = re.compile(
    r"[a-z]{1,2}(?:\+\+|#)(?![\w+#])|(?:(?<![^\s(\[=,:])-)?\d+(?:\.\d+)?%?|[a-z]+", re.ASCII
)
"""The same for a text in ASCII, several times as fast."""
_PLAIN_WORD = re.compile("[a-z]+")
_NO_PLAIN_WORD = re.compile(r"[\d+#]")
"""Without these, all tokens of a text in ASCII are plain words."""
_DIGIT = re.compile(r"\d")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SPACED_THOUSANDS = re.compile(r"(?<![\d.,-])\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)")
_PERCENT = re.compile(r"(?<=\d) ?(?:%|percent\b|per cent\b|パーセント)")
_APOSTROPHE_S = re.compile(r"['’]s\b")
_LIST_NUMBER = re.compile(r"^[ \t]*\(?\d{1,3}[.)、．]", re.MULTILINE)
_NAME = re.compile(
    r"(?:(?<=[a-z,;:] )|(?<=[a-z,;:] [\"“'‘(]))"  # not at the start of a sentence
    r"[A-Z][\w’'-]*(?: (?:(?:of|the|de|la|von) )?[A-Z][\w’'-]*)*"
)
_FIRST_NAME = re.compile(
    r"(?:^|[.!?:][\"”'’)]*\s+)[\"“'‘(]?([A-Z][\w’'-]*(?: [A-Z][\w’'-]*)*)", re.MULTILINE
)
_CJK_NAME = re.compile(f"[{HAN}]{{2,}}|[ァ-ヺー]{{2,}}")
_CJK_RUN = re.compile(f"[{CJK}]{{2,}}")
_POLITE_END = re.compile("(?:です|だ|である|でしょう|になります|ですね)$")
_ARTICLE = re.compile(r"^(?:the|an?|it is|it's|they are|is) ")
_ALTERNATIVE = re.compile(r"[()（）;；|]|\s/\s|\sor\s|または|或")

MEASURES, METHODS, NO_ANSWER, NO_NAME, SMALL_ENGLISH = (
    frozenset(WORD_LISTS[name].split())
    for name in ("measures", "methods", "no_answer", "no_name", "small_english")
)
_MAX_REFERENCE_WORDS = 6
_MAX_ANSWER_WORDS = 4
_SHORT_ANSWER_WORDS = 30
_LONGEST_LOOK = 20_000
_LEAST_CHARACTERS = 5
"""Of an answer in Thai, Lao, Burmese or Khmer; a shorter one may be the part of any word."""
_GRAM_WORDS = 8
_GRAM_NEW_WORDS = 4
_GRAM_CJK = 12


@dataclass(frozen=True, slots=True)
class _Words:
    """A text as the leak check compares it."""

    plain: str
    """NFKC, as written."""
    tokens: tuple[str, ...]
    """Words, numbers and runs of Japanese or Chinese characters, in lower case."""
    joined: str
    """The tokens between single spaces, with one at each end."""
    known: frozenset[str]
    """The distinct tokens."""
    numbers: frozenset[str]
    """The distinct tokens that are numbers."""
    cjk: str
    """The Japanese and Chinese characters alone, runs divided by a space."""


@lru_cache(maxsize=256)
def _words(text: str) -> _Words:
    """Return ``text`` made ready; questions, references and reasonings come many times in a row."""
    plain = text[:_LONGEST_LOOK]
    plain = plain_form(plain)
    folded = plain.casefold()
    if "’" in folded or "'" in folded:
        folded = _APOSTROPHE_S.sub("", folded)
    if _DIGIT.search(folded):
        folded = _THOUSANDS.sub("", folded.replace("\u2212", "-"))
        folded = _SPACED_THOUSANDS.sub(lambda found: re.sub(r"\s", "", found[0]), folded)
        folded = _PERCENT.sub("%", folded)
    tokens = tuple(_tokens(folded))
    cjk = "" if plain.isascii() else " ".join(_CJK_RUN.findall(folded))
    known = frozenset(tokens)
    numbers = frozenset(filter(_is_number, known)) if _DIGIT.search(folded) else frozenset()
    return _Words(plain, tokens, f" {' '.join(tokens)} ", known, numbers, cjk)


def _tokens(folded: str) -> list[str]:
    if not folded.isascii():
        return _TOKEN.findall(folded)
    return (_ASCII_TOKEN if _NO_PLAIN_WORD.search(folded) else _PLAIN_WORD).findall(folded)


def leak_problem(one: CheckedText) -> str | None:
    """Say what a reasoning gives away of the reference answer or of the answer under it."""
    ctx = one.ctx
    if one.kind == "answer":
        return _answer_leak(one.reasoning, one.text, ctx)
    if ctx.reference_answer:
        leak = find_leak(one.text, ctx.reference_answer, ctx.question, ctx.context, exact=True)
        if leak:
            return f"reference answer: {leak}"
    return _answer_leak(one.text, ctx.answer, ctx)


def _answer_leak(reasoning: str | None, answer: str | None, ctx: CheckContext) -> str | None:
    if not reasoning or not answer:
        return None
    leak = find_leak(reasoning, answer, ctx.question, ctx.context, exact=False)
    return leak and f"answer: {leak}"


@lru_cache(maxsize=1024)
def find_leak(
    reasoning: str, target: str, question: str, context: str, *, exact: bool
) -> str | None:
    """Return what ``reasoning`` gives away of ``target`` and the question does not say.

    ``exact``: the target is a reference answer, so that even a phrase of some words is looked for
    as a whole. Otherwise only a bare answer of very few words is. A pair of reasoning and answer is
    looked at from both sides, hence the cache.
    """
    if ignorance(target[:400]):
        return None
    given = _words(question + "\n" + context)
    inside, wanted = _words(reasoning), _words(target)
    if count_words(target) <= (_MAX_REFERENCE_WORDS if exact else _MAX_ANSWER_WORDS):
        phrase = _short_answer_leak(inside, target, given)
        if phrase:
            return phrase
    return (
        _name_leak(inside, wanted, given)
        or _number_leak(inside, wanted, given)
        or _cjk_leak(inside, wanted, given)
        or _long_run(inside, wanted, given)
    )


def _short_answer_leak(inside: _Words, target: str, given: _Words) -> str | None:
    """Find a short answer such as 42, Paris or 富士山 as a whole."""
    for part in (target, *_ALTERNATIVE.split(target)):
        words = _words(part)
        phrase = _POLITE_END.sub("", _ARTICLE.sub("", words.joined.strip()))
        if not phrase or phrase in NO_ANSWER or set(phrase.split()) <= SMALL_ENGLISH:
            continue
        if _CJK_CHAR.search(phrase):
            is_inside = len(phrase) > 1 and phrase in inside.cjk and phrase not in given.cjk
            is_inside = is_inside or (phrase in inside.known and phrase not in given.cjk)
        elif _SOUTHEAST_ASIAN.search(phrase):  # a part of a longer run: no spaces divide its words
            is_long = len(phrase) >= _LEAST_CHARACTERS
            is_inside = is_long and phrase in inside.joined and phrase not in given.joined
        elif phrase in inside.known and _is_number(phrase):
            is_inside = phrase in _numbers(inside) and phrase not in given.known
        else:
            is_inside = f" {phrase} " in inside.joined and f" {phrase} " not in given.joined
        if is_inside:
            return phrase
    return None


def _name_leak(inside: _Words, wanted: _Words, given: _Words) -> str | None:
    """Find a capitalised name of the answer: one where it is short, else in front or two.

    Every word has a capital at the start of a sentence; there it is a name where the answer writes
    it so in the middle of one.
    """
    shared: list[str] = []
    for name in _names(inside.plain):
        own = [word for word in name.words if word not in given.known]
        if not own or len(own[0]) == 1 or not wanted.known.issuperset(own) or name.text in shared:
            continue
        if name.is_sure or _capitalised(wanted.plain).issuperset(name.text.split()):
            shared.append(name.text)
    return _telling(shared, wanted)


@dataclass(frozen=True, slots=True)
class _Name:
    """Words with capitals in a reasoning."""

    text: str
    words: tuple[str, ...]
    """Those that tell something, in lower case."""
    is_sure: bool
    """It stands in the middle of a sentence."""


@lru_cache(maxsize=256)
def _names(plain: str) -> tuple[_Name, ...]:
    """Return the names of a reasoning that may give something away, those that are sure first."""
    found = [(match.group(), match.end(), True) for match in _NAME.finditer(plain)]
    found += [
        (_APOSTROPHE_S.sub("", match[1]), match.end(), False)
        for match in _FIRST_NAME.finditer(plain)
    ]
    names = []
    for text, end, is_sure in found:
        after = plain[end:].split(maxsplit=1)
        if after and after[0].strip(".,;:").lower() in METHODS:
            continue
        tokens = _tokens(_APOSTROPHE_S.sub("", text.casefold()))
        words = [word for word in tokens if word not in NO_NAME and word not in SMALL_ENGLISH]
        if words:
            names.append(_Name(text, tuple(words), is_sure))
    return tuple(names)


@lru_cache(maxsize=256)
def _capitalised(plain: str) -> frozenset[str]:
    """Return the words of the names that stand in the middle of a sentence."""
    return frozenset(word for match in _NAME.finditer(plain) for word in match.group().split())


def _number_leak(inside: _Words, wanted: _Words, given: _Words) -> str | None:
    """Find a number of the answer; small ones ("three examples", list marks) say nothing."""
    if inside.numbers.isdisjoint(wanted.numbers - given.known):
        return None
    answer_numbers = _numbers(_words(_LIST_NUMBER.sub(" ", wanted.plain)))
    shared = [
        number
        for number in dict.fromkeys(_numbers(inside))
        if number in answer_numbers
        and number not in given.known
        and (len(number) >= 3 or len(wanted.tokens) <= 8)
    ]
    return _telling(shared, wanted)


def _telling(shared: list[str], wanted: _Words) -> str | None:
    """Return the shared names or numbers if they are enough to give the answer away."""
    if not shared:
        return None
    if len(wanted.tokens) > _SHORT_ANSWER_WORDS and len(shared) < 2:
        start = f" {' '.join(wanted.tokens[:_SHORT_ANSWER_WORDS])} "
        if _words(shared[0]).joined not in start:
            return None
    return ", ".join(shared[:5])


def _cjk_leak(inside: _Words, wanted: _Words, given: _Words) -> str | None:
    """Find Japanese or Chinese names and long runs of the answer."""
    if not inside.cjk or not wanted.cjk:
        return None
    n_cjk = len(inside.cjk)
    mostly_latin = n_cjk * 4 < len(inside.plain)
    if mostly_latin or len(wanted.cjk) <= _SHORT_ANSWER_WORDS:
        least = 2 if mostly_latin else 3
        for name in _CJK_NAME.findall(inside.cjk):
            if len(name) >= least and name in wanted.cjk and name not in given.cjk:
                return str(name)
    answer_grams = {wanted.cjk[i : i + _GRAM_CJK] for i in range(len(wanted.cjk) - _GRAM_CJK + 1)}
    for i in range(n_cjk - _GRAM_CJK + 1):
        gram = inside.cjk[i : i + _GRAM_CJK]
        if gram in answer_grams and gram[2:-2] not in given.cjk:
            return gram
    return None


def _long_run(inside: _Words, wanted: _Words, given: _Words) -> str | None:
    """Find eight words in a row that reasoning and answer share, four of them new and telling."""
    if len((inside.known & wanted.known) - given.known - SMALL_ENGLISH) < _GRAM_NEW_WORDS:
        return None
    answer_grams = set(_grams(wanted.tokens))
    for gram in _grams(inside.tokens):
        if gram in answer_grams:
            new = [word for word in gram if word not in given.known and word not in SMALL_ENGLISH]
            if len(set(new)) >= _GRAM_NEW_WORDS:
                return " ".join(gram)
    return None


def _grams(tokens: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return zip(*(islice(tokens, start, None) for start in range(_GRAM_WORDS)), strict=False)


def _is_number(token: str) -> bool:
    return token.lstrip("-")[0].isdigit()


def _numbers(words: _Words) -> list[str]:
    """Return the numbers that do not count sentences, steps or examples."""
    following = (*words.tokens[1:], "")
    return [
        token
        for token, after in zip(words.tokens, following, strict=True)
        if _is_number(token) and after not in MEASURES
    ]
