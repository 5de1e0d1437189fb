"""What people type and write: plain texts, YAML files and the numbers in them."""

import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, StrictFloat

from db.errors import UsageError


def read_text(path: Path) -> str:
    """Return the text of a file that a person wrote.

    Raises:
        UsageError: The file cannot be read, or is not in UTF-8.
    """
    try:
        return decoded(path.read_bytes(), where=str(path))
    except OSError as error:
        raise UsageError(
            "{path} cannot be read ({error}); check the path.", path=path, error=error.strerror
        ) from None


def decoded(data: bytes, *, where: str) -> str:
    """Return the text of bytes in UTF-8, with line feeds alone at the ends of its lines.

    Raises:
        UsageError: They are not UTF-8; the sentence names the line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            "{where}, line {line} is not in UTF-8; save the file in that encoding.",
            where=where,
            line=line,
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def load_yaml(text: str, *, where: str) -> Any:
    """Return what a YAML text holds.

    Args:
        text: The text.
        where: What it is, as sentences name it: a path, or ``The spec``.

    Raises:
        UsageError: It is no YAML, or a mapping has a key twice; the sentence names the line.
    """
    return parse_yaml(text, where=where)[0]


def load_mapping(text: str, *, where: str) -> dict[str, Any]:
    """Return the keys and values of a YAML text.

    Raises:
        UsageError: As of ``load_yaml``, or it holds something else.
    """
    content = load_yaml(text, where=where)
    if not isinstance(content, dict):
        raise UsageError("{where} must hold keys and values, such as `name: first`.", where=where)
    return {str(key): value for key, value in content.items()}


def parse_yaml(text: str, *, where: str) -> tuple[Any, yaml.Node | None]:
    """Return what a YAML text holds, and its tree with the line of each value.

    Raises:
        UsageError: As of ``load_yaml``.
    """
    try:
        loader = _Loader(text, where)
        root = loader.get_single_node()
        return None if root is None else loader.construct_document(root), root
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(
            "{where}{line} is no YAML; check indentation and colons.", where=where, line=line
        ) from None
    except (ValueError, RecursionError):  # e.g. a date that no calendar has, or 10,000 brackets
        raise UsageError(
            "{where} holds a value that YAML cannot read; check dates and brackets.", where=where
        ) from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice; YAML itself would take the last and say nothing."""

    def __init__(self, text: str, where: str) -> None:
        super().__init__(text)
        self._where = where

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping whose keys are all different."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise UsageError(
                    "{where}, line {line}: the key {key_value!r} stands in line"
                    " {lines} already; remove one of them.",
                    where=self._where,
                    line=line,
                    key_value=key.value,
                    lines=lines[key.value],
                )
            lines[key.value] = line
        return node


MAX_TEXT_CHARS = 200_000
"""Longest text of one field; longer ones are refused, not cut."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def plain(text: str) -> tuple[str, int]:
    """Return ``text`` without control characters and outer white space, and how many went.

    Lines end with a line feed alone; tabs stay.
    """
    if text.isprintable():  # most texts are, and a million of them is looked at
        return text.strip(), 0
    clean, n_removed = _CONTROL.subn("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return clean.strip(), n_removed


def problem_of(text: str) -> str | None:
    """Say why ``text`` cannot be stored, and what to do; None where it can."""
    if len(text) > MAX_TEXT_CHARS:
        return (
            f"has {len(text):,} characters; at most {MAX_TEXT_CHARS:,} are taken. "
            "Shorten it or split it into several rows."
        )
    half = None if text.isascii() else _SURROGATE.search(text)
    if half:
        return (
            f"holds half a character (\\u{ord(half.group()):04x}); write it in full or remove it."
        )
    return None


_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


def _with_exponent(value: Any) -> Any:
    """Read ``2e-4``, which YAML 1.1 takes for a text since it has no point."""
    is_number = isinstance(value, str) and _EXPONENT.fullmatch(value)
    return float(value) if is_number else value


Number = Annotated[StrictFloat, BeforeValidator(_with_exponent), Field(allow_inf_nan=False)]
"""A finite number; ``true`` and texts are none. Whole numbers are pydantic's ``StrictInt``."""
