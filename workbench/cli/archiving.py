"""``archive`` and ``restore`` of every noun that has them, ``--archived``; ``question take``."""

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError
from db.identity import number_in
from db.questions import take_into_pool
from db.store.archive import TABLES, ArchiveKind, archive, restore
from db.store.migrate import open_home
from workbench.cli.output import Json, show_done
from workbench.cli.typer_app import CommandGroup

Archived = Annotated[bool, typer.Option("--archived", help="List what is archived instead.")]
Find = Callable[[Session, str], Any]
"""Returns the row, with its ``id``, that a person means by a name."""
_LETTERS = {"question": "q", "dataset": "d", "run": "t", "model": "m"}


def add_archive_commands(
    app: CommandGroup, kind: ArchiveKind, example: str, *, find: Find | None = None
) -> None:
    """Give a group the commands ``archive`` and ``restore``.

    Args:
        app: The group of the noun.
        kind: What its things are.
        example: Of an archive command, without ``q2q``; its last words are what is archived.
        find: Finds one by its name, where things of the kind have names of their own.
    """
    what = f"Ids or ranges of them, e.g. 4 or 3-9{', or names' if find else ''}."
    References = Annotated[list[str], typer.Argument(help=what)]

    def archive_(things: References, as_json: Json = False) -> None:
        _change(kind, things, find, as_json, restores=False)

    def restore_(things: References, as_json: Json = False) -> None:
        _change(kind, things, find, as_json, restores=True)

    noun = "training run" if kind == "run" else kind
    archive_.__doc__ = (
        f"Put {noun}s out of all lists; what they hold and what points at them stays.\n\n"
        f"    Example:\n      q2q {example}\n    "
    )
    restore_.__doc__ = (
        f"Bring archived {noun}s back into the lists.\n\n"
        f"    Example:\n      q2q {example.replace(' archive ', ' restore ')}\n    "
    )
    app.as_command("archive")(archive_)
    app.as_command("restore")(restore_)


def take(
    questions: Annotated[list[str], typer.Argument(help="Ids or ranges of them, e.g. 4 or 3-9.")],
    as_json: Json = False,
) -> None:
    """Take questions that dialogues brought up into the pool, so that "all questions" means them.

    Example:
      q2q question list --proposed
      q2q question take 3-9 q12
    """
    with open_home() as (_, database), database.write() as session:
        ids = ids_of(session, "question", questions)
        n_taken = take_into_pool(session, ids)
    show_done(f"{n_taken:,} taken into the pool.", {"ids": ids, "changed": n_taken}, as_json)


def ids_of(
    session: Session, kind: ArchiveKind, references: Iterable[str], find: Find | None = None
) -> list[int]:
    """Return the ids that people mean: a number with or without its letter, a range, or a name.

    A range means what there is between its ends.

    Raises:
        UsageError: There is nothing of that name or number, or nothing in a range.
    """
    found: dict[int, None] = {}
    for reference in references:
        for part in filter(None, (one.strip() for one in reference.split(","))):
            found |= dict.fromkeys(_ids(session, kind, part, find))
    return list(found)


def _ids(session: Session, kind: ArchiveKind, reference: str, find: Find | None) -> list[int]:
    letter = f"{_LETTERS[kind]}?" if kind in _LETTERS else ""
    number = number_in(reference, letter)
    ends = re.fullmatch(f"{letter}([0-9]{{1,18}})-{letter}([0-9]{{1,18}})", reference)
    if find is not None and ends is None:
        return [find(session, reference).id]
    if number is not None:
        return [number]
    if ends is None:
        raise UsageError(
            "{reference!r} is no number of a {kind} and no range such as 3-9.",
            reference=reference,
            kind=kind,
        )
    key = TABLES[kind].id
    query = select(key).where(key.between(int(ends[1]), int(ends[2]))).order_by(key)
    between = list(session.scalars(query))
    if not between:
        raise UsageError("There is no {kind} in {reference}.", kind=kind, reference=reference)
    return between


def _change(
    kind: ArchiveKind,
    references: list[str],
    find: Find | None,
    as_json: bool,
    *,
    restores: bool,
) -> None:
    with open_home() as (_, database), database.write() as session:
        ids = ids_of(session, kind, references, find)
        n_changed = (restore if restores else archive)(session, kind, ids)
    done = "brought back" if restores else "archived"
    others = f"; {len(ids) - n_changed:,} were so already" if n_changed < len(ids) else ""
    show_done(f"{n_changed:,} {done}{others}.", {"ids": ids, "changed": n_changed}, as_json)
