"""Files to records and rows: finds out what a file is and how it is encoded, and reads it."""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from db.errors import UsageError
from db.tables.library import ROLES
from serving.importers.documents import json_records, jsonl_records
from serving.importers.encoding import encoding_of
from serving.importers.fields import NAMES, is_held_out
from serving.importers.parsed_row import LeftOut
from serving.importers.rows import RowMaker
from serving.importers.source import ImportFile, ImportRow, Record
from serving.importers.tables import arrow_records, csv_records, parquet_records
from serving.importers.unwrap import Unwrapper
from serving.importers.workbooks import xlsx_records

MAX_FILE_BYTES = 16 << 30
"""Larger files are refused; all kinds but XLSX are read piece by piece."""
_MAX_XLSX_BYTES = 512 << 20
_READERS: dict[str, Callable[[ImportFile], Iterator[Record]]] = {
    ".csv": csv_records,
    ".tsv": csv_records,
    ".jsonl": jsonl_records,
    ".ndjson": jsonl_records,
    ".json": json_records,
    ".xlsx": xlsx_records,
    ".parquet": parquet_records,
    ".arrow": arrow_records,
}
SUFFIXES = tuple(_READERS)
"""Kinds of files that can be imported."""
TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_ROWS_BEFORE_A_QUESTION = 1_000
"""A file that has no column for the question in so many rows has none."""
_PART_CHARS = 1 << 12
_NAMED_HELD_OUT = (
    "The file is named as a split that never trains; its questions may train unless a column"
    " held_out or split says otherwise. `q2q dataset import` holds such files out."
)


def read_rows(
    given: Path | bytes,
    *,
    name: str | None = None,
    roles: Collection[str] = ROLES,
    encoding: str | None = None,
) -> ImportFile:
    """Read a file of questions, or the bytes of an uploaded file called ``name``, whole.

    Good rows and problems are kept apart; whether a problem stops everything is the importer's
    choice. ``roles`` are the names that ``flag`` may have; ``encoding`` as in ``read_records``.

    Raises:
        UsageError: The file as a whole cannot be read; the sentence says what to do.
    """
    source = stream_rows(given, name=name, roles=roles, encoding=encoding)
    source.rows = list(source.rows)
    return source


def stream_rows(
    given: Path | bytes,
    *,
    name: str | None = None,
    roles: Collection[str] = ROLES,
    encoding: str | None = None,
    renamed: Mapping[str, str] | None = None,
) -> ImportFile:
    """Return the same, whose rows are read as they are asked for; only then errors are raised.

    ``renamed`` says what columns stand for, whatever they are called: column → field, or
    ``KEPT`` for one that is to be kept as it is.
    """
    source = _source(given, name, NAMES)
    maker = RowMaker(
        source,
        Unwrapper.builtin(),
        roles,
        renamed=renamed,
        takes_judgements=False,
    )
    source.rows = _questions(source, rows_by(maker, encoding))
    return source


def columns_of(given: Path | bytes, name: str | None = None, n_rows: int = 20) -> list[str]:
    """Return the columns of the first rows of a file; none where it cannot be read as it is."""
    try:
        source = read_records(given, name=name)
        found = dict.fromkeys(one for row in islice(source.records, n_rows) for one in row.values)
    except UsageError:
        return []  # reading the rows says why
    return list(found)


def _questions(source: ImportFile, rows: Iterator[ImportRow]) -> Iterator[ImportRow]:
    may_train = False
    for row in rows:
        may_train = may_train or row.held_out is None
        yield row
    if may_train and is_held_out(Path(source.name).stem):
        source.notes.append(_NAMED_HELD_OUT)


def rows_by(maker: RowMaker, encoding: str | None = None) -> Iterator[ImportRow]:
    """Yield the rows that ``maker`` makes of its file.

    Raises:
        UsageError: As of ``read_records``; or no column can be the question.
    """
    source = maker.source
    open_records(source, encoding)
    number = 0
    for number, record in enumerate(source.records, start=1):
        if number == _ROWS_BEFORE_A_QUESTION:
            maker.must_ask()
        try:
            yield from maker.rows(record)
        except LeftOut as left_out:
            source.left_out[str(left_out)] += 1
    if number:
        maker.must_ask()
    maker.finish()


def read_records(
    given: Path | bytes,
    *,
    name: str | None = None,
    used: Collection[str] | None = None,
    encoding: str | None = None,
) -> ImportFile:
    """Return a file with its records before any field is understood, read as they are asked for.

    Args:
        given: The file, or its bytes.
        name: What an uploaded file is called.
        used: Names of the columns that matter, as ``plain_name`` has them; None: all do. Where two
            columns have one such name, that is a problem of the file.
        encoding: What a text that is not UTF-8 is to be read as.

    Raises:
        EncodingGuessed: A text is not UTF-8 and ``encoding`` is None.
        UsageError: The file as a whole cannot be read, or it is empty. Taking records raises it
            too, where a file is damaged further down.
    """
    source = _source(given, name, used)
    open_records(source, encoding)
    return source


def open_records(source: ImportFile, encoding: str | None = None) -> None:
    """Begin to read a file, as ``read_records`` does."""
    if source.suffix not in _READERS:
        raise UsageError(
            "{source_name}: files of this kind are not read; give one of {suffixes}.",
            source_name=source.name,
            suffixes=", ".join(SUFFIXES),
        )
    source.measure(_MAX_XLSX_BYTES if source.suffix == ".xlsx" else MAX_FILE_BYTES)
    read = _READERS[source.suffix]
    if source.suffix in TEXT_SUFFIXES:
        source.encoding = encoding_of(source, encoding)
        if encoding is not None:
            source.notes.append(f"Read as {source.encoding}.")
        if read is jsonl_records and _begins_a_list(source):
            read = json_records
    else:
        source.unit, source.encoding = "row", source.suffix[1:]
    records = read(source)
    first = next(records, None)
    for column in filter(source.uses, source.repeated):
        source.refuse(None, column, "two columns have this name; rename one.")
    if first is None and not source.problems:
        raise UsageError(
            "{source_name}: holds no rows; give a file with at least one question.",
            source_name=source.name,
        )
    source.records = _noting_columns(source, records if first is None else chain((first,), records))


def _source(given: Path | bytes, name: str | None, used: Collection[str] | None) -> ImportFile:
    return ImportFile(name or (given.name if isinstance(given, Path) else "upload"), given, used)


def _noting_columns(source: ImportFile, records: Iterator[Record]) -> Iterator[Record]:
    columns: dict[str, None] = {}
    for record in records:
        if not columns.keys() >= record.values.keys():
            columns.update(dict.fromkeys(record.values))
            source.columns = list(columns)
        yield record


def _begins_a_list(source: ImportFile) -> bool:
    with source.open_text() as text:
        while (part := text.read(_PART_CHARS)).isspace():
            pass
        return part.lstrip().startswith("[")
