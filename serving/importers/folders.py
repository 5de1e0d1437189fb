"""Which files a training set consists of, which of them are held out, and their examples.

One file; a folder that ``datasets`` saved to disk; a folder of data files with or without a card;
LLaMA-Factory's ``dataset_info.json`` or its folder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from db.errors import UsageError
from serving.formats.library import Registry
from serving.importers.dataset_cards import (
    chosen,
    classes_of_card,
    configurations,
    data_files,
    files_of,
    is_meant,
    listed,
    within,
)
from serving.importers.documents import RepeatedKey, loads
from serving.importers.fields import NAMES, is_held_out
from serving.importers.readers import SUFFIXES, rows_by
from serving.importers.rows import RowMaker
from serving.importers.source import ImportFile
from serving.importers.turns import SPEAKERS, USUAL, TurnKeys
from serving.importers.unwrap import Unwrapper

_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_TURNS = {"messages": "conversations"}
_TAGS = {"user": ("human", "user_tag"), "assistant": ("gpt", "assistant_tag")}
_FORMATS = ("alpaca", "sharegpt", "openai")
_PLACES = frozenset({"file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url"})


ENTRY = "dataset_info.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file of a training set."""

    path: Path
    name: str
    """How problems name it: its path within the folder."""
    is_held_out: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    """The file's names of fields → ours, where they differ."""
    keys: TurnKeys = USUAL
    notes: tuple[str, ...] = ()
    """What was not read beside it."""


def parts_of(path: Path, only: str | None = None) -> list[DataFile]:
    """Return the files of a training set, those to train on first.

    Args:
        path: A file or a folder.
        only: Of a ``dataset_info.json``, the dataset to read; of a card, the configuration. None:
            all datasets, and the configuration that is the default.

    Raises:
        UsageError: There is no such file, it holds no data, or its description is wrong.
    """
    if not path.exists():
        raise UsageError("{path} is not there; check the path.", path=path)
    entry = path / ENTRY if path.is_dir() else path
    entries = _entries_of(_json(entry)) if entry.name == ENTRY and entry.is_file() else None
    configs = configurations(path) if entries is None and path.is_dir() else []
    if entries is not None:
        found = list(_listed(entry, entries, only))
    elif path.is_dir() and not configs and (inner := _packed(path.resolve())) is not None:
        never = is_held_out(inner.name)
        parts = parts_of(inner, only)
        found = [replace(part, is_held_out=part.is_held_out or never) for part in parts]
    elif only is not None and not configs:
        raise UsageError(
            "{path} names no datasets, so there is none to choose by --only.", path=path
        )
    elif path.is_file():
        found = [DataFile(path=path, name=path.name, is_held_out=is_held_out(path.stem))]
    elif configs:
        found = _of_card(path.resolve(), configs, only)
    else:
        found = list(_of_folder(path.resolve()))
    if not found:
        raise UsageError(
            "{path} holds no data; files that are read: {suffixes}.",
            path=path,
            suffixes=", ".join(SUFFIXES),
        )
    return sorted(found, key=lambda part: part.is_held_out)


def _of_card(folder: Path, configs: list[Mapping[str, Any]], only: str | None) -> list[DataFile]:
    """Return the files that a card names, and no others."""
    config, notes = chosen(folder, configs, only)
    named = files_of(folder, config)
    files, _ = data_files(folder)
    if left := [str(path.relative_to(folder)) for path in files if path.resolve() not in named]:
        notes.append(f"The card does not name these files, which are not read: {listed(left)}.")
    parts = []
    for path, splits in sorted(named.items()):
        never = any(map(is_held_out, splits))  # also where it is in another split as well
        parts.append(DataFile(path=path, name=str(path.relative_to(folder)), is_held_out=never))
    return _noted(parts, notes)


def _of_folder(folder: Path) -> Iterator[DataFile]:
    if (folder / "dataset_dict.json").is_file():
        for split in _json(folder / "dataset_dict.json").get("splits", []):
            yield from _saved(folder / str(split), folder, is_held_out=is_held_out(str(split)))
    elif (folder / "state.json").is_file():
        yield from _saved(folder, folder, is_held_out=is_held_out(folder.name))
    else:
        yield from _of_files(folder, folder)


def _packed(folder: Path) -> Path | None:
    """Return the one folder in a folder, packed with its own name, which may be a split's."""
    inner = [one for one in folder.iterdir() if is_meant(Path(one.name))]
    is_packed = len(inner) == 1 and inner[0].is_dir() and inner[0].name != "data"
    return inner[0] if is_packed else None


def _of_files(folder: Path, root: Path) -> list[DataFile]:
    files, notes = data_files(folder)
    parts = []
    for path in files:
        within = path.relative_to(folder)
        splits = [*within.parent.parts, path.stem]
        name = str(path.relative_to(root))
        parts.append(DataFile(path=path, name=name, is_held_out=any(map(is_held_out, splits))))
    return _noted(parts, notes)


def _noted(parts: list[DataFile], notes: list[str]) -> list[DataFile]:
    """Return the parts, the first of which carries the notes."""
    return [replace(parts[0], notes=(*parts[0].notes, *notes)), *parts[1:]] if parts else []


def _saved(folder: Path, root: Path, *, is_held_out: bool) -> Iterator[DataFile]:
    """Yield the files that ``datasets`` wrote by ``save_to_disk``."""
    state = _json(folder / "state.json")
    for file in state.get("_data_files") or ():
        path = within(folder, str(file.get("filename")), is_file=True)
        yield DataFile(
            path=path, name=str(path.relative_to(root.resolve())), is_held_out=is_held_out
        )


def _entries_of(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]] | None:
    """Return the data sets that a ``dataset_info.json`` lists; None where it is another one."""
    entries: dict[str, Mapping[str, Any]] = {
        name: one for name, one in content.items() if isinstance(one, dict)
    }
    return entries if any(_PLACES & one.keys() for one in entries.values()) else None


def _listed(
    path: Path, entries: Mapping[str, Mapping[str, Any]], only: str | None
) -> Iterator[DataFile]:
    if only is not None and only not in entries:
        raise UsageError(
            "{path} lists no dataset {only!r}; it has {entries}.",
            path=path,
            only=only,
            entries=", ".join(entries),
        )
    for name, entry in entries.items():
        if only in (None, name):
            yield from _of_entry(path, name, entry)


def _of_entry(path: Path, name: str, entry: Mapping[str, Any]) -> list[DataFile]:
    """Return the file of an entry, or the files of its folder.

    Raises:
        UsageError: It is not understood, or its files are not here.
    """
    file = entry.get("file_name")
    if not isinstance(file, str):
        raise UsageError(
            "{path}, {name}: lies on a hub, not in this folder; fetch it and name its file_name.",
            path=path,
            name=name,
        )
    columns, tags = entry.get("columns") or {}, entry.get("tags") or {}
    if not isinstance(columns, dict) or not isinstance(tags, dict):
        raise UsageError(
            "{path}, {name}: columns and tags are maps of names; correct them.",
            path=path,
            name=name,
        )
    form = entry.get("formatting") or "alpaca"
    if form not in _FORMATS:
        raise UsageError(
            "{path}, {name}: formatting {form!r} is not known; write one of {formats}.",
            path=path,
            name=name,
            form=str(form)[:40],
            formats=", ".join(_FORMATS),
        )
    ours = _ALPACA if form == "alpaca" else _TURNS
    place = within(path.parent, file)
    parts = [DataFile(path=place, name=file)]
    if place.is_dir() and not (parts := _of_files(place, path.parent.resolve())):
        raise UsageError(
            "{path}, {name}: the folder {file} holds no data; add it.",
            path=path,
            name=name,
            file=file,
        )
    never = is_held_out(name) or is_held_out(str(entry.get("split") or ""))
    columns = {str(theirs): ours.get(str(key), str(key)) for key, theirs in columns.items()}
    keys = USUAL if form == "alpaca" else _turn_keys(form, tags)
    parts = [
        replace(part, is_held_out=part.is_held_out or never, columns=columns, keys=keys)
        for part in parts
    ]
    limit = entry.get("num_samples")
    notes = [] if limit is None else [f"num_samples {limit} is not used; all rows are read."]
    return _noted(parts, notes)


def _turn_keys(form: str, tags: Mapping[str, Any]) -> TurnKeys:
    role, text = ("from", "value") if form == "sharegpt" else ("role", "content")
    speakers = dict(SPEAKERS)
    speakers |= {str(tags.get(tag, usual)): one for one, (usual, tag) in _TAGS.items()}
    speakers |= {str(tags.get("system_tag", "system")): "system"}
    return TurnKeys(
        speaker=(str(tags.get("role_tag", role)),),
        text=(str(tags.get("content_tag", text)),),
        speakers=speakers,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = loads(path.read_bytes())
    except RepeatedKey as error:
        raise UsageError("{path} {error}.", path=path, error=error) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("{path} is no JSON that can be read; correct it.", path=path) from error
    return found if isinstance(found, dict) else {}


def read_examples(
    path: Path, registry: Registry, *, only: str | None = None, encoding: str | None = None
) -> list[ImportFile]:
    """Return the files of training data in a file or folder; their rows are read once, when asked.

    Args:
        path: A file, a folder, or LLaMA-Factory's ``dataset_info.json``.
        registry: Its formats and roles are recognised in the texts.
        only: Of a ``dataset_info.json``, the dataset to read; None: all of them.
        encoding: What texts that are not UTF-8 are to be read as.

    Raises:
        UsageError: There are none. Taking rows raises ``EncodingGuessed`` where a text is not UTF-8
            and ``encoding`` is None, and ``UsageError`` where a file cannot be read.
    """
    unwrapper = Unwrapper.of(registry)
    roles = {full_name.rpartition("@")[0] for full_name in registry.roles}
    parts, classes = parts_of(path, only), classes_of_card(path)
    found = []
    for part in parts:
        source = ImportFile(part.name, part.path, NAMES, class_names=dict(classes))
        source.notes += part.notes
        maker = RowMaker(
            source,
            unwrapper,
            roles,
            keys=part.keys,
            renamed=part.columns,
            never_trains=part.is_held_out,
        )
        source.rows = rows_by(maker, encoding)
        found.append(source)
    return found
