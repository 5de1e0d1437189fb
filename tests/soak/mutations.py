"""Files spoilt at random, as editors, downloads, spreadsheets and people spoil them."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import yaml

ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1.5, 1e300, 10**30, -(2**63), float("nan"), float("inf")),
    *("", " ", "x", "true", "1e400", "2024-13-45", "0001-01-01T00:00:00+09:00", "9999-99-99"),
    *("\ud800", "\x00", "\u2028", "=1+1", "../../etc/passwd", "<think>", "a" * 70_000),
    *([], {}, [[]], [None], {"a": {"b": []}}, ["x"] * 300),
)
"""Values that stand where others belong."""
ENCODINGS = ("utf-16", "utf-32", "cp932", "latin-1", "utf-7", "utf-8-sig", "euc_kr", "iso2022_jp")
DEEP = 3_000


def flipped(data: bytes, draw: Random) -> bytes:
    """Change a few bytes."""
    spoilt = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        if spoilt:
            spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
    return bytes(spoilt)


def cut(data: bytes, draw: Random) -> bytes:
    """Lose the end, or the beginning."""
    at = draw.randint(0, len(data))
    return data[:at] if draw.random() < 0.8 else data[at:]


def inserted(data: bytes, draw: Random) -> bytes:
    """Gain something in the middle."""
    parts = (
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b'"',
        b"'",
        b"{",
        b"]",
        b"\t",
        b"\r",
        b"%",
        b"&a *a",
    )
    part = draw.choice((*parts, b"[" * DEEP, b'{"a":' * DEEP, b"9" * 5_000, draw.randbytes(20)))
    at = draw.randint(0, len(data))
    return data[:at] + part + data[at:]


def lines_moved(data: bytes, draw: Random) -> bytes:
    """Double, drop or move lines, or end them in another way."""
    lines = data.split(b"\n")
    which, at = draw.randrange(5), draw.randrange(len(lines))
    if which == 0:
        lines.insert(at, lines[draw.randrange(len(lines))])
    elif which == 1:
        del lines[at]
    elif which == 2:
        draw.shuffle(lines)
    return draw.choice((b"\r\n", b"\r", b"\n\n")).join(lines) if which > 2 else b"\n".join(lines)


def encoded(data: bytes, draw: Random) -> bytes:
    """Write the text in another encoding."""
    text = data.decode("utf-8", "replace")
    return text.encode(draw.choice(ENCODINGS), "replace")


def value_changed(data: bytes, draw: Random) -> bytes:
    """Put an odd value, or none, in the place of one of a JSON or YAML text."""
    lines = data.split(b"\n")
    try:
        if data.lstrip()[:1] == b"{" and len(lines) > 1:  # a JSON object on each line
            at = draw.randrange(len(lines))
            lines[at] = _json(_changed(json.loads(lines[at]), draw))
            return b"\n".join(lines)
        if data.lstrip()[:1] in b"[{":
            return _json(_changed(json.loads(data), draw))
        return yaml.safe_dump(_changed(yaml.safe_load(data), draw), allow_unicode=True).encode()
    except (ValueError, yaml.YAMLError, RecursionError):
        return flipped(data, draw)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _changed(value: Any, draw: Random) -> Any:
    """Return ``value`` with one part of it changed."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        if draw.random() < 0.15:
            return {name: part for name, part in value.items() if name != key}
        if draw.random() < 0.1:
            return {**value, draw.choice(("", "x", "n" * 500, f"{key} ", "id")): draw.choice(ODD)}
        return {**value, key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        at = draw.randrange(len(value))
        return [*value[:at], _changed(value[at], draw), *value[at + 1 :]]
    return draw.choice(ODD)


TEXT: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(value_changed, value_changed, value_changed, flipped, cut, inserted, lines_moved, encoded),
)
BINARY: tuple[Callable[[bytes, Random], bytes], ...] = (flipped, cut, inserted)


def spoilt(data: bytes, draw: Random, *, is_text: bool) -> bytes:
    """Return ``data`` after one to three mutations."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        data = draw.choice(TEXT if is_text else BINARY)(data, draw)
    return data
