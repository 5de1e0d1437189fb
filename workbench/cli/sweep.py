"""``q2q sweep``: designed experiments, planned, run, resumed, listed and exported."""

import json
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import Q2QError, UsageError
from db.jobs import cancel_sweep, enqueue_sweep
from db.settings import Settings
from db.store.migrate import open_home
from db.sweeps import (
    FailureReason,
    SweepRow,
    failure_reasons,
    find_same,
    get_sweep,
    list_sweeps,
    set_budget,
    set_state,
)
from serving.formats.library import load_registry
from serving.importers.question_files import add_examples, import_path
from serving.sweeps.plan import SweepPlan, plan_sweep, save_sweep
from serving.sweeps.selection import select_writers
from serving.sweeps.spec import load_spec
from workbench.cli.archiving import Archived, add_archive_commands
from workbench.cli.exporting import COLUMNS, export_rows, sweep_rows
from workbench.cli.output import (
    Json,
    inform,
    parse_id,
    show_done,
    show_exactly,
    show_fields,
    show_json,
    show_rows,
)
from workbench.cli.progress import follow_job, look_for_models
from workbench.cli.typer_app import CommandGroup

app = CommandGroup()
add_archive_commands(app, "sweep", "sweep archive 3-9")

Spec = Annotated[Path, typer.Argument(help="YAML file of a sweep; see docs/sweeps.md.")]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, help="Budget: tokens of prompts and completions in all.")
]
MaxCost = Annotated[
    float | None, typer.Option(min=0.0, help="Budget in US dollars, by the prices of servers.")
]
SweepId = Annotated[str, typer.Argument(help="Number of a sweep; see `q2q sweep list`.")]
Several = list[str] | None
MAX_REASONS = 5
"""Reasons of failed slots that are said; JSON holds all."""
COUNTS = ("cells", "done", "failed", "blocked")


@app.as_command()
def plan(spec: Spec, as_json: Json = False) -> None:
    """Count what a sweep will take, before anything runs.

    Example:
      q2q sweep plan examples/sweeps/first.yaml
    """
    with open_home() as (settings, database):
        planned = _plan_file(settings, database, spec)
    for warning in planned.warnings:
        inform(warning)
    if as_json:
        show_json(planned.as_json())
    else:
        _show_plan(planned)


@app.as_command()
def run(spec: Spec, as_json: Json = False) -> None:
    """Run a sweep; the same command again continues it, or says that nothing is missing.

    Exit code 0 also where some slots failed: they are counted, and `q2q sweep retry` tries them
    again. Exit code 1 where none was done, or the sweep did not come to its end.

    Example:
      q2q sweep run examples/sweeps/first.yaml
    """
    with open_home() as (settings, database):
        planned = _plan_file(settings, database, spec)
        for warning in planned.warnings:
            inform(warning)
        with database.write() as session:
            known_id = find_same(
                session,
                planned.spec.model_dump(mode="json"),
                planned.resolved.model_dump(mode="json"),
            )
            sweep_id = known_id or save_sweep(session, planned)
            budget = planned.spec.max_tokens, planned.spec.max_cost
            set_budget(session, sweep_id, max_tokens=budget[0], max_cost=budget[1])
            sweep = get_sweep(session, sweep_id)
            job_id = enqueue_sweep(session, sweep.sweep_id) if sweep.pending else None
        if job_id is None:
            _show_complete(sweep)
            _show_result(database, sweep, {}, as_json)
            return
        begins = "begins" if known_id is None else "continues"
        inform(f"Sweep {sweep.sweep_id} ({sweep.name}) {begins}: {sweep.n_slots:,} slots.")
        _follow(settings, database, sweep.sweep_id, job_id, as_json)


@app.as_command()
def resume(
    sweep: SweepId,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    as_json: Json = False,
) -> None:
    """Run what is missing of a sweep that was cancelled, killed, failed, or used its budget.

    A larger budget takes the place of the one before; what is spent already counts.

    Example:
      q2q sweep resume 3
      q2q sweep resume 3 --max-cost 5
    """
    _run_again(sweep, as_json, retry_failed=False, max_tokens=max_tokens, max_cost=max_cost)


@app.as_command()
def retry(sweep: SweepId, as_json: Json = False) -> None:
    """Give the failed slots of a sweep another attempt, and run what is missing.

    Example:
      q2q sweep retry 3
    """
    _run_again(sweep, as_json, retry_failed=True)


@app.as_command()
def cancel(sweep: SweepId, as_json: Json = False) -> None:
    """Stop a sweep that waits or runs; what it wrote stays, and it can be resumed.

    Example:
      q2q sweep cancel 3
    """
    sweep_id = parse_id(sweep, "sweep")
    with open_home() as (_, database), database.write() as session:
        get_sweep(session, sweep_id)
        was_active = cancel_sweep(session, sweep_id)
    sentence = (
        f"Sweep {sweep_id} stops. To go on: q2q sweep resume {sweep_id}"
        if was_active
        else f"Sweep {sweep_id} neither waits nor runs."
    )
    show_done(sentence, {"sweep_id": sweep_id, "cancelled": was_active}, as_json)


@app.as_command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    archived: Archived = False,
    as_json: Json = False,
) -> None:
    """List sweeps, the newest first.

    Example:
      q2q sweep list
    """
    with open_home() as (_, database), database.read() as session:
        sweeps = list_sweeps(session, limit, archived=archived)
    rows = [_row(sweep) for sweep in sweeps]
    show_rows(rows, ("sweep_id", "name", "state", *COUNTS), as_json)


@app.as_command("show")
def show_(sweep: SweepId, as_json: Json = False) -> None:
    """Show how far a sweep is and what was asked for.

    Example:
      q2q sweep show 3
    """
    with open_home() as (_, database), database.read() as session:
        found = get_sweep(session, parse_id(sweep, "sweep"))
        reasons = _reasons(session, found)
    fields = {
        **_row(found),
        "variants": found.variants,
        "answers": found.answers,
        "completion_tokens": found.completion_tokens,
        **_spent(found),
        "seconds": found.active_s,
        "error": found.error,
        "created_at": found.created_at,
        "finished_at": found.finished_at,
    }
    if as_json:
        show_json({**fields, "failures": reasons, "spec": found.spec})
        return
    show_fields(fields)
    _show_reasons(reasons)
    show_exactly(json.dumps(found.spec, ensure_ascii=False, indent=2))


@app.as_command()
def export(
    sweep: SweepId,
    format_: Annotated[
        str, typer.Option("--format", help="jsonl, csv, xlsx or parquet; html of a matrix.")
    ] = "jsonl",
    target: Annotated[
        Path | None, typer.Option("--to", help="File to write [default: stdout].")
    ] = None,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Question by question, with grades and scores.")
    ] = False,
    by: Annotated[Several, typer.Option(help="Of a matrix: a factor of its columns.")] = None,
    only: Annotated[Several, typer.Option(help="Of a matrix: a level, as role=logician.")] = None,
    beside: Annotated[Several, typer.Option(help="Of a matrix: a sweep beside this one.")] = None,
    as_json: Json = False,
) -> None:
    """Write the reasonings and answers of a sweep, one row each, with all their factors.

    With --matrix question by question, as the page shows them: references, grades, equal answers,
    scores. As html it is one page to share that needs nothing else.

    Example:
      q2q sweep export 3 --format csv --to first.csv
      q2q sweep export 3 --matrix --format html --to first.html
    """
    ids = [parse_id(one, "sweep") for one in (sweep, *(beside or ()))]
    with open_home() as (_, database):
        if matrix:
            from workbench.cli.matrix import export_matrix  # loads SciPy, which others don't need

            export_matrix(database, ids, by or (), only or (), format_, target, as_json=as_json)
            return
        if by or only or beside or format_ == "html":
            raise UsageError("--by, --only, --beside and html are of a matrix: add --matrix.")
        with database.read() as session:
            get_sweep(session, ids[0])
        rows = sweep_rows(database, ids[0])
        export_rows(rows, COLUMNS, format_, target, as_json=as_json)


def _run_again(
    sweep: str,
    as_json: bool,
    *,
    retry_failed: bool,
    max_tokens: int | None = None,
    max_cost: float | None = None,
) -> None:
    sweep_id = parse_id(sweep, "sweep")
    with open_home() as (settings, database):
        with database.write() as session:
            found = get_sweep(session, sweep_id)
            set_budget(
                session,
                sweep_id,
                max_tokens=max_tokens or found.max_tokens,
                max_cost=max_cost or found.max_cost,
            )
            left = found.pending
            if retry_failed:
                left += found.failed + found.blocked
            job_id = enqueue_sweep(session, sweep_id, retry_failed=retry_failed) if left else None
            if job_id is None and found.state == "cancelled":  # it was stopped with nothing left
                set_state(session, sweep_id, "done")
                found = get_sweep(session, sweep_id)
        if job_id is None:
            _show_complete(found)
            _show_result(database, found, {}, as_json)
            return
        _follow(settings, database, sweep_id, job_id, as_json)


def _follow(
    settings: Settings, database: Database, sweep_id: int, job_id: int, as_json: bool
) -> None:
    job = follow_job(
        settings,
        database,
        job_id,
        command="sweep run",
        what=f"Sweep {sweep_id}",
        cancel=f"q2q sweep cancel {sweep_id}",
        resume=f"q2q sweep resume {sweep_id}",
    )
    with database.read() as session:
        sweep = get_sweep(session, sweep_id)
    _show_result(database, sweep, job.result or {}, as_json)
    if sweep.done == 0:
        raise Q2QError(
            "No slot of sweep {sweep_id} was done: see q2q sweep show {sweep_id}", sweep_id=sweep_id
        )


def _show_result(
    database: Database, sweep: SweepRow, outcome: dict[str, object], as_json: bool
) -> None:
    with database.read() as session:
        reasons = _reasons(session, sweep)
    result = {
        "seconds": 0.0,
        "tokens_per_second": 0.0,
        **outcome,
        **_row(sweep),
        "variants": sweep.variants,
        "answers": sweep.answers,
        "completion_tokens": sweep.completion_tokens,
        **_spent(sweep),
    }
    if as_json:
        show_json({**result, "failures": reasons})
    else:
        show_fields(result)
    _show_reasons(reasons)
    if sweep.failed:
        inform(f"{sweep.failed:,} slots failed. Another attempt: q2q sweep retry {sweep.sweep_id}")


def _reasons(session: Session, sweep: SweepRow) -> tuple[FailureReason, ...]:
    return failure_reasons(session, sweep.sweep_id) if sweep.failed else ()


def _show_reasons(reasons: tuple[FailureReason, ...]) -> None:
    for reason in reasons[:MAX_REASONS]:
        inform(str(reason))
    if rest := sum(reason.n for reason in reasons[MAX_REASONS:]):
        inform(f"{rest:,} × other reasons; `q2q sweep show --json` tells them all.")


def _show_complete(sweep: SweepRow) -> None:
    inform(f"Nothing is missing: sweep {sweep.sweep_id} ({sweep.name}) is complete.")


def _show_plan(planned: SweepPlan) -> None:
    figures = planned.as_json()
    figures.pop("warnings")
    figures["servers"] = [
        f"{model} on {len(names)} servers ({', '.join(names)})" if len(names) > 1 else names[0]
        for model, names in planned.servers.items()
    ] or None
    seconds = planned.expected_s
    figures["expected_seconds"] = "not known yet" if seconds is None else f"{seconds:,.0f}"
    show_fields(figures)


def _row(sweep: SweepRow) -> dict[str, object]:
    return {
        "sweep_id": sweep.sweep_id,
        "name": sweep.name,
        "state": sweep.state,
        "cells": sweep.n_slots,
        "done": sweep.done,
        "failed": sweep.failed,
        "blocked": sweep.blocked,
    }


def _spent(sweep: SweepRow) -> dict[str, object]:
    budget = {"max_tokens": sweep.max_tokens, "max_cost": sweep.max_cost}
    return {
        "spent_tokens": sweep.spent_tokens,
        "spent_cost": round(sweep.spent_cost, 6),
        **{name: value for name, value in budget.items() if value is not None},
    }


def _plan_file(settings: Settings, database: Database, path: Path) -> SweepPlan:
    """Return the plan of the spec in ``path``; its questions are imported, its models looked up.

    Raises:
        UsageError: The spec is wrong, or names something that is not there.
    """
    spec = load_spec(path)
    if spec.questions.file is not None:
        done = import_path(database, spec.questions.file)
        if done.added:
            inform(f"{done.added} new questions of {spec.questions.file} are in the store.")
    else:
        add_examples(database, inform)
    look_for_models(settings, database, [*spec.models, *(spec.answer_models or ())])
    with database.write() as session:
        registry = load_registry(settings, session)
        select_writers(session, spec)  # writes the versions that are served for the first time
    with database.read() as session:
        return plan_sweep(session, spec, registry)
