"""The bytes of a file on its way in, on disk or uploaded, and its text piece by piece."""

import io
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from db.errors import UsageError

MAX_UNPACKED_BYTES = 1 << 30
"""An XLSX file, or a row group of a Parquet file, that unpacks to more is refused."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds; opened as often as it takes, and never held whole where it is on disk."""

    name: str
    given: Path | bytes
    n_bytes: int

    def open(self) -> BinaryIO:
        """Return the bytes from their beginning; the caller closes them."""
        if isinstance(self.given, bytes):
            return io.BytesIO(self.given)
        return self.given.open("rb", buffering=_CHUNK_BYTES)

    def open_text(self, encoding: str, newline: str | None = None) -> TextIO:
        """Return the text from its beginning; closing it closes the bytes as well."""
        return io.TextIOWrapper(self.open(), encoding=encoding, newline=newline)


def content_of(given: Path | bytes, name: str, max_bytes: int) -> Content:
    """Return what ``given`` holds.

    Raises:
        UsageError: There is no such file, it is too large or empty, or it is no file.
    """
    try:
        n_bytes = len(given) if isinstance(given, bytes) else _size_of(given)
        content = Content(name, given, n_bytes)
        with content.open() as file:
            is_empty = not any(chunk.strip() for chunk in iter(lambda: file.read(1 << 16), b""))
    except OSError as error:
        raise UsageError(
            f"{given!s}: cannot be read ({error.strerror}); check the path."
        ) from error
    if n_bytes > max_bytes:
        raise UsageError(
            f"{name}: has {n_bytes >> 20} MiB; at most {max_bytes >> 20} MiB are taken. "
            "Split it into several files."
        )
    if is_empty:
        raise UsageError(f"{name}: the file is empty; give a file with at least one question.")
    return content


def _size_of(path: Path) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path}: is no file but a pipe or a device; write it to a file first.")
    return found.st_size


def position(stream: TextIO) -> int:
    """Return how many bytes of a text have been read."""
    return stream.buffer.tell()


def unreadable(name: str, kind: str) -> UsageError:
    """Return that a file is not what its name says."""
    return UsageError(
        f"{name}: this is not a readable {kind} (damaged, protected by a password, or of another "
        "kind); save it again, or as CSV in UTF-8."
    )


def too_large(name: str, n_bytes: int) -> UsageError:
    """Return that a file unpacks to too much."""
    return UsageError(
        f"{name}: unpacks to {n_bytes / 2**30:.1f} GiB; at most "
        f"{MAX_UNPACKED_BYTES / 2**30:.0f} GiB are taken. Split it into several files."
    )
