"""JSON text piece by piece: one value after the other, with the place of what is wrong.

The standard decoder reads each value, so that numbers, NaN and escapes mean what they do anywhere
else; only the list around the values is never held whole.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, TextIO

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
