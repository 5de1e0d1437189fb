"""Sentences that keep their English template and values, so that they can be translated."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

_PARTED_BY = "\x1f"
"""Between a stored sentence and what it is made of; no text from people holds this character."""


class Message(str):
    """A sentence in English that knows its template and the values in it.

    It is text like any other. What is cut from it or put around it is plain text again: give it
    as a value of another message instead. Columns of type ``MessageText`` keep all of it.
    """

    template: str
    """Empty for a line of messages, which are the values."""
    values: Mapping[str, object]
    """By their names in the template; may be messages, or errors that carry one."""

    def __new__(cls, template: str = "", /, **values: object) -> "Message":
        """Say ``template`` with ``values`` in its braces; without any it is taken as it is."""
        if isinstance(template, Message) and not values:
            return template
        text = template.format(**values) if values else template
        return cls._made(text, template, values)

    @classmethod
    def line(cls, parts: Iterable[str]) -> "Message":
        """Return messages with commas between them as one."""
        values = {str(place): part for place, part in enumerate(parts)}
        return cls._made(", ".join(values.values()), "", values)

    @classmethod
    def read(cls, stored: str) -> str:
        """Return what ``store`` gave; a text that it did not give stays as it is."""
        text, parted, packed = stored.partition(_PARTED_BY)
        if not parted:
            return stored
        try:
            template, values = json.loads(packed)
            return cls._made(text, template, {k: _unpacked(v) for k, v in values.items()})
        except (ValueError, TypeError, AttributeError):
            return stored

    def __str__(self) -> str:
        """Return the message itself, of which a copy would be plain text."""
        return self

    def store(self) -> str:
        """Return the sentence followed by what it is made of, if by anything."""
        made_of = json.dumps(_packed(self), ensure_ascii=False) if self.values else ""
        return self + (made_of and _PARTED_BY + made_of)

    @classmethod
    def _made(cls, text: str, template: str, values: Mapping[str, object]) -> "Message":
        made = super().__new__(cls, text)
        made.template, made.values = template, values
        return made


def time_left(seconds: float) -> Message:
    """Return seconds as people say them: 40 s, 3 min, 1 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return Message("{n:.0f} s", n=seconds)
    if minutes < 90:
        return Message("{n:.0f} min", n=minutes)
    return Message("{h} h {m} min", h=minutes // 60, m=minutes % 60)


def _packed(message: Message) -> list[Any]:
    """Return a message as JSON: its template and its values, numbers as such."""
    return [message.template, {name: _pack(value) for name, value in message.values.items()}]


def _pack(value: object) -> Any:
    if isinstance(value, int | float | None):
        return value
    text = str(value)  # of an error, and of what else shows itself as one: its message
    return [text, *_packed(text)] if isinstance(text, Message) else text


def _unpacked(value: Any) -> object:
    if not isinstance(value, list):
        return value
    text, template, values = value
    return Message._made(text, template, {k: _unpacked(v) for k, v in values.items()})
