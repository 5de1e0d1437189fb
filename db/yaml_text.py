"""YAML that people write: the one loader, which refuses a key that stands twice."""

from pathlib import Path
from typing import Any

import yaml

from db.errors import UsageError


def read_text(path: Path) -> str:
    """Return the text of a file that a person wrote.

    Raises:
        UsageError: The file cannot be read, or is not in UTF-8.
    """
    try:
        return decoded(path.read_bytes(), where=str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check the path.") from None


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
            f"{where}, line {line} is not in UTF-8; save the file in that encoding."
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
        raise UsageError(f"{where} must hold keys and values, such as `name: first`.")
    return {str(key): value for key, value in content.items()}


def parse_yaml(text: str, *, where: str) -> tuple[Any, yaml.Node | None]:
    """Return what a YAML text holds, and its tree with the line of each value.

    Raises:
        UsageError: As of ``load_yaml``.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_repeated(root, where)
        return yaml.safe_load(text), root
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{where}{line} is no YAML; check indentation and colons.") from None
    except (ValueError, RecursionError):  # e.g. a date that no calendar has, or 10,000 brackets
        raise UsageError(
            f"{where} holds a value that YAML cannot read; check dates and brackets."
        ) from None


def _refuse_repeated(root: yaml.Node | None, where: str) -> None:
    """Refuse a key that a mapping has twice; YAML itself would take the last and say nothing."""
    open_nodes, seen = [root], set[int]()
    while open_nodes:
        node = open_nodes.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))  # an alias is the very node that it names
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated_keys(node, where)
            open_nodes += [part for pair in node.value for part in pair]
        else:
            open_nodes += node.value


def _refuse_repeated_keys(node: yaml.MappingNode, where: str) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            raise UsageError(
                f"{where}, line {line}: the key {key.value!r} stands in line {lines[key.value]}"
                " already; remove one of them."
            )
        lines[key.value] = line
