"""Whether an answer says what the reference says: texts, numbers, options, JSON values.

What counts as equal follows the field's harnesses: normalisation as in the evaluation scripts of
SQuAD and DROP (case, punctuation, articles), numbers as in GSM8K's (the marked result, else the
last number), options as in MMLU's ("The answer is (C)"). Widths and Japanese numerals are added.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from serving.correctness.final_answer import compatible, final_answer
from serving.correctness.numbers import numbers_in, shown


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether one answer is correct, and what of it was compared."""

    correct: bool | None
    """None where it cannot be told: the reference does not fit the check."""
    found: str
    """What was read from the answer, or why nothing could be told; at most 200 characters."""


MAX_FOUND = 200
NO_REFERENCE = "there is no reference answer"

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_DROPPED = "PSMC"
"""Unicode categories that normalising takes away: punctuation, signs, control characters. Marks of
Indic scripts (category M) are parts of letters; signs of numbers are handled before."""
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")


def normalised(text: str) -> str:
    """Return ``text`` without case, width, punctuation, articles and spaces that say nothing."""
    folded = compatible(text).casefold()
    # A sign or point between or before digits is part of a number: -5 and 0.5 are not 5 and 05.
    folded = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", folded)
    kept = re.sub(
        r"(?<![\w.])[-−](?=[\d.])", "\ue000", re.sub(r"(?<=\d)\.(?=\d)", "\ue001", folded)
    )
    kept = "".join(_kept(one) for one in kept)
    kept = _ARTICLES.sub(" ", kept)
    kept = kept.replace("\ue000", "-").replace("\ue001", ".")
    words = " ".join(kept.split())
    return re.sub(r"(?<=[^\x00-\x7f]) (?=[^\x00-\x7f])", _joined(words), words)


def _joined(words: str) -> str:
    return "" if _UNSPACED.search(words) else " "


def _kept(one: str) -> str:
    if one in "\ue000\ue001":
        return one
    category = unicodedata.category(one)
    return " " if category[0] in _DROPPED and category not in ("Mn", "Mc") else one


def grade_exact(answer: str, reference: str, argument: str) -> Grade:
    """Compare sign by sign, without outer white space; the marked result counts as well."""
    answer, reference = (unicodedata.normalize("NFC", one).strip() for one in (answer, reference))
    candidates = [answer, final_answer(answer) or answer]
    return Grade(reference in candidates, _cut(candidates[-1]))


def grade_match(answer: str, reference: str, argument: str) -> Grade:
    """Compare normalised texts: the answer, or the result that it marks.

    With the argument ``any`` each line of the reference is an answer of its own.
    """
    wanted = {normalised(one) for one in _alternatives(reference, argument)} - {""}
    if not wanted:
        return Grade(None, "the reference answer holds no word")
    marked = final_answer(compatible(answer))
    found = [answer, *([marked] if marked else [])]
    return Grade(any(normalised(one) in wanted for one in found), _cut(found[-1]))


def grade_contains(answer: str, reference: str, argument: str) -> Grade:
    """Look for the reference among the words of the answer; with ``any``, for one of its lines."""
    wanted = [one for line in _alternatives(reference, argument) if (one := normalised(line))]
    if not wanted:
        return Grade(None, "the reference answer holds no word")
    text = normalised(answer)
    hit = next((one for one in wanted if _holds(text, one)), None)
    return Grade(hit is not None, _cut(hit if hit is not None else answer))


def _holds(text: str, wanted: str) -> bool:
    """Tell whether whole words of ``text`` are ``wanted``; scripts without spaces have no words."""
    before = r"(?<![\w.])" if wanted[0].isascii() or not _UNSPACED.match(wanted[0]) else ""
    after = r"(?!\w|\.\d)" if wanted[-1].isascii() or not _UNSPACED.match(wanted[-1]) else ""
    if _UNSPACED.search(text):  # 東京ABC社: Latin letters begin a word after other letters
        before, after = (
            before.replace(r"[\w.]", r"[A-Za-z0-9.]"),
            after.replace(r"\w", "[A-Za-z0-9]"),
        )
    return re.search(before + re.escape(wanted) + after, text) is not None


def _alternatives(reference: str, argument: str) -> list[str]:
    return reference.splitlines() if argument == "any" else [reference]


def grade_number(answer: str, reference: str, argument: str) -> Grade:
    """Compare numbers: the marked result of each, else the last number of the text.

    ``argument`` is the difference that is allowed: ``0.01``, or ``1%`` of the reference.
    """
    wanted = result_number(reference)
    if wanted is None:
        return Grade(None, "the reference answer holds no number")
    found = result_number(answer)
    if found is None:
        return Grade(False, "no number")
    return Grade(abs(found - wanted) <= tolerance(argument, wanted), shown(found))


def result_number(text: str) -> Fraction | None:
    """Return the number that a text gives as its result; None where it holds none."""
    plain = compatible(text)
    marked = final_answer(plain)
    if marked is not None and (found := numbers_in(marked)):
        # "The answer is 18 = 9 * 2": the first one; of an equation in a box the last.
        return found[-1] if re.match(r"[^=]*[a-zA-Z]\s*=", marked) else found[0]
    found = numbers_in(plain)
    return found[-1] if found else None


def tolerance(argument: str, wanted: Fraction) -> Fraction:
    """Return the difference that ``argument`` allows.

    Raises:
        ValueError: It is no number and no percentage.
    """
    given = unicodedata.normalize("NFKC", argument).strip()
    allowed = Fraction(given.rstrip("%").strip() or "0")
    if allowed < 0:
        raise ValueError(argument)
    return allowed * abs(wanted) / 100 if given.endswith("%") else allowed


_OPTION = r"[A-Zア-コ]"
_ALONE = re.compile(
    rf"[\s(\[「*_]*({_OPTION})[\s)\]」*_]*(?:$|[.:、,)](?:\s|$)|[.:、,]?\s)", re.DOTALL
)
_IN_BRACKETS = re.compile(rf"[(\[]({_OPTION})[)\]]")
_BOLD = re.compile(rf"\*\*\(?({_OPTION})\)?[.:]?\*\*")
_STANDS_ALONE = re.compile(rf"(?<![\w'’]){_OPTION}(?![\w'’])")
_NAMED = re.compile(rf"(?:選択肢|記号)\s*[「『(]?({_OPTION})(?![A-Za-zァ-ヶー])")
_PRONOUNS = "AI"
"""Letters that are words as well; alone among words they name no option."""


def grade_option(answer: str, reference: str, argument: str) -> Grade:
    """Compare option letters, of the reference ``C``, ``(C)`` or ``C. …``."""
    wanted = _leading_option(compatible(reference))
    if wanted is None:
        return Grade(None, "the reference answer begins with no option letter, such as C")
    found = option_in(answer)
    return Grade(found == wanted, found or "no option letter")


def option_in(answer: str) -> str | None:
    """Return the letter of the option that an answer chooses; None where it chooses none."""
    text = compatible(answer).strip()
    marked = final_answer(text)
    for part in filter(None, (marked, text)):
        letter = _leading_option(part)
        # "A good idea …": an article, unless the letter is all, or something follows it.
        if letter and not (letter in _PRONOUNS and re.match(r"[AI]\s+[a-z]", part)):
            return letter
    for pattern in (_IN_BRACKETS, _BOLD, _NAMED):
        if found := pattern.findall(marked or text) or pattern.findall(text):
            return str(found[-1])
    alone = [one for one in _STANDS_ALONE.findall(text) if one not in _PRONOUNS]
    return alone[0] if len(set(alone)) == 1 else None


def _leading_option(text: str) -> str | None:
    letter = text.strip(" \t\n()[]「」*_.:")
    found = _ALONE.match(letter.upper() if len(letter) == 1 else text.strip())
    return found[1] if found else None


def grade_json(answer: str, reference: str, argument: str) -> Grade:
    """Compare a JSON value: all of it, or what stands at the path ``argument``, e.g. ``total.eur``.

    The order of keys says nothing, nor does 1 against 1.0. The reference is JSON; what is none
    counts as a text.
    """
    wanted = next(_json_values(reference), reference.strip())
    found = list(_json_values(answer))
    if not found:
        return Grade(False, "no JSON value")
    value: Any = found[-1]
    for step in filter(None, argument.split(".")):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return Grade(False, _cut(f"nothing at {argument}"))
    return Grade(_is_same(value, wanted), _cut(json.dumps(value, ensure_ascii=False)))


_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_DEEPEST = 60
_MOST_TRIES = 60
_BEGINS = re.compile(r"[{\[]")


def _json_values(text: str) -> Iterator[Any]:
    """Yield the JSON value that a text is or, where it is none, those that stand in it."""
    decoder = json.JSONDecoder()
    whole = [text.strip(), *(one.strip() for one in _FENCED.findall(text)[-1:])]
    for part in whole:
        try:
            yield decoder.decode(part)
            return
        except (ValueError, RecursionError):
            continue
    place = 0
    for _ in range(_MOST_TRIES):
        start = _BEGINS.search(text, place)
        if start is None:
            return
        try:
            value, place = decoder.raw_decode(text, start.start())
            yield value
        except (ValueError, RecursionError):
            place = start.end()


def _is_same(found: Any, wanted: Any, depth: int = 0) -> bool:
    if depth > _DEEPEST:
        return False
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return found == wanted
    if isinstance(found, str) and isinstance(wanted, str):
        left, right = (unicodedata.normalize("NFC", one).strip() for one in (found, wanted))
        return left == right
    same: Callable[[Any, Any], bool] = partial(_is_same, depth=depth + 1)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in found)
    return found is None and wanted is None


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_FOUND else f"{line[: MAX_FOUND - 1]}…"
