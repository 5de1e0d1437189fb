"""``q2q lineage``: what a text, a question or a model came from, and what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from db.datasets import get_dataset
from db.identity import Ref, parse_ref
from db.lineage.nodes import LineageGroup
from db.lineage.read import lineage as lineage_of
from db.models import get_model
from db.questions import get_question
from db.rounds import get_round
from db.store.migrate import open_home
from db.texts.provenance import Provenance, provenance
from db.training import get_run
from workbench.cli.output import Json, show, show_fields, show_json
from workbench.cli.typer_app import CommandGroup

LABEL = 70
"""Characters of a related text on its line; ``--json`` has more."""


NAMED = ("question", "model", "dataset", "training_run", "round")
"""Kinds that are shown by their fields; the others by their text."""

top = CommandGroup()


@top.as_command()
def lineage(
    id_: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="q12 (question), v12, a7, g9, m3 (model), d1 (dataset), t1 (run), r1 (round).",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show what a text or a model came from, and what came of it: both ways, with ids to go on.

    Example:
      q2q lineage a7
      q2q lineage m3
    """
    ref = parse_ref(id_)
    with open_home() as (_, database), database.read() as session:
        item = _item(session, ref)
        both = lineage_of(session, ref)
    if as_json:
        groups = {"up": _plain(both.up), "down": _plain(both.down)}
        show_json({**asdict(item), "ref": str(ref), **groups})
        return
    if ref.kind in NAMED:
        show_fields({name: getattr(item, name) for name in item.__slots__})
    else:
        _show_text(item)
    _show_groups("comes from", both.up)
    _show_groups("led to", both.down)


def _item(session: Session, ref: Ref) -> Any:
    """Return all that is known of the thing itself."""
    by_id: dict[str, Callable[..., Any]] = {
        "question": get_question,
        "model": get_model,
        "dataset": get_dataset,
        "training_run": get_run,
        "round": get_round,
    }
    read = by_id.get(ref.kind)
    return provenance(session, ref) if read is None else read(session, ref.id)


def _plain(groups: Sequence[LineageGroup]) -> list[dict[str, Any]]:
    return [
        {
            "relation": group.relation,
            "total": group.total,
            "items": [{"ref": node.ref, **asdict(node)} for node in group.nodes],
        }
        for group in groups
    ]


def _show_groups(title: str, groups: Sequence[LineageGroup]) -> None:
    show("")
    if not groups:
        show(f"{title}: nothing")
        return
    show(f"{title}:")
    for group in groups:
        show(f"  {group.relation.replace('_', ' ')} ({group.total:,})")
        for node in group.nodes:
            name = node.ref or f"{node.kind.replace('_', ' ')} {node.id}"
            label = " ".join(node.label.split())
            label = label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"
            detail = f"  [{node.detail}]" if node.detail else ""
            show(f"    {name}  {label}{detail}")
        if group.total > len(group.nodes):
            show(f"    … and {group.total - len(group.nodes):,} more")


def _show_text(found: Provenance) -> None:
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
