"""``--encoding`` of the commands that read files, and the sentence that asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from db.errors import UsageError
from serving.importers.encoding import EncodingGuessed

Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", help="Read files that are not UTF-8 as this, e.g. cp932; never guessed."
    ),
]


@contextmanager
def naming_encoding_option() -> Iterator[None]:
    """Let a file whose encoding can only be guessed say how the guess is confirmed."""
    try:
        yield
    except EncodingGuessed as guessed:
        best = guessed.candidates[0].encoding
        raise UsageError(f"{guessed} If it reads well, add --encoding {best}.") from guessed
