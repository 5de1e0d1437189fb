"""``q2q model``: the model versions that sweeps can name."""

from dataclasses import asdict
from typing import Annotated

import typer

from workbench.cli.context import open_home
from workbench.cli.output import Json, say, show, show_fields, show_json, show_table
from workbench.cli.typer_app import CommandGroup

app = CommandGroup("Add, list, show and remove models.")

Model = Annotated[str, typer.Argument(help="Name of a model, or its id, e.g. m3.")]


@app.as_command()
def add(
    source: Annotated[str, typer.Argument(help="A local folder, or a hub id.")],
    name: Annotated[
        str | None, typer.Option(help="How sweeps call it [default: made from the source].")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Base of an adapter [default: the one its files name].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a base model, an adapter or a merged folder; its weights are read once for a digest.

    Example:
      q2q model add ~/models/round-2 --name round-2
      q2q model add unsloth/Phi-3-medium-4k-instruct
    """
    from serving.models.register import add_model

    with open_home() as (_, database):
        added = add_model(database, source, name=name, base=base, report=say)
    if as_json:
        show_json({"is_new": added.is_new, **asdict(added.model)})
    else:
        show(added.message)


@app.as_command("list")
def list_(as_json: Json = False) -> None:
    """List the models.

    Example:
      q2q model list
    """
    from db.models import adapter_of, list_models, proof_of

    with open_home() as (_, database), database.read() as session:
        models = [m for m in list_models(session, with_removed=True) if m.state != "removed"]
        names = {model.id: model.name for model in models}
        proofs = {model.id: proof_of(session, model.id) for model in models}
        parents = {model.id: adapter_of(session, model.id) or model.base_id for model in models}
    proved = {
        one: None if proof is None else "passed" if proof.passed else "failed"
        for one, proof in proofs.items()
    }
    if as_json:
        show_json(
            [
                {**asdict(model), "made_from": parents[model.id], "proof": proved[model.id]}
                for model in models
            ]
        )
        return
    rows = [
        {
            "id": f"m{model.id}",
            "name": model.name,
            "kind": model.kind,
            "state": model.state,
            "made from": names.get(parents[model.id] or 0),
            "proof": proved[model.id],
            "context": model.context_length,
            "note": model.note,
        }
        for model in models
    ]
    show_table(rows, ("id", "name", "kind", "state", "made from", "proof", "context", "note"))


@app.as_command("show")
def show_(model: Model, as_json: Json = False) -> None:
    """Show all that is known of a model.

    Example:
      q2q model show smollm2-135m-instruct
    """
    from db.models import find_model, proof_of
    from workbench.cli.merging import show_proof

    with open_home() as (_, database), database.read() as session:
        found = find_model(session, model)
        proof = proof_of(session, found.id)
    if as_json:
        show_json({**asdict(found), "proof": proof})
        return
    fields = {name: getattr(found, name) for name in found.__slots__ if name != "id"}
    show_fields({"id": f"m{found.id}", **fields})
    if proof is not None:
        show("")
        show_proof(proof)


@app.as_command()
def remove(model: Model, as_json: Json = False) -> None:
    """Take a model out of the lists; its files and all that it wrote stay.

    Example:
      q2q model remove round-2
    """
    from db.models import find_model, remove_model

    with open_home() as (_, database), database.write() as session:
        found = find_model(session, model)
        remove_model(session, found.id)
    if as_json:
        show_json({"id": found.id, "name": found.name, "state": "removed"})
    else:
        show(f"{found.name} is out of the lists; its files stay in {found.path}.")
