"""``q2q model`` and ``q2q merge``: the model versions that sweeps can name, and proved merges."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from db.database import Database
from db.errors import Q2QError, UsageError
from db.jobs import active_jobs, enqueue, request_cancel
from db.models import ProofRow, adapter_of, find_model, list_models, proof_of
from db.settings import Settings
from db.store.migrate import open_home
from serving.formats.library import load_registry
from serving.models.as_served import stored_version
from serving.models.register import add_model
from training.merge.prune import prune as drop
from workbench.cli.archiving import Archived, add_archive_commands
from workbench.cli.output import Json, inform, show, show_done, show_fields, show_json, show_table
from workbench.cli.progress import follow_job, look_for_models, watch_job
from workbench.cli.typer_app import CommandGroup
from workbench.precision.spec import KIND, CompareSpec, parse_compare_spec
from workbench.precision.store import COMPARED, comparison_line, comparisons_of, queue_comparison

app = CommandGroup()
add_archive_commands(app, "model", "model archive round-2 m3-m5", find=find_model)
top = CommandGroup()
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
    with open_home() as (_, database):
        added = add_model(database, source, name=name, base=base, report=inform)
    show_done(added.message, {"is_new": added.is_new, **asdict(added.model)}, as_json)


@app.as_command("list")
def list_(archived: Archived = False, as_json: Json = False) -> None:
    """List the models.

    Example:
      q2q model list
    """
    with open_home() as (_, database), database.read() as session:
        known = list_models(session, with_removed=True, with_served=True)
        models = [one for one in known if (one.archived_at is not None) is archived]
        models = [one for one in models if one.state != "removed"]
        names = {model.id: model.name for model in known}
        proofs = {model.id: proof_of(session, model.id) for model in models}
        parents = {
            model.id: model.stored_id or adapter_of(session, model.id) or model.base_id
            for model in models
        }
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
            "precision": model.precision,
            "state": model.state,
            "made from": names.get(parents[model.id] or 0),
            "proof": proved[model.id],
            "context": model.context_length,
            "note": model.note,
        }
        for model in models
    ]
    columns = ("id", "name", "kind", "precision", "state", "made from", "proof", "context", "note")
    show_table(rows, columns)


@app.as_command("show")
def show_(model: Model, as_json: Json = False) -> None:
    """Show all that is known of a model.

    Example:
      q2q model show smollm2-135m-instruct
    """
    with open_home() as (_, database), database.read() as session:
        found = find_model(session, model)
        proof = proof_of(session, found.id)
        compared = comparisons_of(session, found.stored_id or found.id)
    if as_json:
        show_json({**asdict(found), "proof": proof, "precisions": compared})
        return
    fields = {name: getattr(found, name) for name in found.__slots__ if name != "id"}
    show_fields({"id": f"m{found.id}", **fields})
    if proof is not None:
        show("")
        show_proof(proof)
    if compared:
        show("")
        show_table([comparison_line(one.model, one.result) for one in compared], COMPARED)


Merged = Annotated[str, typer.Argument(help="Name of a merged model, or its id, e.g. m3.")]


@top.as_command()
def merge(
    adapter: Annotated[str, typer.Argument(help="Name of an adapter, or its id, e.g. m2.")],
    name: Annotated[
        str | None, typer.Option(help="How the merge is called [default: ADAPTER-merged].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Merge an adapter into its 16-bit base, in a fresh folder, and prove the result.

    A pruned merge is made again. A merge that fails its proof cannot be used.

    Example:
      q2q merge round-1
      q2q merge round-1 --name round-1-16bit
    """
    with open_home() as (settings, database):
        with database.read() as session:
            found = stored_version(session, find_model(session, adapter))
        if found.kind != "adapter":
            raise UsageError(
                "{found_name} is no adapter; `q2q model list` shows which are.",
                found_name=found.name,
            )
        _run(settings, database, "merge", {"adapter_id": found.id, "name": name}, as_json)


@app.as_command()
def verify(model: Merged, as_json: Json = False) -> None:
    """Check a merged model again: files, every tensor, and what it says beside its adapter.

    Example:
      q2q model verify round-1-merged
    """
    with open_home() as (settings, database):
        with database.read() as session:
            found = stored_version(session, find_model(session, model))
        if found.kind != "merged":
            raise UsageError(
                "{found_name} is no merged model; `q2q model list` shows which are.",
                found_name=found.name,
            )
        _run(settings, database, "verify", {"model_id": found.id}, as_json)


@app.as_command()
def prune(model: Merged, as_json: Json = False) -> None:
    """Drop the weights of a merge to free the disk; adapter and proof stay.

    `q2q merge` makes the same weights again, and so does a sweep that names the model.

    Example:
      q2q model prune round-1-merged
    """
    with open_home() as (_, database):
        with database.read() as session:
            found = stored_version(session, find_model(session, model))
        freed = drop(database, found)
    show_done(
        f"{found.name} is pruned: {freed / 1e9:.1f} GB are free; `q2q merge` remakes it.",
        {"id": found.id, "name": found.name, "state": "pruned", "freed_bytes": freed},
        as_json,
    )


Precisions = Annotated[
    str,
    typer.Option(help="With commas: fp8, nf4; bf16, which they are held against, may stand too."),
]


@app.as_command("compare-precision")
def compare_precision(
    model: Model,
    precisions: Precisions = "bf16,fp8",
    questions: Annotated[int, typer.Option(min=2, help="Held-out ones first.")] = 100,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of each answer.")] = 128,
    format_: Annotated[str, typer.Option("--format", help="The prompt format.")] = "chat@1",
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop the comparison instead.")] = False,
    as_json: Json = False,
) -> None:
    """Measure how far a model served in another precision is from its 16-bit weights.

    Divergence of the next token (KL, nats a token), and agreement of texts without chance, with
    95 % intervals over questions. The same command again goes on where it was stopped.

    Example:
      q2q model compare-precision smollm2-135m-instruct --precisions bf16,fp8 --questions 20
    """
    spec = parse_compare_spec(
        {
            "model": model,
            "precisions": [part.strip() for part in precisions.split(",") if part.strip()],
            "questions": questions,
            "max_tokens": max_tokens,
            "format": format_,
        }
    )
    with open_home() as (settings, database):
        look_for_models(settings, database, [spec.model])
        if cancel:
            _cancel_comparison(database, spec, as_json)
            return
        with database.write() as session:
            job_id = queue_comparison(session, load_registry(settings, session), spec)
        again = f"q2q model compare-precision {model}"
        job = follow_job(
            settings,
            database,
            job_id,
            command="model compare-precision",
            what=f"The comparison of {model}",
            cancel=f"{again} --cancel",
            resume=again,
        )
    assert job.result is not None
    if as_json:
        show_json(job.result)
        return
    show_table(
        [comparison_line(one["model"], one) for one in job.result["comparisons"]],
        COMPARED,
    )


def _cancel_comparison(database: Database, spec: CompareSpec, as_json: bool) -> None:
    with database.write() as session:
        jobs = [
            job
            for job in active_jobs(session, kind=KIND)
            if job.payload["model"] == spec.model and request_cancel(session, job.id)
        ]
    sentence = "The comparison stops." if jobs else "No comparison of this model waits or runs."
    show_done(sentence, {"model": spec.model, "cancelled": bool(jobs)}, as_json)


def _run(
    settings: Settings, database: Database, kind: str, payload: dict[str, Any], as_json: bool
) -> None:
    with database.write() as session:
        job_id = enqueue(session, kind, lane="device", payload=payload)
    job = watch_job(settings, database, job_id, command=kind)
    if job.state != "done" or job.result is None:
        raise Q2QError(job.error or f"The {kind} was stopped; nothing is left of it.")
    with database.read() as session:
        proof = proof_of(session, job.result["model_id"])
    assert proof is not None
    if as_json:
        show_json({**job.result, "checks": proof.checks})
    else:
        show_proof(proof)
        show(f"{job.result['model']} (m{job.result['model_id']}) is {job.result['state']}.")
    if not proof.passed:
        raise Q2QError("The proof failed: the merge stays unusable. See the checks above.")


def show_proof(proof: ProofRow) -> None:
    """Write the checks of a proof, one a line."""
    rows = [
        {"check": check.name, "passed": "yes" if check.passed else "NO", "found": check.detail}
        for check in proof.checks
    ]
    show_table(rows, ("check", "passed", "found"))
