"""Questions with choices: these stand in the context, and the right one is the reference answer."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from serving.importers.fields import FieldMap, RowFields, is_blank, plain_name, written
from serving.importers.parsed_row import Refused

_RESULTS = ("answer", "final_answer", "solution")
"""Columns that may hold the letter or number of a choice."""
_LABELS = ("label", "key", "id")
_TEXTS = ("text", "value", "content")


def with_choices(row: RowFields, fields: FieldMap) -> RowFields:
    """Return a row with its choices in its context; a row without choices as it is.

    Raises:
        Refused: The key names none of the choices.
    """
    filled = row.filled("choices")
    choices = _choices_of(row.values[filled[0]]) if filled and row.filled("text") else {}
    if len(choices) < 2:
        return row
    key = _key_of(row, choices)
    left_out = {filled[0], *([] if key is None else [key])}
    values = {name: value for name, value in row.values.items() if name not in left_out}
    listed = "\n".join(f"{label}. {text}" for label, text in choices.items())
    context = row.column("context") or "context"
    given = values.get(context)
    values[context] = listed if is_blank(given) else f"{given}\n\n{listed}"
    label = None if key is None else _label_of(row.values[key], choices)
    if label is not None and not row.filled("reference_answer"):
        values[row.column("reference_answer") or "reference_answer"] = f"{label}. {choices[label]}"
    return RowFields(values, fields.columns(tuple(values)))


def _choices_of(value: Any) -> dict[str, str]:
    """Return label → text; empty where a value lists no choices."""
    if isinstance(value, Mapping):
        texts, labels = value.get("text"), value.get("label")
        if isinstance(texts, Sequence) and isinstance(labels, Sequence):
            return dict(zip(map(written, labels), map(written, texts), strict=False))
        pairs = [(str(label), text) for label, text in value.items() if isinstance(text, str)]
        return dict(pairs) if len(pairs) == len(value) else {}
    if not isinstance(value, (list, tuple)) or len(value) > len(ascii_uppercase):
        return {}
    if all(isinstance(one, Mapping) for one in value):
        return {_first(one, _LABELS): _first(one, _TEXTS) for one in value}
    if any(isinstance(one, (Mapping, list, tuple)) for one in value):
        return {}
    return dict(zip(ascii_uppercase, map(written, value), strict=False))


def _first(one: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((written(one[name]) for name in names if not is_blank(one.get(name))), "")


def _key_of(row: RowFields, choices: Mapping[str, str]) -> str | None:
    """Return the column that says which choice is right.

    Raises:
        Refused: It names none of them.
    """
    for column in row.filled("key"):
        if _label_of(row.values[column], choices) is None:
            shown = written(row.values[column])[:40]
            raise Refused(column, f"is {shown!r}, which is none of the choices; correct it.")
        return column
    for column in row.filled("output"):
        if plain_name(column) in _RESULTS and _label_of(row.values[column], choices) is not None:
            return column
    return None


def _label_of(value: Any, choices: Mapping[str, str]) -> str | None:
    """Return the label that a letter, or a number from 0, stands for."""
    labels = list(choices)
    word = written(value).strip().rstrip(".)")
    if word in choices:
        return word
    if word.upper() in choices:
        return word.upper()
    return labels[int(word)] if word.isdecimal() and int(word) < len(labels) else None
