"""JSON and JSONL to records, OpenAI batch requests and chat rows included."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, TextIO

from serving.importers.content import Content, position
from serving.importers.json_stream import Decoder, JsonCursor, RepeatedKey
from serving.importers.source import Record, Source

_BATCH_KEYS = ("body", "messages")
_MAX_LINE_CHARS = 1 << 26
_LINES_A_STEP = 256
"""After so many lines a reader reports how far it is."""


def jsonl_records(source: Source, content: Content, *, chats: bool = True) -> Iterator[Record]:
    """Yield the records of a text with one JSON object a line; broken lines become problems.

    With ``chats``, rows of messages and batch requests become one question each; without, they
    stay as they are.
    """
    decoder = Decoder()
    with content.open_text(source.encoding) as stream:
        for number, line in _lines(source, stream):
            try:
                value = decoder.decode(line)
            except (ValueError, RecursionError) as error:
                source.refuse(number, None, _on_a_line(error))
                continue
            record = _record(source, number, value, chats=chats)
            if record is not None:
                yield record


def json_records(source: Source, content: Content, *, chats: bool = True) -> Iterator[Record]:
    """Yield the records of a JSON list, of ``{"data": [...]}``, or of JSONL under another name.

    ``chats`` as in ``jsonl_records``.
    """
    if _is_of_lines(content, source.encoding):
        yield from jsonl_records(source, content, chats=chats)
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
                record = _record(source, number, value, chats=chats)
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


def _record(source: Source, number: int, value: Any, *, chats: bool) -> Record | None:
    if not isinstance(value, dict):
        kind = "null" if value is None else type(value).__name__
        source.refuse(number, None, f'holds {kind}; write an object such as {{"instruction": …}}.')
        return None
    if not chats:
        return Record(number, value)
    if "custom_id" in value and "response" in value and "body" not in value:
        source.refuse(
            number, None, "is the output of a batch; import the file with the requests instead."
        )
        return None
    if any(key in value for key in _BATCH_KEYS):
        return _chat_record(source, number, value)
    return Record(number, value)


def _chat_record(source: Source, number: int, value: dict[str, Any]) -> Record | None:
    """Return the record of a batch request or a chat row: one user message, at most one of each."""
    body = value.get("body", value)
    rest = {key: one for key, one in value.items() if key not in ("body", "messages")}
    for used in ("method", "url") if "body" in value else ():
        rest.pop(used, None)
    if not isinstance(body, dict):
        source.refuse(number, "body", "holds no object; give the request.")
        return None
    if "messages" not in body:
        text = body.get("prompt", body.get("input"))
        return Record(number, {**rest, "instruction": text, "input": body.get("instructions")})
    said: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    messages = body["messages"] if isinstance(body["messages"], list) else []
    for message in messages:
        speaker = message.get("role") if isinstance(message, dict) else None
        content = _content(message.get("content")) if isinstance(message, dict) else None
        speaker = "system" if speaker == "developer" else speaker
        if speaker not in said or content is None:
            source.refuse(
                number,
                "messages",
                "holds a message without text or from someone else than system, user, assistant; "
                "remove it.",
            )
            return None
        said[speaker].append(content)
    if len(said["user"]) != 1 or len(said["system"]) > 1 or len(said["assistant"]) > 1:
        source.refuse(
            number,
            "messages",
            f"holds {len(messages)} messages; a question needs exactly one user message, with at "
            "most one system and one assistant message.",
        )
        return None
    columns = {"instruction": "user", "input": "system", "output": "assistant"}
    found = {column: said[speaker][0] for column, speaker in columns.items() if said[speaker]}
    return Record(number, {**rest, **found})


def _content(content: Any) -> str | None:
    """Return the text of a message; None where it holds anything else, such as an image."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(map(str, parts))
    return None
