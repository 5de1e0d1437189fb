"""The data files of a folder: which are read, and which are hidden or another program's locks."""

from collections.abc import Iterable
from pathlib import Path

from serving.importers.readers import SUFFIXES

NOT_DATA = frozenset({"dataset_info.json", "dataset_dict.json", "state.json", "dataset_infos.json"})
"""Descriptions of data sets."""
_NOT_MEANT = (".", "~$", "__MACOSX")
"""How names begin of hidden files, of locks of spreadsheets and of leftovers of archives."""


def is_meant(path: Path) -> bool:
    """Tell whether a path within a folder is neither hidden nor a lock."""
    return not any(part.startswith(_NOT_MEANT) for part in path.parts)


def data_files(folder: Path, *, is_deep: bool = True) -> tuple[list[Path], list[str]]:
    """Return the data files of a folder by name, and notes of what is not read.

    ``is_deep``: files in subfolders are read as well; otherwise these are noted.
    """
    inside = sorted(folder.rglob("*"))
    found = [
        path
        for path in inside
        if path.suffix.lower() in SUFFIXES and path.is_file() and path.name not in NOT_DATA
    ]
    meant = [path for path in found if is_meant(path.relative_to(folder))]
    files = [path for path in meant if is_deep or path.parent == folder]
    hidden = [path.relative_to(folder) for path in found if path not in set(meant)]
    deeper = {path.relative_to(folder).parts[0] for path in meant} if not is_deep else set()
    deeper -= {path.name for path in files}
    notes = [f"Hidden files and locks are not read: {listed(hidden)}."] if hidden else []
    if deeper:
        notes.append(f"Files in subfolders are not read: {listed(sorted(deeper))}.")
    return files, notes


def listed(names: Iterable[object], n_shown: int = 10) -> str:
    """Return some names and how many more there are."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - n_shown} more" if len(texts) > n_shown else ""
    return ", ".join(texts[:n_shown]) + more
