"""Files to rows: finds out what a file is and how it is encoded, and reads it piece by piece."""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from db.errors import UsageError
from db.tables.library import ROLES
from serving.importers.documents import json_records, jsonl_records
from serving.importers.encoding import encoding_of
from serving.importers.examples import ExampleMaker, ImportRow, ReadResult
from serving.importers.fields import NAMES, is_held_out, plain_name
from serving.importers.parsed_row import LeftOut
from serving.importers.source import Content, Problem, Record, Source, content_of
from serving.importers.tables import arrow_records, csv_records, parquet_records
from serving.importers.unwrap import Unwrapper
from serving.importers.workbooks import xlsx_records

MAX_FILE_BYTES = 16 << 30
"""Larger files are refused; all kinds but XLSX are read piece by piece."""
_MAX_XLSX_BYTES = 512 << 20
_TABLES: dict[str, Callable[[Source, Content, Collection[str] | None], Iterator[Record]]] = {
    ".xlsx": xlsx_records,
    ".parquet": parquet_records,
    ".arrow": arrow_records,
}
TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
SUFFIXES = (*TEXT_SUFFIXES, *_TABLES)
"""Kinds of files that can be imported."""
_ROWS_BEFORE_A_QUESTION = 1_000
"""A file that has no column for the question in so many rows has none."""
_PART_CHARS = 1 << 12


class RecordReader(Iterator[Record]):
    """The records of a file, read as they are asked for.

    ``source`` holds problems, notes and how far the reading is (``done`` of ``total``). They and
    ``columns`` are complete once all records were taken.
    """

    def __init__(self, source: Source, records: Iterator[Record]) -> None:
        self.source = source
        self._records = records
        self._columns: dict[str, None] = {}

    @property
    def columns(self) -> list[str]:
        """The names of the columns so far, in the order in which they first occur."""
        return list(self._columns)

    def __next__(self) -> Record:
        record = next(self._records)
        if not self._columns.keys() >= record.values.keys():
            self._columns.update(dict.fromkeys(record.values))
        return record


_NAMED_HELD_OUT = (
    "The file is named as a split that never trains; its questions may train unless a column"
    " held_out or split says otherwise. `q2q dataset import` holds such files out."
)


class RowReader(Iterator[ImportRow]):
    """The questions of a file, read as they are asked for.

    ``problems`` and ``notes`` are complete once all rows were taken.
    """

    def __init__(self, records: RecordReader, roles: Collection[str]) -> None:
        self.source = records.source
        self._records = records
        self._maker = ExampleMaker(
            records.source, Unwrapper.builtin(), roles, takes_judgements=False
        )
        self._rows = self._read()

    @property
    def name(self) -> str:
        """What the file is called."""
        return self.source.name

    @property
    def unit(self) -> str:
        """What its lines are called: ``line``, ``row`` or ``item``."""
        return self.source.unit

    @property
    def rows(self) -> Iterator[ImportRow]:
        """The reader itself."""
        return self

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with the rows so far."""
        return self.source.problems

    @property
    def notes(self) -> list[str]:
        """What the reader did without being asked."""
        return self.source.notes

    @property
    def columns(self) -> list[str]:
        """The names of the columns so far."""
        return self._records.columns

    def __next__(self) -> ImportRow:
        return next(self._rows)

    def _read(self) -> Iterator[ImportRow]:
        number, may_train = 0, False
        for number, record in enumerate(self._records, start=1):
            if number == _ROWS_BEFORE_A_QUESTION:
                self._maker.must_ask(self.columns)
            with suppress(LeftOut):  # it is noted
                for one in self._maker.examples(record):
                    may_train = may_train or one.row.held_out is None
                    yield one.row
        if number:
            self._maker.must_ask(self.columns)
        self._maker.finish()
        if may_train and is_held_out(Path(self.name).stem):
            self.notes.append(_NAMED_HELD_OUT)


def stream_rows(
    source: Path | bytes,
    *,
    name: str | None = None,
    roles: Collection[str] = ROLES,
    encoding: str | None = None,
) -> RowReader:
    """Return the rows of a file, or of the bytes of an uploaded file called ``name``.

    ``roles`` are the names that ``flag`` may have; ``encoding`` as in ``read_records``.

    Raises:
        UsageError: The file as a whole cannot be read; the sentence says what to do. Taking rows
            raises it too.
    """
    records = read_records(source, name=name, used=NAMES, encoding=encoding)
    return RowReader(records, roles)


def read_rows(
    source: Path | bytes,
    *,
    name: str | None = None,
    roles: Collection[str] = ROLES,
    encoding: str | None = None,
) -> ReadResult:
    """Read a file, or the bytes of an uploaded file called ``name``, whole.

    Good rows and problems are kept apart; whether a problem stops everything is the importer's
    choice. ``roles`` are the names that ``flag`` may have; ``encoding`` as in ``read_records``.

    Raises:
        UsageError: The file as a whole cannot be read; the sentence says what to do.
    """
    reader = stream_rows(source, name=name, roles=roles, encoding=encoding)
    rows = list(reader)
    return ReadResult(
        name=reader.source.name,
        unit=reader.source.unit,
        rows=rows,
        problems=reader.problems,
        encoding=reader.source.encoding,
        columns=reader.columns,
        notes=reader.notes,
    )


def read_records(
    source: Path | bytes,
    *,
    name: str | None = None,
    used: Collection[str] | None = None,
    encoding: str | None = None,
) -> RecordReader:
    """Return a file's records before any field is understood, read as they are asked for.

    Args:
        source: The file, or its bytes.
        name: What an uploaded file is called.
        used: Names of the columns that matter, as ``plain_name`` has them; None: all do. Where two
            columns have one such name, that is a problem of the file.
        encoding: What a text that is not UTF-8 is to be read as.

    Raises:
        EncodingGuessed: A text is not UTF-8 and ``encoding`` is None.
        UsageError: The file as a whole cannot be read, or it is empty. Taking records raises it
            too, where a file is damaged further down.
    """
    found = Source(name or (source.name if isinstance(source, Path) else "upload"))
    suffix = Path(found.name).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{found.name}: files of this kind are not read; give one of {_listed(SUFFIXES)}."
        )
    limit = _MAX_XLSX_BYTES if suffix == ".xlsx" else MAX_FILE_BYTES
    content = content_of(source, found.name, limit)
    found.total = content.n_bytes
    records = _records(found, suffix, content, used, encoding)
    first = next(records, None)
    for column in found.repeated:
        if used is None or plain_name(column) in used:
            found.refuse(None, column, "two columns have this name; rename one.")
    if first is None and not found.problems:
        raise UsageError(f"{found.name}: holds no rows; give a file with at least one question.")
    return RecordReader(found, records if first is None else chain((first,), records))


def _records(
    found: Source,
    suffix: str,
    content: Content,
    used: Collection[str] | None,
    encoding: str | None,
) -> Iterator[Record]:
    """Return the records; nothing but how the bytes are to be read is known before the first."""
    if suffix in _TABLES:
        found.unit, found.encoding = "row", suffix[1:]
        return _TABLES[suffix](found, content, used)
    found.encoding = encoding_of(content, encoding)
    if encoding is not None:
        found.notes.append(f"Read as {found.encoding}.")
    if suffix in (".csv", ".tsv"):
        return csv_records(found, content, "\t" if suffix == ".tsv" else None)
    if suffix == ".json" or _begins_a_list(content, found.encoding):
        return json_records(found, content)
    return jsonl_records(found, content)


def _begins_a_list(content: Content, encoding: str) -> bool:
    with content.open_text(encoding) as text:
        while (part := text.read(_PART_CHARS)).isspace():
            pass
        return part.lstrip().startswith("[")


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
