"""JSON and JSONL to records, piece by piece, with the place of what is wrong.

The standard decoder reads each value, so that numbers, NaN and escapes mean what they do anywhere
else; only the list around the values is never held whole.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, TextIO

from serving.importers.source import ImportFile, Record, position

_CHUNK_CHARS = 1 << 20
_MAX_VALUE_CHARS = 1 << 26
"""A value that is not closed after so many characters is broken."""
_NEAR_END = 32
"""An error this close to the end of what was read may be one of the missing rest."""
_MAY_GO_ON = frozenset({"", *"0123456789.eE+-"})
"""What follows a value that may be cut: nothing, or the rest of a number."""
_SPACE = re.compile(r"[ \t\n\r]*")


class RepeatedKey(ValueError):
    """An object has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(f"has the key {key!r} twice; remove one")
        self.key = key


class Decoder:
    """Decodes JSON values and notices keys that an object has twice."""

    def __init__(self) -> None:
        self.repeated: str | None = None
        """A key that an object of the last value has twice."""
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)
        self.raw_decode = self._decoder.raw_decode

    def decode(self, text: str) -> Any:
        """Return the value of a text.

        Raises:
            ValueError: It is no JSON, or ``RepeatedKey``.
        """
        self.repeated = None
        value = self._decoder.decode(text)
        if self.repeated is not None:
            raise RepeatedKey(self.repeated)
        return value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs) and self.repeated is None:
            counts = Counter(key for key, _ in pairs)
            self.repeated = counts.most_common(1)[0][0]
        return found


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text; ``json.loads`` that refuses a key given twice.

    Raises:
        ValueError: It is no JSON, or ``RepeatedKey``.
    """
    return Decoder().decode(text.decode("utf-8-sig") if isinstance(text, bytes) else text)


class JsonCursor:
    """A place in a JSON text, of which only the value at hand is held."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = Decoder()
        self._text, self._at = "", 0
        self._is_end = False
        self._n_lines = self._n_chars_before = 0
        """Lines dropped, and of the line at hand the characters dropped."""

    def place_of(self, error: Exception) -> tuple[int, int]:
        """Return line and column of an error, both from 1."""
        if not isinstance(error, json.JSONDecodeError):
            return self._n_lines + self._text.count("\n", 0, self._at) + 1, 1
        before = self._n_chars_before if error.lineno == 1 else 0
        return self._n_lines + error.lineno, before + error.colno

    def peek(self) -> str:
        """Return the next character that is no white space; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def take(self, character: str) -> None:
        """Go past a character.

        Raises:
            ValueError: Another one is there.
        """
        if self.peek() != character:
            raise self._wrong(f"Expecting {character!r} delimiter")
        self._at += 1

    def value(self) -> tuple[Any, str | None]:
        """Return the value at hand, and a key that one of its objects has twice.

        Raises:
            ValueError: It is no JSON.
            RecursionError: It is nested too deeply.
        """
        self.peek()
        while True:
            self._decoder.repeated = None
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._is_end or not self._may_go_on(error):
                    raise
            else:
                if self._is_end or self._text[end : end + 1] not in _MAY_GO_ON:
                    self._at = end
                    return value, self._decoder.repeated
            self._read()

    def items(self) -> Iterator[tuple[Any, str | None]]:
        """Yield the values of the list at hand, as ``value`` does.

        Raises:
            ValueError: It is no JSON.
        """
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            self._take_comma("]")
        self.take("]")

    def object_keys(self) -> Iterator[str]:
        """Yield the keys of the object at hand; the caller takes the value of each.

        Raises:
            ValueError: It is no JSON.
        """
        self.take("{")
        while self.peek() != "}":
            if self.peek() != '"':
                raise self._wrong("Expecting property name enclosed in double quotes")
            key, _ = self.value()
            self.take(":")
            yield key
            self._take_comma("}")
        self.take("}")

    def end(self) -> None:
        """Go to the end.

        Raises:
            ValueError: More than white space is left.
        """
        if self.peek():
            raise self._wrong("Extra data")

    def _take_comma(self, closing: str) -> None:
        if self.peek() == closing:
            return
        self.take(",")
        if self.peek() == closing:
            raise self._wrong("Illegal trailing comma")

    def _wrong(self, what: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(what, self._text, self._at)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Tell whether the rest of the text can mend an error."""
        if len(self._text) - self._at > _MAX_VALUE_CHARS:
            return False
        is_open = error.msg.startswith("Unterminated string")
        return is_open or error.pos >= len(self._text) - _NEAR_END

    def _read(self) -> bool:
        """Read on; what lies before the place is dropped. False at the end."""
        n_chars = max(_CHUNK_CHARS, len(self._text) - self._at)  # twice as much with each attempt
        added = self._stream.read(n_chars)
        self._n_lines += self._text.count("\n", 0, self._at)
        last = self._text.rfind("\n", 0, self._at)
        self._n_chars_before = self._at - last - 1 + (self._n_chars_before if last < 0 else 0)
        self._text, self._at = self._text[self._at :] + added, 0
        self._is_end = not added
        return bool(added)


_MAX_LINE_CHARS = 1 << 26
_LINES_A_STEP = 256
"""After so many lines a reader reports how far it is."""


def jsonl_records(source: ImportFile) -> Iterator[Record]:
    """Yield the records of a text with one JSON object a line; broken lines become problems."""
    decoder = Decoder()
    with source.open_text() as stream:
        for number, line in _lines(source, stream):
            try:
                value = decoder.decode(line)
            except (ValueError, RecursionError) as error:
                source.refuse(number, None, _on_a_line(error))
                continue
            record = _record(source, number, value)
            if record is not None:
                yield record


def json_records(source: ImportFile) -> Iterator[Record]:
    """Yield the records of a JSON list, of ``{"data": [...]}``, or of JSONL under another name."""
    if _is_of_lines(source):
        yield from jsonl_records(source)
        return
    with source.open_text() as stream:
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


def _lines(source: ImportFile, stream: TextIO) -> Iterator[tuple[int, str]]:
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


def _is_of_lines(source: ImportFile) -> bool:
    """Tell whether an object stands on the first line, and more lines follow it."""
    with source.open_text() as stream:
        lines = _lines(ImportFile(source.name), stream)
        _, first = next(lines, (0, ""))
        try:
            is_object = first.lstrip().startswith("{") and bool(Decoder().decode(first) or True)
        except (ValueError, RecursionError):
            return False
        return is_object and next(lines, None) is not None


def _items(source: ImportFile, cursor: JsonCursor) -> Iterator[tuple[Any, str | None]]:
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


def _record(source: ImportFile, number: int, value: Any) -> Record | None:
    if isinstance(value, dict):
        return Record(number, value)
    kind = "null" if value is None else type(value).__name__
    source.refuse(number, None, f'holds {kind}; write an object such as {{"instruction": …}}.')
    return None
