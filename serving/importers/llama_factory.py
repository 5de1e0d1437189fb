"""What LLaMA-Factory's ``dataset_info.json`` says of a data set: its files, fields and speakers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.errors import UsageError
from serving.importers.turns import SPEAKERS, USUAL, TurnKeys

_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_TURNS = {"messages": "conversations"}
_TAGS = {"user": ("human", "user_tag"), "assistant": ("gpt", "assistant_tag")}
_FORMATS = ("alpaca", "sharegpt", "openai")
_PLACES = frozenset({"file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDataset:
    """An entry of ``dataset_info.json``."""

    file_name: str
    """A file, or a folder of files."""
    splits: tuple[str, str]
    """Names that may say that it never trains."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The file's names of fields → ours."""
    keys: TurnKeys = USUAL
    notes: tuple[str, ...] = ()


def entries_of(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]] | None:
    """Return the data sets that a ``dataset_info.json`` lists; None where it is another one."""
    entries: dict[str, Mapping[str, Any]] = {
        name: one for name, one in content.items() if isinstance(one, dict)
    }
    return entries if any(_PLACES & one.keys() for one in entries.values()) else None


def dataset_of(path: Path, name: str, entry: Mapping[str, Any]) -> ListedDataset:
    """Return what an entry says.

    Raises:
        UsageError: It is not understood, or its files are not here.
    """
    file = entry.get("file_name")
    if not isinstance(file, str):
        raise UsageError(
            f"{path}, {name}: lies on a hub, not in this folder; fetch it and name its file_name."
        )
    columns = entry.get("columns") or {}
    tags = entry.get("tags") or {}
    if not isinstance(columns, dict) or not isinstance(tags, dict):
        raise UsageError(f"{path}, {name}: columns and tags are maps of names; correct them.")
    form = entry.get("formatting") or "alpaca"
    if form not in _FORMATS:
        raise UsageError(
            f"{path}, {name}: formatting {str(form)[:40]!r} is not known; write one of "
            f"{', '.join(_FORMATS)}."
        )
    ours = _ALPACA if form == "alpaca" else _TURNS
    limit = entry.get("num_samples")
    return ListedDataset(
        file_name=file,
        splits=(name, str(entry.get("split") or "")),
        columns={str(theirs): ours.get(str(key), str(key)) for key, theirs in columns.items()},
        keys=USUAL if form == "alpaca" else _turn_keys(form, tags),
        notes=() if limit is None else (f"num_samples {limit} is not used; all rows are read.",),
    )


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
