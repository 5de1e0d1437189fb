"""Templates of prompt formats: trusted text with named slots for what people or models wrote."""

from functools import lru_cache
from string import Formatter
from typing import NamedTuple, get_args

from serving.formats.tasks import FieldName

PLACEHOLDERS: tuple[str, ...] = get_args(FieldName)


class Piece(NamedTuple):
    """A part of a template: trusted text, or the name of the field that fills a slot."""

    text: str
    is_field: bool


@lru_cache(maxsize=512)
def parse_template(template: str) -> tuple[Piece, ...]:
    """Split ``template`` into literal text and slots; ``{{`` and ``}}`` are literal braces.

    Raises:
        ValueError: A placeholder is unknown or malformed; the message names it.
    """
    pieces: list[Piece] = []
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for braces that are text") from error
    for literal, name, spec, conversion in parsed:
        if literal:
            pieces.append(Piece(literal, is_field=False))
        if name is None:
            continue
        if name not in PLACEHOLDERS or spec or conversion:
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise ValueError(
                f"unknown placeholder {{{written}}}; use one of {known}, "
                "or write {{ and }} for braces that are text"
            )
        pieces.append(Piece(name, is_field=True))
    return tuple(pieces)


def field_names(template: str) -> list[str]:
    """Return the fields that ``template`` holds, in order, with repetitions."""
    return [piece.text for piece in parse_template(template) if piece.is_field]


def without_empty_context(template: str) -> str:
    """Return ``template`` without the paragraphs that hold ``{context}``.

    A paragraph ends at a blank line. This is how a chat format says nothing of a context where
    the question has none.
    """
    paragraphs = template.split("\n\n")
    return "\n\n".join(part for part in paragraphs if "context" not in field_names(part))
