"""Which files a training set consists of, and which of them are held out.

One file; a folder that ``datasets`` saved to disk; a folder of data files with or without a card;
LLaMA-Factory's ``dataset_info.json`` or its folder.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from db.errors import UsageError
from db.yaml_text import load_yaml
from serving.importers.json_stream import RepeatedKey, loads
from serving.importers.readers import SUFFIXES
from serving.importers.splits import is_held_out
from serving.importers.turns import SPEAKERS, USUAL, TurnKeys

ENTRY = "dataset_info.json"
_DATA = frozenset({*SUFFIXES, ".arrow"})
_NOT_DATA = frozenset({ENTRY, "dataset_dict.json", "state.json", "dataset_infos.json"})
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_TURNS = {"messages": "conversations"}
_TAGS = {"user": ("human", "user_tag"), "assistant": ("gpt", "assistant_tag")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a training set."""

    path: Path
    name: str
    """How problems name it: its path within the folder."""
    is_held_out: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    """The file's names of fields → ours, where they differ."""
    keys: TurnKeys = USUAL


def parts_of(path: Path, only: str | None = None) -> list[Part]:
    """Return the files of a training set, those to train on first.

    Args:
        path: A file or a folder.
        only: Of a ``dataset_info.json``, the dataset to read; None: all of them.

    Raises:
        UsageError: There is no such file, it holds no data, or its description is wrong.
    """
    if not path.exists():
        raise UsageError(f"{path} is not there; check the path.")
    entry = path / ENTRY if path.is_dir() else path
    listed = _entries(entry) if entry.name == ENTRY else None
    if listed is not None:
        found = list(_listed(entry, listed, only))
    elif only is not None:
        raise UsageError(f"{path} names no datasets, so there is none to choose by --only.")
    elif path.is_file():
        found = [Part(path=path, name=path.name, is_held_out=is_held_out(path.stem))]
    else:
        found = list(_of_folder(path))
    if not found:
        raise UsageError(f"{path} holds no data; files that are read: {', '.join(sorted(_DATA))}.")
    return sorted(found, key=lambda part: part.is_held_out)


def _of_folder(folder: Path) -> Iterator[Part]:
    folder = folder.resolve()
    if (folder / "dataset_dict.json").is_file():
        for split in _json(folder / "dataset_dict.json").get("splits", []):
            yield from _saved(folder / str(split), folder, is_held_out=is_held_out(str(split)))
    elif (folder / "state.json").is_file():
        yield from _saved(folder, folder, is_held_out=is_held_out(folder.name))
    else:
        card = dict(_card(folder))
        inner = [one for one in folder.iterdir() if not one.name.startswith((".", "__"))]
        if not card and len(inner) == 1 and inner[0].is_dir() and inner[0].name != "data":
            # A folder that was packed with its own name, which may be that of a split.
            never = is_held_out(inner[0].name)
            for part in parts_of(inner[0]):
                yield replace(part, is_held_out=part.is_held_out or never)
            return
        for path in sorted(card or _data_files(folder)):
            within = path.relative_to(folder)
            splits = [card[path]] if path in card else [*within.parent.parts, path.stem]
            yield Part(path=path, name=str(within), is_held_out=any(map(is_held_out, splits)))


def _saved(folder: Path, root: Path, *, is_held_out: bool) -> Iterator[Part]:
    """Yield the files that ``datasets`` wrote by ``save_to_disk``."""
    state = _json(folder / "state.json")
    for file in state.get("_data_files") or ():
        path = _within(folder, str(file.get("filename")))
        yield Part(path=path, name=str(path.relative_to(root.resolve())), is_held_out=is_held_out)


def _card(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files that the card of a folder names, each with its split."""
    path = folder / "README.md"
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    told = load_yaml(head[1], where=f"The head of {path}") if head else None
    configs = told.get("configs") if isinstance(told, dict) else None
    for config in configs if isinstance(configs, list) else ():
        files = config.get("data_files") if isinstance(config, dict) else None
        for one in files if isinstance(files, list) else ():
            if isinstance(one, dict):
                patterns = one.get("path")
                for pattern in patterns if isinstance(patterns, list) else [patterns]:
                    yield from ((p, str(one.get("split"))) for p in _globbed(folder, str(pattern)))


def _globbed(folder: Path, pattern: str) -> list[Path]:
    try:
        found = sorted(folder.glob(pattern))
    except (ValueError, NotImplementedError):
        found = []
    if not found:
        raise UsageError(f"{folder / 'README.md'} names {pattern}, which is not there; add it.")
    return [_within(folder, str(path.relative_to(folder))) for path in found]


def _data_files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix.lower() in _DATA
        and path.name not in _NOT_DATA
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _entries(path: Path) -> dict[str, Any] | None:
    """Return what LLaMA-Factory's ``dataset_info.json`` lists; None where it is another one."""
    found = _json(path) if path.is_file() else {}
    entries = {name: one for name, one in found.items() if isinstance(one, dict)}
    is_listing = any(
        {"file_name", "hf_hub_url", "ms_hub_url", "script_url"} & one.keys()
        for one in entries.values()
    )
    return entries if is_listing else None


def _listed(path: Path, entries: Mapping[str, Any], only: str | None) -> Iterator[Part]:
    if only is not None and only not in entries:
        raise UsageError(f"{path} lists no dataset {only!r}; it has {', '.join(entries)}.")
    for name, entry in entries.items():
        if only in (None, name):
            yield _part(path, name, entry)


def _part(path: Path, name: str, entry: Mapping[str, Any]) -> Part:
    file = entry.get("file_name")
    if not isinstance(file, str):
        raise UsageError(
            f"{path}, {name}: lies on a hub, not in this folder; fetch it and name its file_name."
        )
    columns = entry.get("columns") or {}
    tags = entry.get("tags") or {}
    if not isinstance(columns, dict) or not isinstance(tags, dict):
        raise UsageError(f"{path}, {name}: columns and tags are maps of names; correct them.")
    is_turns = entry.get("formatting") == "sharegpt"
    ours = _TURNS if is_turns else _ALPACA
    renamed = {str(theirs): ours.get(str(key), str(key)) for key, theirs in columns.items()}
    speakers = dict(SPEAKERS)
    speakers |= {str(tags.get(tag, usual)): one for one, (usual, tag) in _TAGS.items()}
    speakers |= {str(tags.get("system_tag", "system")): "system"}
    return Part(
        path=_within(path.parent, file),
        name=file,
        is_held_out=is_held_out(name) or is_held_out(str(entry.get("split") or "")),
        columns=renamed,
        keys=TurnKeys(
            speaker=(str(tags.get("role_tag", "from")),),
            text=(str(tags.get("content_tag", "value")),),
            speakers=speakers,
        )
        if is_turns
        else USUAL,
    )


def _within(folder: Path, name: str) -> Path:
    """Return a file of a folder; one outside of it is not read."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise UsageError(f"{folder} names {name}, which is no file of this folder; add it.")
    return path


def _json(path: Path) -> dict[str, Any]:
    try:
        found = loads(path.read_bytes())
    except RepeatedKey as error:
        raise UsageError(f"{path} {error}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON that can be read; correct it.") from error
    return found if isinstance(found, dict) else {}
