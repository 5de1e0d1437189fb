"""JSON and JSONL to records."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, TextIO

from serving.importers.content import Content, position
from serving.importers.json_stream import Decoder, JsonCursor, RepeatedKey
from serving.importers.source import Record, Source

_MAX_LINE_CHARS = 1 << 26
_LINES_A_STEP = 256
"""After so many lines a reader reports how far it is."""


def jsonl_records(source: Source, content: Content) -> Iterator[Record]:
    """Yield the records of a text with one JSON object a line; broken lines become problems."""
    decoder = Decoder()
    with content.open_text(source.encoding) as stream:
        for number, line in _lines(source, stream):
            try:
                value = decoder.decode(line)
            except (ValueError, RecursionError) as error:
                source.refuse(number, None, _on_a_line(error))
                continue
            record = _record(source, number, value)
            if record is not None:
                yield record


def json_records(source: Source, content: Content) -> Iterator[Record]:
    """Yield the records of a JSON list, of ``{"data": [...]}``, or of JSONL under another name."""
    if _is_of_lines(content, source.encoding):
        yield from jsonl_records(source, content)
        return
    with content.open_text(source.encoding) as stream:
        cursor = JsonCursor(stream)
        try:
            for number, (value, repeated) in enumerate(_items(source, cursor), start=1):
                if not number % _LINES_A_STEP:
                    source.done = position(stream)
                if repeated is not None:
                    source.refuse(number, repeated, "stands in one object twice; remove one.")
                    continue
                record = _record(source, number, value)
                if record is not None:
                    yield record
        except _NoList:
            source.refuse(None, None, 'holds no list; write [{"instruction": …}, …].')
        except (ValueError, RecursionError) as error:
            line, column = cursor.place_of(error)
            what = f"{_reason(error, column)}, line {line}; correct it there and import again."
            source.refuse(None, None, what)


def _lines(source: Source, stream: TextIO) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold something, each with its number."""
    read = partial(stream.readline, _MAX_LINE_CHARS)
    is_too_long = False
    number = 0
    for line in iter(read, ""):
        is_rest, is_too_long = is_too_long, len(line) == _MAX_LINE_CHARS and line[-1] != "\n"
        if is_rest:
            continue
        number += 1
        if not number % _LINES_A_STEP:
            source.done = position(stream)
        if is_too_long:
            source.refuse(number, None, "has more than 64 million characters; split it.")
        elif not line.isspace():
            yield number, line


def _is_of_lines(content: Content, encoding: str) -> bool:
    """Tell whether an object stands on the first line, and more lines follow it."""
    with content.open_text(encoding) as stream:
        lines = _lines(Source(content.name), stream)
        _, first = next(lines, (0, ""))
        try:
            is_object = first.lstrip().startswith("{") and bool(Decoder().decode(first) or True)
        except (ValueError, RecursionError):
            return False
        return is_object and next(lines, None) is not None


def _items(source: Source, cursor: JsonCursor) -> Iterator[tuple[Any, str | None]]:
    """Yield the objects of a text and, with each, a key that it has twice.

    Raises:
        ValueError: The text is no JSON.
        _NoList: It is neither a list nor an object.
    """
    first = cursor.peek()
    if first == "[":
        source.unit = "item"
        yield from cursor.items()
    elif first == "{":
        source.unit = "item"
        yield from _of_object(cursor)
    else:
        cursor.value()
        raise _NoList
    cursor.end()


def _of_object(cursor: JsonCursor) -> Iterator[tuple[Any, str | None]]:
    """Yield what the list ``data`` of an object holds; without one, the object itself."""
    found: dict[str, Any] = {}
    repeated: str | None = None
    has_data = False
    for key in cursor.object_keys():
        repeated = repeated or (key if key in found else None)
        if key == "data" and cursor.peek() == "[" and not has_data:
            has_data, found[key] = True, None
            yield from cursor.items()
        else:
            found[key], inner = cursor.value()
            repeated = repeated or inner
    if not has_data or repeated is not None:
        yield found, repeated


class _NoList(Exception):
    """A JSON text holds neither a list nor an object."""


def _on_a_line(error: Exception) -> str:
    if isinstance(error, RepeatedKey):
        return f"{error}."
    column = error.colno if isinstance(error, json.JSONDecodeError) else 0
    return f"{_reason(error, column)}; write one JSON object on each line."


def _reason(error: Exception, column: int) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no valid JSON ({error.msg}, column {column})"
    if isinstance(error, RecursionError):
        return "no valid JSON (nested too deeply)"
    return "holds a number of thousands of digits, which must be a text in quotes"


def _record(source: Source, number: int, value: Any) -> Record | None:
    if isinstance(value, dict):
        return Record(number, value)
    kind = "null" if value is None else type(value).__name__
    source.refuse(number, None, f'holds {kind}; write an object such as {{"instruction": …}}.')
    return None
