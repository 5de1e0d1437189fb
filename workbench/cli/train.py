"""``q2q train``: adapters trained on frozen datasets, run, resumed, listed and shown."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from db.database import Database
from db.errors import UsageError
from db.messages import time_left
from db.models import get_model
from db.settings import Settings
from db.store.migrate import open_home
from db.training import (
    RunRow,
    cancel_training,
    differing_settings,
    enqueue_training,
    find_run,
    get_run,
    list_runs,
    run_curves,
    run_samples,
)
from training.methods import METHODS
from training.runs.estimate import RunEstimate
from training.runs.prepare import Prepared, estimate_plan, plan_run, queue_run
from training.runs.spec import TrainSpec, load_spec, parse_spec
from training.runs.watch import PHASES, describe_shares
from workbench.cli.archiving import Archived, add_archive_commands
from workbench.cli.output import (
    Json,
    inform,
    show,
    show_done,
    show_fields,
    show_json,
    show_rows,
    show_table,
)
from workbench.cli.progress import follow_job
from workbench.cli.typer_app import CommandGroup
from workbench.i18n import caution_sentences, estimate_sentences

app = CommandGroup()
add_archive_commands(app, "run", "train archive 3-5")

Run = Annotated[str, typer.Argument(help="Number of a run, as 3 or t3; see `q2q train list`.")]


METHOD_HELP = f"{', '.join(METHODS)}: one for the dataset's rows, by default the usual one."


Spec = Annotated[Path | None, typer.Argument(help="YAML file of settings; see docs/training.md.")]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Name or number of a dataset, in place of a file.")
]
MethodOption = Annotated[str | None, typer.Option("--method", help=METHOD_HELP)]
Preset = Annotated[str | None, typer.Option(help="auto, notebook, fast, 24gb, max or laptop.")]
MaxSteps = Annotated[int | None, typer.Option(min=1, help="Train only so long.")]
Epochs = Annotated[float | None, typer.Option(help="How often all rows; in place of steps.")]
LearningRate = Annotated[float | None, typer.Option(help="The largest one, after the warm-up.")]
Rank = Annotated[int | None, typer.Option("--rank", min=1, help="Of the adapter (r).")]
MaxLength = Annotated[int | None, typer.Option(help="Tokens of a row; longer ones are left out.")]
Name = Annotated[str | None, typer.Option(help="What the adapter will be called.")]


@app.as_command()
def plan(
    spec: Spec = None,
    dataset: DatasetOption = None,
    method: MethodOption = None,
    preset: Preset = None,
    max_steps: MaxSteps = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    rank: Rank = None,
    max_length: MaxLength = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Say how a run would be trained, how long it takes and how much memory; nothing is written.

    Example:
      q2q train plan examples/training_runs/first_round.yaml
      q2q train plan --dataset first-round --epochs 2
    """
    asked = _spec(spec, dataset, _options(locals()))
    with open_home() as (settings, database):
        prepared = plan_run(database, settings, asked)
        found = estimate_plan(database, settings, asked, prepared)
    if as_json:
        resolved = prepared.resolved
        show_json({"dataset": prepared.dataset.name, "rows": prepared.dataset.n_train,
                   "base": prepared.base.name, "preset": resolved.preset, "why": resolved.why,
                   "settings": resolved.settings.model_dump(mode="json"),
                   "cautions": caution_sentences(prepared.cautions),
                   "takes": None if found is None else asdict(found)})  # fmt: skip
        return
    for line in _plan_lines(prepared, found):
        show(line)


@app.as_command()
def run(
    spec: Spec = None,
    dataset: DatasetOption = None,
    method: MethodOption = None,
    preset: Preset = None,
    max_steps: MaxSteps = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    rank: Rank = None,
    max_length: MaxLength = None,
    name: Name = None,
    as_json: Json = False,
) -> None:
    """Train an adapter; Ctrl-C stops with a checkpoint, and `q2q train resume` goes on.

    Example:
      q2q train run examples/training_runs/first_round.yaml
      q2q train run --dataset first-round --preset laptop --epochs 2
    """
    asked = _spec(spec, dataset, _options(locals()))
    with open_home() as (settings, database):
        prepared = plan_run(database, settings, asked)
        for line in _plan_lines(prepared, estimate_plan(database, settings, asked, prepared)):
            inform(line)
        with database.write() as session:
            new = queue_run(session, asked, prepared)
            job_id = enqueue_training(session, new.id)
        rows = f"{prepared.dataset.n_train:,} rows"
        inform(f"Run t{new.id} trains {prepared.base.name} on {prepared.dataset.name}, {rows}.")
        _follow(settings, database, new.id, job_id, as_json)


@app.as_command()
def resume(run: Run, as_json: Json = False) -> None:
    """Go on with a run that was stopped, killed or failed, from its last checkpoint.

    Example:
      q2q train resume 3
    """
    with open_home() as (settings, database):
        with database.write() as session:
            found = find_run(session, run)
            job_id = enqueue_training(session, found.id) if found.state != "done" else None
        if job_id is None:
            inform(f"Nothing is missing: run t{found.id} is complete.")
            _show_result(database, found.id, as_json)
            return
        _follow(settings, database, found.id, job_id, as_json)


@app.as_command()
def cancel(run: Run, as_json: Json = False) -> None:
    """Stop a run that waits or trains, with a checkpoint to go on from.

    Example:
      q2q train cancel 3
    """
    with open_home() as (_, database), database.write() as session:
        found = find_run(session, run)
        was_active = cancel_training(session, found.id)
    sentence = (
        f"Run t{found.id} stops. To go on: q2q train resume {found.id}"
        if was_active
        else f"Run t{found.id} neither waits nor trains."
    )
    show_done(sentence, {"run_id": found.id, "cancelled": was_active}, as_json)


@app.as_command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    archived: Archived = False,
    as_json: Json = False,
) -> None:
    """List training runs, the newest first.

    Example:
      q2q train list
    """
    with open_home() as (_, database), database.read() as session:
        rows = [_row(one) for one in list_runs(session, limit, archived=archived)]
    names = ("run_id", "state", "method", "dataset", "base", "preset", "step")
    show_rows(rows, (*names, "loss", "held_out_loss"), as_json)


@app.as_command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Numbers of runs, as 3 or t3.")],
    as_json: Json = False,
) -> None:
    """Compare runs: the settings in which they differ, their last figures and their curves.

    Example:
      q2q train compare 3 5
    """
    with open_home() as (_, database), database.read() as session:
        found = [find_run(session, one) for one in dict.fromkeys(runs)]
        curves = {run.id: run_curves(session, run.id) for run in found}
    differ = differing_settings(found)
    rows = [{**_row(run), **{name: values[place] for name, values in differ.items()}}
            for place, run in enumerate(found)]  # fmt: skip
    if as_json:
        show_json([{**row, "curves": list(curves[run.id].values())}
                   for row, run in zip(rows, found, strict=True)])  # fmt: skip
        return
    figures = ("run_id", "state", "step", "loss", "held_out_loss", "tokens_per_second")
    show_table(rows, (*figures, *(name for name in differ if name not in figures)))


@app.as_command("show")
def show_(run: Run, as_json: Json = False) -> None:
    """Show a run: its settings, its figures, and what the model wrote while it learned.

    Example:
      q2q train show 3
    """
    with open_home() as (_, database), database.read() as session:
        found = find_run(session, run)
        curves = run_curves(session, found.id)
        samples = run_samples(session, found.id)
    if as_json:
        show_json({**_row(found), "config": found.config, "versions": found.versions,
                   "folder": found.folder, "error": found.error,
                   "phases": found.summary.get("phases", {}),
                   "curves": list(curves.values()), "samples": samples})  # fmt: skip
        return
    chosen = {f"  {name}": value for name, value in found.config["settings"].items()}
    summary = found.summary
    left = summary.get("seconds_left") if found.state == "running" else None
    show_fields({**_row(found), "now": PHASES.get(summary.get("phase", "")) if left else None,
                 "left": left and time_left(left), "why": found.config["why"], **chosen,
                 "error": found.error, "time": describe_shares(summary),
                 "layers": summary.get("steps_run"), "folder": found.folder})  # fmt: skip
    for name in ("loss", "held_out_loss"):
        if name in curves:
            show(f"{name}: {curves[name].values[0]:.3f} -> {curves[name].values[-1]:.3f}")
    for sample in samples:
        show(f"\nstep {sample.step}: {sample.question}\n{sample.text}")


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among the arguments of a command, as the spec names them."""
    names = {"rank": "r"}
    left_out = ("spec", "dataset", "as_json")
    return {names.get(name, name): one for name, one in given.items() if name not in left_out}


def _plan_lines(prepared: Prepared, found: RunEstimate | None) -> list[str]:
    return [
        f"Preset {prepared.resolved.why}",
        *caution_sentences(prepared.cautions),
        *estimate_sentences(found),
    ]


def _spec(path: Path | None, dataset: str | None, options: dict[str, Any]) -> TrainSpec:
    if (path is None) == (dataset is None):
        raise UsageError("Give a YAML file of settings, or --dataset NAME.")
    given = {name: value for name, value in options.items() if value is not None}
    if path is None:
        return parse_spec({"dataset": dataset, **given}, where="The options")
    spec = load_spec(path)
    return parse_spec({**spec.model_dump(exclude_none=True), **given}, where="The options")


def _follow(
    settings: Settings, database: Database, run_id: int, job_id: int, as_json: bool
) -> None:
    follow_job(
        settings,
        database,
        job_id,
        command="train run",
        what=f"Run t{run_id}",
        cancel=f"q2q train cancel {run_id}",
        resume=f"q2q train resume {run_id}",
    )
    _show_result(database, run_id, as_json)


def _show_result(database: Database, run_id: int, as_json: bool) -> None:
    with database.read() as session:
        found = get_run(session, run_id)
        adapter = found.adapter_model_version_id
        name = get_model(session, adapter).name if adapter is not None else None
    result = {**_row(found), "adapter": name}
    if as_json:
        show_json(result)
    else:
        time = describe_shares(found.summary)
        show_fields({**result, "time": time, "layers": found.summary.get("steps_run")})


def _row(found: RunRow) -> dict[str, object]:
    figures = ("step", "total", "loss", "held_out_loss", "tokens_per_second", "memory_gib")
    return {
        "run_id": found.id,
        "state": found.state,
        "method": found.method,
        **{name: found.config.get(name) for name in ("dataset", "base", "preset")},
        **{name: found.summary.get(name) for name in figures},
    }
