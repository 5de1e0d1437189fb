"""Files that people ask for: whole under their name or not there at all, and JSON safe to split."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from db.errors import UsageError

_LINE_ENDS = re.compile("[\x85\u2028\u2029\ud800-\udfff]")
"""Line ends of Unicode, at which some programs split a file of JSON lines; and half characters."""


def json_line(value: Any, *, default: Any = None) -> str:
    """Return a value as JSON that stays one line in every program."""
    text = json.dumps(value, ensure_ascii=False, default=default)
    return _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes ``target`` when it is complete; a failure leaves nothing.

    Raises:
        UsageError: There is a file of this name already, or it cannot be written.
    """
    part: Path | None = None
    try:
        _refuse_existing(target)
        number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:60]}.")
        part = Path(name)
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        _rename_new(part, target)
    except OSError as error:
        raise _unwritable(target, error, "file") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a folder that becomes ``target`` when it is complete; a failure leaves nothing.

    Raises:
        UsageError: There is something in a folder of this name, or it cannot be written.
    """
    part: Path | None = None
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError("{target} is not empty; give a new folder.", target=target)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:60]}."))
        yield part
        part.chmod(0o777 & ~_umask())
        part.rename(target)
    except OSError as error:
        raise _unwritable(target, error, "folder") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _refuse_existing(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def _rename_new(part: Path, target: Path) -> None:
    """Give a file its name, unless another one has it by now."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        _refuse_existing(target)
        part.rename(target)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _unwritable(target: Path, error: OSError, kind: str) -> UsageError:
    reason = error.strerror or str(error)
    return UsageError(
        "{target} cannot be written ({reason}); give another {kind}.",
        target=target,
        reason=reason,
        kind=kind,
    )
