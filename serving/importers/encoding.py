"""Bytes to text: BOM, UTF-8, UTF-16, and the older encodings of Japanese and Chinese files."""

import codecs

from charset_normalizer import from_bytes

from db.errors import UsageError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OLDER = ["cp932", "gb18030", "big5", "euc_jp", "cp1252"]
_NUL_SHARE_OF_UTF16 = 0.05


def decode(data: bytes, name: str) -> tuple[str, str]:
    """Return the text of a file and the encoding that it was in.

    Raises:
        UsageError: No encoding fits; the sentence names the first byte that UTF-8 refuses.
    """
    encoding = _marked(data) or _utf16_without_mark(data)
    if encoding:
        return _strictly(data, encoding, name)
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        best = from_bytes(data, cp_isolation=_OLDER).best()
        if best is None:
            raise _undecodable(name, "UTF-8", error) from error
    return _strictly(data, best.encoding, name)


def _marked(data: bytes) -> str | None:
    return next((encoding for bom, encoding in _BOMS if data.startswith(bom)), None)


def _utf16_without_mark(data: bytes) -> str | None:
    """Tell UTF-16 by its zero bytes, which stand on one side of every ASCII letter."""
    sample = data[: 1 << 16]
    n_even, n_odd = sample[::2].count(0), sample[1::2].count(0)
    if len(data) % 2 or n_even + n_odd < _NUL_SHARE_OF_UTF16 * len(sample) or n_even == n_odd:
        return None
    if min(n_even, n_odd) * 4 > max(n_even, n_odd):
        return None
    return "utf-16-le" if n_odd > n_even else "utf-16-be"


def _strictly(data: bytes, encoding: str, name: str) -> tuple[str, str]:
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise _undecodable(name, encoding, error) from error


def _undecodable(name: str, encoding: str, error: UnicodeDecodeError) -> UsageError:
    return UsageError(
        f"{name}: byte {error.start} (0x{error.object[error.start]:02x}) is not {encoding} and no "
        "other known encoding fits; save the file as UTF-8 and import it again."
    )
