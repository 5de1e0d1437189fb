"""A training set from its files: the examples of each, and apart from them what is wrong."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serving.formats.registry import Registry
from serving.importers.card_classes import classes_of_card
from serving.importers.examples import Example, ExampleMaker
from serving.importers.fields import NAMES
from serving.importers.folders import Part, parts_of
from serving.importers.parsed_row import LeftOut
from serving.importers.readers import read_records
from serving.importers.source import Problem
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


def read_examples(
    path: Path, registry: Registry, *, only: str | None = None, encoding: str | None = None
) -> list[FileExamples]:
    """Read a file or folder of training data; writes nothing.

    Args:
        path: A file, a folder, or LLaMA-Factory's ``dataset_info.json``.
        registry: Its formats and roles are recognised in the texts.
        only: Of a ``dataset_info.json``, the dataset to read; None: all of them.
        encoding: What texts that are not UTF-8 are to be read as.

    Raises:
        EncodingGuessed: A text is not UTF-8 and ``encoding`` is None.
        UsageError: A file as a whole cannot be read; the sentence says what to do.
    """
    unwrapper = Unwrapper.of(registry)
    roles = {full_name.rpartition("@")[0] for full_name in registry.roles}
    parts = parts_of(path, only)
    classes = classes_of_card(path)
    return [_read(part, unwrapper, roles, encoding, classes) for part in parts]


def _read(
    part: Part,
    unwrapper: Unwrapper,
    roles: set[str],
    encoding: str | None,
    classes: Mapping[str, tuple[str, ...]],
) -> FileExamples:
    records = read_records(part.path, name=part.name, used=NAMES, encoding=encoding)
    source = records.source
    source.notes += part.notes
    source.class_names = {**classes, **source.class_names}
    found = FileExamples(
        name=part.name, unit=source.unit, problems=source.problems, notes=source.notes
    )
    maker = ExampleMaker(source, unwrapper, roles, keys=part.keys, renamed=part.columns)
    for record in records:
        try:
            found.examples += maker.examples(record, is_held_out=part.is_held_out)
        except LeftOut as left_out:
            found.left_out[str(left_out)] += 1
    if records.columns:
        maker.must_ask(records.columns)
    maker.finish()
    return found
