"""Parquet and Arrow files to records."""

import json
from collections.abc import Collection, Iterator
from typing import Any

from db.errors import UsageError
from serving.importers.content import MAX_UNPACKED_BYTES, Content, too_large, unreadable
from serving.importers.fields import plain_name
from serving.importers.source import Record, Source, repeated_names

_ROWS_A_STEP = 1024
_NO_TEXT = object()
"""Stands for bytes that are not UTF-8."""


def parquet_records(
    source: Source, content: Content, used: Collection[str] | None
) -> Iterator[Record]:
    """Yield the records of a Parquet file, a part of a row group at a time.

    Bytes that are no text refuse their row where their column is one of ``used`` (None: all are).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with content.open() as raw, pq.ParquetFile(raw) as file:
            groups = range(file.metadata.num_row_groups)
            sizes = [file.metadata.row_group(group).total_byte_size for group in groups]
            if max(sizes, default=0) > MAX_UNPACKED_BYTES:
                raise too_large(source.name, max(sizes))
            source.repeated = repeated_names(file.schema_arrow.names)
            source.class_names |= _class_names(file.schema_arrow)
            source.total = file.metadata.num_rows
            yield from _records(source, file.iter_batches(batch_size=_ROWS_A_STEP), used)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(source.name, "Parquet file") from error


def arrow_records(
    source: Source, content: Content, used: Collection[str] | None
) -> Iterator[Record]:
    """Yield the rows of a file that ``datasets`` saved, an Arrow stream; ``used`` as of Parquet."""
    import pyarrow as pa

    try:
        with content.open() as raw, pa.ipc.open_stream(raw) as stream:
            source.repeated = repeated_names(stream.schema.names)
            source.class_names |= _class_names(stream.schema)
            yield from _records(source, stream, used)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"{source.name}: is no Arrow file of `datasets`; save it again."
        ) from error


def _class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Return column → names of its classes, as `datasets` notes them beside the schema."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        str(column): tuple(map(str, feature["names"]))
        for column, feature in (features.items() if isinstance(features, dict) else ())
        if isinstance(feature, dict) and isinstance(feature.get("names"), list)
    }


def _records(source: Source, batches: Any, used: Collection[str] | None) -> Iterator[Record]:
    line = 0
    for batch in batches:
        names = [one for one in batch.schema.names if _is_used(one, used)]
        has_bytes = any("binary" in str(one.type) for one in batch.schema if one.name in names)
        for row in _rows(batch):
            line += 1
            if has_bytes:
                row |= {name: _as_text(row[name]) for name in names}
            wrong = [name for name in names if row[name] is _NO_TEXT]
            if wrong:
                source.refuse(line, wrong[0], "holds bytes that are not UTF-8; correct them.")
            else:
                yield Record(line, row)
        source.done = line


def _is_used(column: str, used: Collection[str] | None) -> bool:
    return used is None or plain_name(column) in used


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch; a text that is not UTF-8 is ``_NO_TEXT``."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        columns = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
        for index in range(batch.num_rows):
            yield {name: _cell(column[index]) for name, column in columns.items()}


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return _NO_TEXT


def _as_text(value: Any) -> Any:
    """Return a value whose bytes are texts; ``_NO_TEXT`` where some are not UTF-8."""
    try:
        return _decoded(value)
    except UnicodeDecodeError:
        return _NO_TEXT


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if isinstance(value, dict):
        return {name: _decoded(one) for name, one in value.items()}
    return value
