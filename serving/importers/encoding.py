"""Bytes to text: BOM, UTF-8, UTF-16, and the older encodings of Japanese and Chinese files."""

import codecs

from charset_normalizer import from_bytes

from db.errors import UsageError
from serving.importers.content import Content

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OLDER = ["cp932", "gb18030", "big5", "euc_jp", "cp1252"]
_NUL_SHARE_OF_UTF16 = 0.05
_SAMPLE_BYTES = 1 << 20


def encoding_of(content: Content) -> str:
    """Return the encoding of a text, every byte of which was looked at.

    Raises:
        UsageError: No encoding fits; the sentence names the first byte that UTF-8 refuses.
    """
    with content.open() as file:
        start = file.read(_SAMPLE_BYTES)
    encoding = _marked(start) or _utf16_without_mark(start, content.n_bytes)
    if encoding:
        _check(content, encoding)
        return encoding
    try:
        _check(content, "utf-8")
    except UsageError:
        best = from_bytes(start, cp_isolation=_OLDER).best()
        if best is None:
            raise
        _check(content, best.encoding)
        return best.encoding
    return "utf-8"


def _check(content: Content, encoding: str) -> None:
    """Decode the whole text once.

    Raises:
        UsageError: A byte does not fit.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    n_before = n_pending = 0
    with content.open() as file:
        while True:
            chunk = file.read(_SAMPLE_BYTES)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                place = n_before - n_pending + error.start
                raise _undecodable(content.name, encoding, place, error) from error
            if not chunk:
                return
            n_before += len(chunk)
            n_pending = len(decoder.getstate()[0])


def _marked(data: bytes) -> str | None:
    return next((encoding for bom, encoding in _BOMS if data.startswith(bom)), None)


def _utf16_without_mark(sample: bytes, n_bytes: int) -> str | None:
    """Tell UTF-16 by its zero bytes, which stand on one side of every ASCII letter."""
    n_even, n_odd = sample[::2].count(0), sample[1::2].count(0)
    if n_bytes % 2 or n_even + n_odd < _NUL_SHARE_OF_UTF16 * len(sample) or n_even == n_odd:
        return None
    if min(n_even, n_odd) * 4 > max(n_even, n_odd):
        return None
    return "utf-16-le" if n_odd > n_even else "utf-16-be"


def _undecodable(name: str, encoding: str, place: int, error: UnicodeDecodeError) -> UsageError:
    shown = "UTF-8" if encoding == "utf-8" else encoding
    return UsageError(
        f"{name}: byte {place} (0x{error.object[error.start]:02x}) is not {shown} and no other "
        "known encoding fits; save the file as UTF-8 and import it again."
    )
