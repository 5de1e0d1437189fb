"""The folder of a merged model: room for it, appearing whole or not at all, and its manifest."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from db.errors import Q2QError, free_bytes
from serving.models.tensor_files import weight_files

MANIFEST = "manifest.json"
CARD = "README.md"
_SPARE_BYTES = 64 * 2**20
"""Room for tokenizer, card and the store beside the weights."""
_COPIED = (".json", ".jinja", ".model", ".txt", ".tiktoken")
_COPIED_NAMES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE")


class MergeError(Q2QError):
    """A merge could not be made or proved; the sentence says why and what to do."""


def check_room(folder: Path, wanted: int, *, what: str) -> None:
    """Return if ``wanted`` bytes and a little more fit on the disk of ``folder``.

    Raises:
        MergeError: They do not.
    """
    free = free_bytes(folder)
    if free < wanted + _SPARE_BYTES:
        raise MergeError(
            f"{what} needs {_gb(wanted + _SPARE_BYTES)} in {folder}, and {_gb(free)} are free. "
            "Free some, for example by dropping an old merge with `q2q model prune`, or set "
            "Q2Q_HOME to a folder on a larger disk."
        )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a scratch folder beside ``target`` that becomes it when the block succeeds.

    One process at a time, the one that holds the lock of the home, works on a target.

    Raises:
        MergeError: ``target`` exists: a merge never writes over an old one. Or the disk is full.
    """
    _refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}-*"):  # of a merge that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield scratch
        _refuse_existing(target)
        scratch.chmod(0o755)
        scratch.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise disk_full(target) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def disk_full(folder: Path) -> MergeError:
    """Return the error of a disk that ran full while ``folder`` was written."""
    return MergeError(
        f"The disk ran full while {folder} was written; nothing was left behind. Free some room, "
        "for example with `q2q model prune`, then run the same command again."
    )


def copied_files(base: Path) -> list[Path]:
    """Return the files of ``base`` that a merge keeps byte by byte: all but weights and card.

    Configuration, tokenizer, chat template, generation settings and licence; no code.
    """
    return [
        path
        for path in sorted(base.iterdir())
        if path.is_file()
        and path.name != MANIFEST
        and (path.suffix in _COPIED or path.name in _COPIED_NAMES)
    ]


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``manifest.json``, the last file of a whole folder, with the sizes of all others."""
    sizes = {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in (MANIFEST, CARD)
    }
    text = json.dumps({**facts, "files": sizes}, indent=2, ensure_ascii=False) + "\n"
    replace_text(folder / MANIFEST, text)


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(f".{path.name}.new")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def weights_bytes(folder: Path) -> int:
    """Return the size of the weight files of ``folder``."""
    return sum(path.stat().st_size for path in weight_files(folder))


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise MergeError(
            f"{target} exists already, and a merge never writes into a used folder. Move it away, "
            "or give the merge another name with --name."
        )


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
