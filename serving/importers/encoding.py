"""Bytes to text: marks and UTF-8 are certain; anything else is a guess for a person to confirm."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import chardet

from db.errors import UsageError
from serving.importers.source import ImportFile

CANDIDATES = {
    "cp932": "cp932",
    "euc_jp": "euc_jis_2004",
    "cp949": "cp949",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "cp1252": "cp1252",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "koi8-r": "koi8-r",
    "cp874": "cp874",
}
"""Encodings that are guessed, each with the name that the detector has for it or its superset."""
SEVEN_BIT = ("iso2022_jp", "iso2022_kr")
"""Encodings whose bytes are all ASCII, told by their escapes."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ESCAPE = re.compile(rb"\x1b(?:\$[@B)]|\([IJ])")
_BAD = re.compile("[\udc80-\udcff]")
_FOREIGN_WORD = re.compile(rb"[^\s,]*[\x80-\xff][^\s,]*")
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_KANA = re.compile("[\u3041-\u30ff]")
_NUL_SHARE_OF_UTF16 = 0.05
_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_MAX_SHOWN = 60
_CLOSE = 2.2
"""Windows-1252 is so much more common than Windows-1250 that a small lead of the latter is none."""


@dataclass(frozen=True, slots=True)
class EncodingCandidate:
    """An encoding that a file may be in, and how the file then reads."""

    encoding: str
    sample: str


class EncodingGuessed(UsageError):
    """A text is not UTF-8, and only a person can tell whether it reads well in another encoding."""

    def __init__(self, name: str, place: str, candidates: tuple[EncodingCandidate, ...]) -> None:
        best = candidates[0]
        others = ", ".join(one.encoding for one in candidates[1:])
        super().__init__(
            f"{name}: {place} is not UTF-8; save the file as UTF-8. It may be {best.encoding}, and "
            f"then reads: “{best.sample}”" + (f"; what fits too: {others}." if others else ".")
        )
        self.candidates = candidates
        """The most likely first; it fits, and the others fit at least the sample."""


@dataclass(slots=True)
class _Survey:
    """What UTF-8 makes of a text that is not all UTF-8."""

    n_good: int = 0
    """Characters beyond ASCII."""
    n_bad: int = 0
    """Bytes that are none."""
    n_bad_lines: int = 0
    first: tuple[int, int, int] = (0, 0, 0)
    """Line, offset and value of the first bad byte."""


def encoding_of(source: ImportFile, wanted: str | None = None) -> str:
    """Return the encoding of a text, every byte of which was looked at.

    Args:
        source: The text.
        wanted: The encoding that a person named. A text that is UTF-8 is read as such all the same.

    Raises:
        EncodingGuessed: It is neither marked nor UTF-8, and no encoding was named.
        UsageError: A few bytes are no UTF-8 though the others are; or the named encoding does not
            fit, or is none.
    """
    wanted = None if wanted is None else _known(wanted)
    with source.open() as file:
        start = file.read(_CHUNK_BYTES)
    certain = _marked(start) or _utf16_without_mark(start, source.total)
    if certain:
        _check(source, certain)
        return certain
    if _misfit(source, "utf-8") is None:
        return _seven_bit(source, start, wanted) or "utf-8"
    survey = _survey(source)
    if wanted == "utf-8" or survey.n_good >= survey.n_bad:
        raise _damaged(source.name, survey)
    if wanted is not None:
        _check(source, wanted)
        return wanted
    raise _guessed(source, survey)


def recoded(data: bytes, name: str, encoding: str | None) -> bytes:
    """Return the bytes of an uploaded text in UTF-8, where they are in a named encoding.

    Raises:
        UsageError: As of ``encoding_of``.
    """
    return data.decode(encoding_of(ImportFile(name, data, total=len(data)), encoding)).encode()


def _known(name: str) -> str:
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError) as error:
        raise _no_encoding(name) from error
    if not found._is_text_encoding:
        raise _no_encoding(name)
    return name.lower() if name.lower() in CANDIDATES else found.name


def _no_encoding(name: str) -> UsageError:
    names = ", ".join(["utf-8", *CANDIDATES, *SEVEN_BIT])
    return UsageError(
        "{name!r} is no encoding; name one such as {names}.", name=name[:40], names=names
    )


def _marked(data: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def _utf16_without_mark(sample: bytes, n_bytes: int) -> str | None:
    """Tell UTF-16 by its zero bytes, which stand on one side of every ASCII letter."""
    n_even, n_odd = sample[::2].count(0), sample[1::2].count(0)
    if n_bytes % 2 or n_even + n_odd < _NUL_SHARE_OF_UTF16 * len(sample) or n_even == n_odd:
        return None
    if min(n_even, n_odd) * 4 > max(n_even, n_odd):
        return None
    return "utf-16-le" if n_odd > n_even else "utf-16-be"


def _check(source: ImportFile, encoding: str) -> None:
    """Decode the whole text once.

    Raises:
        UsageError: A byte does not fit.
    """
    misfit = _misfit(source, encoding)
    if misfit is not None:
        offset, byte = misfit
        raise UsageError(
            "{source_name}: byte {offset} (0x{byte:02x}) is not {encoding}; name the right "
            "encoding, or save the file as UTF-8 and import it again.",
            source_name=source.name,
            offset=offset,
            byte=byte,
            encoding=encoding,
        )


def _misfit(source: ImportFile, encoding: str) -> tuple[int, int] | None:
    """Return offset and value of the first byte that does not fit; None where all do."""
    decoder = codecs.getincrementaldecoder(encoding)()
    n_before = n_pending = 0
    with source.open() as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                place = n_before - n_pending + error.start
                return place, error.object[error.start]
            if not chunk:
                return None
            n_before += len(chunk)
            n_pending = len(decoder.getstate()[0])


def _lines(source: ImportFile) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, offset and bytes of the lines that are not all ASCII."""
    offset = 0
    with source.open() as file:
        pieces = iter(lambda: file.readline(_CHUNK_BYTES), b"")
        for number, line in enumerate(pieces, start=1):
            if not line.isascii():
                yield number, offset, line
            offset += len(line)


def _survey(source: ImportFile) -> _Survey:
    found = _Survey()
    for number, offset, line in _lines(source):
        text = line.decode("utf-8", "surrogateescape")
        n_bad = len(_BAD.findall(text))
        found.n_good += len(_FOREIGN.findall(text)) - n_bad
        found.n_bad += n_bad
        if n_bad and not found.n_bad_lines:
            first = _BAD.search(text)
            assert first is not None
            place = len(text[: first.start()].encode())
            found.first = (number, offset + place, line[place])
        found.n_bad_lines += bool(n_bad)
    return found


def _place(survey: _Survey) -> str:
    line, offset, byte = survey.first
    return f"line {line}, byte {offset} (0x{byte:02x})"


def _damaged(name: str, survey: _Survey) -> UsageError:
    lines = "1 line" if survey.n_bad_lines == 1 else f"{survey.n_bad_lines} lines"
    return UsageError(
        "{name}: {place} is not UTF-8, while the rest of the file is ({lines} with such "
        "bytes); correct what was damaged or written in another encoding, and import it again.",
        name=name,
        place=_place(survey),
        lines=lines,
    )


def _seven_bit(source: ImportFile, start: bytes, wanted: str | None) -> str | None:
    """Return the encoding of an ASCII text with escapes; None where it has none.

    Raises:
        EncodingGuessed: It has, and no encoding was named.
    """
    if wanted in (*SEVEN_BIT, "hz", "utf-7"):
        _check(source, wanted)
        return wanted
    if wanted is not None or not start.isascii() or not (escape := _ESCAPE.search(start)):
        return None
    fitting = [one for one in SEVEN_BIT if _misfit(source, one) is None]
    if not fitting:
        return None
    lines = (line for line in start.splitlines() if _ESCAPE.search(line))
    sample = b"\n".join(islice(lines, 3))
    place = f"byte {escape.start()} (the escape 0x1b)"
    raise EncodingGuessed(
        source.name, place, tuple(EncodingCandidate(one, _shown(sample, one)) for one in fitting)
    )


def _guessed(source: ImportFile, survey: _Survey) -> UsageError:
    sample = _sample(source)
    fitting = [one for one in _ranked(sample) if _fits(sample, one)]
    while fitting and _misfit(source, fitting[0]) is not None:
        del fitting[0]
    if not fitting:
        return UsageError(
            "{source_name}: {place} is not UTF-8, and no other known encoding fits; "
            "save the file as UTF-8 and import it again.",
            source_name=source.name,
            place=_place(survey),
        )
    candidates = tuple(EncodingCandidate(one, _shown(sample, one)) for one in fitting)
    return EncodingGuessed(source.name, _place(survey), candidates)


def _fits(sample: bytes, encoding: str) -> bool:
    try:
        sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _sample(source: ImportFile) -> bytes:
    """Return the first lines that are not all ASCII."""
    sample = b""
    for _, _, line in _lines(source):
        sample += line
        if len(sample) >= _SAMPLE_BYTES:
            break
    return sample


def _ranked(sample: bytes) -> list[str]:
    """Return the encodings that a sample may be in, the most likely first."""
    words = b" ".join(_FOREIGN_WORD.findall(sample))
    detected = chardet.detect_all(
        words,
        ignore_threshold=True,
        compat_names=False,
        include_encodings=CANDIDATES.values(),
    )
    sure = {str(one["encoding"]): one["confidence"] for one in detected}
    scores = {ours: sure.get(theirs, 0.0) for ours, theirs in CANDIDATES.items()}
    if scores["cp1252"] * _CLOSE >= scores["cp1250"]:
        scores["cp1252"] = max(scores["cp1252"], scores["cp1250"])
    for one in ("cp932", "euc_jp"):
        scores[one] += _is_kana(words, one)  # which the detector does not know without kanji
    return sorted(CANDIDATES, key=lambda one: -scores[one])


def _is_kana(words: bytes, encoding: str) -> bool:
    text = [one for one in words.decode(encoding, "replace") if not one.isascii()]
    return sum(bool(_KANA.match(one)) for one in text) * 2 > len(text)


def _shown(sample: bytes, encoding: str) -> str:
    """Return how the beginning of a sample reads: three lines, each from near its first letter."""
    lines = sample.decode(encoding, "replace").splitlines()
    return " / ".join(_near_letters(line) for line in lines[:3])


def _near_letters(line: str) -> str:
    first = next((i for i, one in enumerate(line) if not one.isascii()), 0)
    start = max(0, first - 20)
    shown = line[start : start + _MAX_SHOWN].strip()
    return ("…" if start else "") + shown + ("…" if len(line) > start + _MAX_SHOWN else "")
