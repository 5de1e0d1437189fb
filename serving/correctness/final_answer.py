r"""The part of an answer that is meant as its result.

Long answers end in a result that is marked in one of a few known ways: ``#### 18`` (GSM8K),
``\boxed{…}`` (MATH), "The answer is …" (the prompts of MMLU and MGSM), ``ANSWER: …`` (Inspect).
"""

import re
import unicodedata

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_HASHES = re.compile(r"^[ \t]*#{4}[ \t]*(\S.*)$", re.MULTILINE)
_MARK = r"[*_`]{0,3}"
_SAID = re.compile(
    r"(?:\b(?:the|my|our)\s+)?"
    r"(?:\b(?:final|correct|best|right)\s+)*"
    rf"\banswer{_MARK}(?:\s+(?:choice|option))?(?:\s+(?:is|was|should\s+be)\b|\s*[:=])\s*:?"
    r"|(?:最終的?な?)?(?:答え|解答|回答|正解)\s*(?:は|[:=])\s*[、,:]?"
    r"|(?:最终)?(?:答案|正确选项)\s*(?:是|为|[:=])\s*:?",
    re.IGNORECASE,
)
_END = re.compile(r"\n|(?<=[^\d\s])\.(?=\s|$)|(?<=\d)\.(?=\s|$)|[。！!]")
_COPULA = re.compile(r"(?:です|でした|である|になります|となります|(?<![ぁ-ん])だ)$")
"""Ends a Japanese sentence and is no part of its result; からだ is a word."""
_LONGEST = 20_000
"""Characters of an answer that are read, its last ones: results come last."""
_GROUPS = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
"""Spaces of SI between the thousands of a number; a plain space may stand between two numbers."""
_PARTS = re.compile(r"(\d+)分の(\d+)")
_MIXED = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")


def compatible(text: str) -> str:
    """Return ``text`` in Unicode's compatible form: full-width signs and digits as plain ones.

    Fractions are written with a slash: 2½ is 2 1/2, and ２分の１ is 1/2.
    """
    spaced = _MIXED.sub(" ", _GROUPS.sub("", text[-_LONGEST:]))
    plain = unicodedata.normalize("NFKC", spaced).replace("\u2044", "/")
    return _PARTS.sub(r"\2/\1", plain)


def final_answer(text: str) -> str | None:
    """Return what ``text`` marks as its result; None where it marks nothing.

    Args:
        text: In compatible form.
    """
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    hashes = _HASHES.findall(text)
    if hashes:
        return str(hashes[-1]).strip()
    ends = [said.end() for said in _SAID.finditer(text)]
    if not ends:
        return None
    rest = text[ends[-1] :].lstrip(" \t\n*_`「『\"'“")
    end = _END.search(rest)
    found = (rest[: end.start()] if end else rest).strip()
    return _COPULA.sub("", found).strip(" \t*_`」』\"'”") or None


def _last_boxed(text: str) -> str | None:
    """Return what stands in the last box, whose braces are balanced; None: there is none."""
    for found in reversed(list(_BOXED.finditer(text))):
        depth, start = 1, found.end()
        for place in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if not depth:
                return text[start:place].strip()
    return None
