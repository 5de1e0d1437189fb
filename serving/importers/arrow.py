"""Parquet and Arrow files to records."""

import json
from collections.abc import Iterator
from typing import Any

from db.errors import UsageError
from serving.importers.content import MAX_UNPACKED_BYTES, Content, too_large, unreadable
from serving.importers.source import Record, Source, repeated_names

_ROWS_A_STEP = 1024


def parquet_records(source: Source, content: Content) -> Iterator[Record]:
    """Yield the records of a Parquet file, a part of a row group at a time."""
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
            yield from _records(source, file.iter_batches(batch_size=_ROWS_A_STEP))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(source.name, "Parquet file") from error


def arrow_records(source: Source, content: Content) -> Iterator[Record]:
    """Yield the rows of a file that ``datasets`` saved: an Arrow stream."""
    import pyarrow as pa

    try:
        with content.open() as raw, pa.ipc.open_stream(raw) as stream:
            source.repeated = repeated_names(stream.schema.names)
            source.class_names |= _class_names(stream.schema)
            yield from _records(source, stream)
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


def _records(source: Source, batches: Any) -> Iterator[Record]:
    line = 0
    for batch in batches:
        for row in batch.to_pylist():
            line += 1
            yield Record(line, row)
        source.done = line
