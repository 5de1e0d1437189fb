"""The card of a folder of data: the files and splits of a configuration, and names of classes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from db.errors import UsageError
from db.input_text import load_yaml
from serving.importers.readers import SUFFIXES

_HEAD = re.compile(r"\ufeff?---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)


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


def head_of_card(folder: Path) -> Mapping[str, Any]:
    """Return what the head of the card of a folder holds; empty without one.

    Raises:
        UsageError: The head of the card is no YAML.
    """
    path = folder / "README.md"
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    head = _HEAD.match(text.replace("\r\n", "\n").replace("\r", "\n"))
    found = load_yaml(head[1], where=f"The head of {path}") if head else None
    return found if isinstance(found, dict) else {}


def configurations(folder: Path) -> list[Mapping[str, Any]]:
    """Return the configurations that the card of a folder names; none without a card.

    Raises:
        UsageError: The head of the card is no YAML.
    """
    head = head_of_card(folder)
    given = head.get("configs", [head] if "data_files" in head else [])
    found = [given] if isinstance(given, dict) else given
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(
            "{folder}: configs is no list of configurations; correct it.",
            folder=folder / "README.md",
        )
    return [one for one in found if one.keys() & {"data_files", "data_dir"}]


def chosen(
    folder: Path, found: list[Mapping[str, Any]], only: str | None
) -> tuple[Mapping[str, Any], list[str]]:
    """Return the configuration to read, and a note of the others.

    Args:
        folder: The folder of the card.
        found: Its configurations; at least one.
        only: The one to read; None: the only one, or the default one.

    Raises:
        UsageError: There is no such configuration, or none is the default one of several.
    """
    by_name = {name_of(one): one for one in found}
    names = ", ".join(by_name)
    if only is not None and only not in by_name:
        raise UsageError(
            "{folder} has no configuration {only!r}; it has {names}.",
            folder=folder,
            only=only,
            names=names,
        )
    defaults = [one for one in found if one.get("default") is True] or [
        one for one in found if name_of(one) == "default"
    ]
    if only is None and len(found) > 1 and not defaults:
        raise UsageError(
            "{folder} has several configurations and none is the default one; "
            "choose one of {names} with --only.",
            folder=folder / "README.md",
            names=names,
        )
    one = by_name[only] if only is not None else (defaults or found)[0]
    others = [name for name in by_name if name != name_of(one)]
    if not others:
        return one, []
    return one, [f"Read configuration {name_of(one)}; not read: {', '.join(others)}."]


def name_of(configuration: Mapping[str, Any]) -> str:
    """Return what a configuration is called."""
    return str(configuration.get("config_name") or "default")


def files_of(folder: Path, configuration: Mapping[str, Any]) -> dict[Path, list[str]]:
    """Return the files that a configuration names, each with its splits.

    Raises:
        UsageError: One is not there, or lies outside of the folder.
    """
    root = folder
    if (inner := configuration.get("data_dir")) is not None:
        root = within(folder, str(inner))
    given = configuration.get("data_files")
    if given is None:
        return {path: _names(folder, path) for path in data_files(root)[0]}
    found: dict[Path, list[str]] = {}
    for split, pattern in _patterns(folder, given):
        for path in _globbed(folder, root, pattern):
            found.setdefault(path, []).extend([split] if split else _names(folder, path))
    return found


def _names(folder: Path, path: Path) -> list[str]:
    """Return the names in a path, of which one may be that of a split."""
    return [*path.relative_to(folder.resolve()).parent.parts, path.stem]


def _patterns(folder: Path, given: Any) -> Iterator[tuple[str | None, str]]:
    """Yield split, if named, and pattern of each spelling: text, list, split → files, or both."""
    if isinstance(given, str):
        yield None, given
    elif isinstance(given, dict) and "path" in given:
        for _, pattern in _patterns(folder, given["path"]):
            yield str(given["split"]) if given.get("split") else None, pattern
    elif isinstance(given, dict):
        for split, files in given.items():
            yield from ((str(split), pattern) for _, pattern in _patterns(folder, files))
    elif isinstance(given, list):
        for one in given:
            yield from _patterns(folder, one)
    else:
        raise UsageError(
            "{folder}: data_files holds {given!r}; write the path of a "
            "file, a list of them, or split and path.",
            folder=folder / "README.md",
            given=str(given)[:40],
        )


def _globbed(folder: Path, root: Path, pattern: str) -> list[Path]:
    try:
        found = sorted(root.glob(pattern.removeprefix("./")))
    except (ValueError, NotImplementedError):
        found = []
    files = [
        file
        for path in found
        for file in (data_files(path)[0] if path.is_dir() else [path])
        if is_meant(file.relative_to(root)) or str(file.relative_to(root)) == pattern
    ]
    if not files:
        raise UsageError(
            "{folder} names {pattern}, which is not there; add it.",
            folder=folder / "README.md",
            pattern=pattern,
        )
    return [within(folder, pattern, path) for path in files]


def within(folder: Path, name: str, path: Path | None = None, *, is_file: bool = False) -> Path:
    """Return a file or folder that is named in a folder; one outside of it is not read.

    ``path``: where it is, if not at its name.

    Raises:
        UsageError: It is not there, or lies outside.
    """
    found = (path or folder / name).resolve()
    is_there = found.is_file() if is_file else found.exists()
    if not is_there or not found.is_relative_to(folder.resolve()):
        raise UsageError(
            "{folder} names {name}, which is no file of this folder; add it.",
            folder=folder,
            name=name,
        )
    return found


def classes_of_card(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return column → what the numbers 0, 1, … in it stand for; empty where no card says so.

    Raises:
        UsageError: The head of the card is no YAML.
    """
    info = head_of_card(folder).get("dataset_info")
    found: dict[str, tuple[str, ...]] = {}
    for config in info if isinstance(info, list) else [info]:
        features = config.get("features") if isinstance(config, dict) else None
        found |= dict(_classes(features if isinstance(features, list) else ()))
    return found


def _classes(features: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    for feature in features:
        kind = feature.get("dtype") if isinstance(feature, dict) else None
        label = kind.get("class_label") if isinstance(kind, dict) else None
        names = label.get("names") if isinstance(label, dict) else None
        if isinstance(names, Mapping):
            names = [names[key] for key in sorted(names, key=_number)]
        if isinstance(names, list):
            yield str(feature.get("name")), tuple(map(str, names))


def _number(key: Any) -> int:
    return int(key) if str(key).isdigit() else 0
