"""``q2q lineage``: how one text came to be."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.context import open_home
from workbench.cli.output import Json, show, show_fields, show_json
from workbench.cli.typer_app import CommandGroup

if TYPE_CHECKING:
    from db.provenance import Provenance


def register(app: CommandGroup) -> None:
    """Add the command to ``app``."""
    app.as_command()(lineage)


def lineage(
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="v12 (reasoning), a7 (answer), g9 or m3.")
    ],
    as_json: Json = False,
) -> None:
    """Show how a text or a model came to be: weights, exact prompt, sampling, parents.

    Example:
      q2q lineage a7
    """
    from db.models import get_model
    from db.provenance import provenance
    from db.questions import get_question
    from db.refs import parse_ref

    ref = parse_ref(id_)
    with open_home() as (_, database), database.read() as session:
        if ref.kind == "model":
            chain = [get_model(session, ref.id)]
            while (base_id := chain[-1].base_id) is not None:
                chain.append(get_model(session, base_id))
            found: Any = chain
        elif ref.kind == "question":
            family = [get_question(session, ref.id)]
            while (parent_id := family[-1].parent_id) is not None:
                family.append(get_question(session, parent_id))
            found = family
        else:
            found = provenance(session, ref)
    if as_json:
        show_json(found)
    elif isinstance(found, list):
        for step in found:
            show_fields({name: getattr(step, name) for name in step.__slots__})
            show("")
    else:
        _show(found)


def _show(found: "Provenance") -> None:
    show_fields(
        {
            "id": found.ref,
            "question": f"{found.question.ref}: {found.question.text}",
            "source": found.source,
            "author": found.author,
            "note": found.note,
            "created_at": found.created_at,
            "made from": found.parents,
            "checks": tuple(f"{name} ({detail})" for name, detail in found.checks),
        }
    )
    show(f"\n{found.text or ''}\n")
    origin = found.generation
    if origin is not None:
        show_fields({name: getattr(origin, name) for name in origin.__slots__})
