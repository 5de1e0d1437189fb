"""A training set from its files: the examples of each, and apart from them what is wrong."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.errors import UsageError
from serving.formats.registry import Registry
from serving.importers.examples import USED, Example, ExampleMaker
from serving.importers.folders import Part, parts_of
from serving.importers.readers import read_records
from serving.importers.source import Problem, Record, Source
from serving.importers.tables import MAX_UNPACKED_BYTES
from serving.importers.told import LeftOut
from serving.importers.unwrap import Unwrapper


@dataclass(slots=True, kw_only=True)
class FileExamples:
    """What one file holds."""

    name: str
    unit: str
    examples: list[Example] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Why rows are not imported though nothing is wrong with them → how many."""


def read_examples(path: Path, registry: Registry, *, only: str | None = None) -> list[FileExamples]:
    """Read a file or folder of training data; writes nothing.

    Args:
        path: A file, a folder, or LLaMA-Factory's ``dataset_info.json``.
        registry: Its formats and roles are recognised in the texts.
        only: Of a ``dataset_info.json``, the dataset to read; None: all of them.

    Raises:
        UsageError: A file as a whole cannot be read; the sentence says what to do.
    """
    unwrapper = Unwrapper(registry)
    roles = {full_name.rpartition("@")[0] for full_name in registry.roles}
    return [_read(part, unwrapper, roles) for part in parts_of(path, only)]


def _read(part: Part, unwrapper: Unwrapper, roles: set[str]) -> FileExamples:
    source, records = _records(part)
    found = FileExamples(
        name=part.name, unit=source.unit, problems=source.problems, notes=source.notes
    )
    maker = ExampleMaker(source, unwrapper, roles, part.keys)
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys(record.values))
        try:
            example = maker.example(record, is_held_out=part.is_held_out)
        except LeftOut as left_out:
            found.left_out[str(left_out)] += 1
            continue
        if example is not None:
            found.examples.append(example)
    unused = [name for name in names if name and name.strip().casefold() not in USED]
    if unused:
        found.notes.append(f"Fields not used: {', '.join(unused)}.")
    return found


def _records(part: Part) -> tuple[Source, list[Record]]:
    if part.path.suffix == ".arrow":
        source = Source(part.name, unit="row", encoding="arrow")
        records = list(_arrow_records(source, part.path))
        if not records:
            raise UsageError(f"{part.name}: holds no rows.")
    else:
        source, records, _ = read_records(part.path, used=USED, chats=False)
        source.name = part.name
    return source, [Record(one.line, _renamed(one.values, part)) for one in records]


def _renamed(values: Any, part: Part) -> dict[str, Any]:
    return {part.columns.get(name, name): value for name, value in values.items()}


def _arrow_records(source: Source, path: Path) -> Iterator[Record]:
    """Yield the rows of a file that ``datasets`` saved: an Arrow stream."""
    import pyarrow as pa

    if path.stat().st_size > MAX_UNPACKED_BYTES:
        raise UsageError(
            f"{source.name}: has {path.stat().st_size >> 20} MiB; at most "
            f"{MAX_UNPACKED_BYTES >> 20} MiB are taken. Save it in several shards."
        )
    line = 0
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                for row in batch.to_pylist():
                    line += 1
                    yield Record(line, row)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"{source.name}: is no Arrow file of `datasets`; save it again."
        ) from error
