"""``q2q round``: dataset, training, held-out sweep and comparison as one job; and its report."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from db.database import Database
from db.datasets import find_dataset
from db.errors import Q2QError, UsageError
from db.messages import time_left
from db.models import get_model
from db.new_files import new_file
from db.rounds import RoundRow, decide_round, find_round, list_rounds, reject_round
from db.settings import Settings
from db.store.migrate import open_home
from workbench.cli.output import (
    Json,
    inform,
    show,
    show_done,
    show_fields,
    show_json,
    show_result,
    show_table,
)
from workbench.cli.progress import watch_job
from workbench.cli.typer_app import CommandGroup
from workbench.i18n import translate
from workbench.rounds.comparison import Change, Comparison, compare_round
from workbench.rounds.evidence import wins_of
from workbench.rounds.report import round_page
from workbench.rounds.spec import load_round
from workbench.rounds.start import begin_round, queue_round
from workbench.rounds.text import (
    by_rater,
    figure,
    figures_of,
    number,
    outcome,
    settled_lines,
    win_lines,
)
from workbench.rounds.verdict import VerdictProposal, is_outdated, judge_again
from workbench.rounds.verdict import judge as judge_round

app = CommandGroup()
top = CommandGroup()

Name = Annotated[str, typer.Argument(help="Name or number of a round; see `q2q round list`.")]
Yes = Annotated[bool, typer.Option("--yes", help="Approve the dataset without a pause.")]


@app.as_command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file of a round; see docs/rounds.md.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run a round; it pauses for approval of its dataset unless --yes is given.

    The same command again goes on where it stopped.

    Example:
      q2q round run examples/rounds/first.yaml
      q2q round run examples/rounds/first.yaml --yes
    """
    spec = load_round(config)
    with open_home() as (settings, database):
        found = begin_round(database, settings, spec)
        _go_on(settings, database, found, yes, as_json)


@app.as_command()
def approve(name: Name, as_json: Json = False) -> None:
    """Approve the dataset of a round that waits, and go on; also resumes a round that stopped.

    Example:
      q2q round approve first
    """
    with open_home() as (settings, database):
        with database.read() as session:
            found = find_round(session, name)
        _go_on(settings, database, found, True, as_json)


@app.as_command()
def reject(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; kept with the round and shown in the list.")],
    as_json: Json = False,
) -> None:
    """Reject the dataset of a round that waits for approval; `q2q round approve` takes it back.

    Example:
      q2q round reject first --reason "Half of the rows are about one question."
    """
    with open_home() as (_, database), database.write() as session:
        row = _row(session, reject_round(session, find_round(session, name).id, reason))
    _show_row(row, as_json)


@app.as_command("list")
def list_(as_json: Json = False) -> None:
    """List the rounds, the newest first.

    Example:
      q2q round list
    """
    with open_home() as (_, database), database.read() as session:
        rows = [_row(session, one) for one in list_rounds(session)]
    if as_json:
        show_json(rows)
    else:
        columns = ("round_id", "name", "step", "state", "starts_from", "model", "verdict")
        show_table([_in_words(row) for row in rows], columns)


@app.as_command("show")
def show_(name: Name, as_json: Json = False) -> None:
    """Show a round: where it starts, what it made, and how it compares.

    Example:
      q2q round show first
    """
    with open_home() as (_, database), database.read() as session:
        found = find_round(session, name)
        row = _row(session, found)
        comparison = now = None
        made = found.merged_model_version_id
        if found.sweep_id is not None and found.step == "ended":
            comparison = compare_round(session, found)
            now = judge_round(found, comparison)
    if as_json:
        plain = comparison.as_json() if comparison else None
        figures = {"verdict": now.verdict, "reason": now.reason, **now.findings} if now else None
        wins = [asdict(one) for one in wins_of(comparison, made)] if comparison else []
        show_json({**row, "config": found.config, "figures_now": figures, "wins": wins,
                   "comparison": plain})  # fmt: skip
        return
    show_fields(_in_words(row))
    if comparison is not None:
        _show_wins(comparison, made)
    if now is not None:
        _show_settled(now, is_outdated(found, now), found.name)
    if comparison is not None:
        _show_duels(comparison)
    for model in comparison.models if comparison else ():
        show(f"\n{model.model} ({model.n_completions} completions)")
        changes = {change.measure: change for change in model.changes}
        rows = [
            {"measure": one.measure, "value": number(one.found.value, one.measure),
             "questions": one.n_questions, **_change(changes.get(one.measure))}
            for one in model.figures
        ]  # fmt: skip
        show_table(rows, ("measure", "value", "change", "says", "questions"))


@app.as_command()
def judge(name: Name, as_json: Json = False) -> None:
    """Make the verdict of a round again from its figures, blind comparisons since then included.

    Example:
      q2q round judge first
    """
    with open_home() as (_, database), database.write() as session:
        row = _row(session, judge_again(session, find_round(session, name)))
    _show_row(row, as_json)


@app.as_command()
def decide(
    name: Name,
    verdict: Annotated[str, typer.Argument(help="keep, drop or branch.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the round.")],
    as_json: Json = False,
) -> None:
    """Say what becomes of a round, in place of what its figures speak for.

    Example:
      q2q round decide first keep --reason "Its reasonings differ more."
    """
    with open_home() as (_, database), database.write() as session:
        found = find_round(session, name)
        chosen: Any = verdict
        row = _row(session, decide_round(session, found.id, chosen, reason))
    _show_row(row, as_json)


@top.as_command()
def report(
    name: Name,
    target: Annotated[Path, typer.Argument(help="HTML file to make.")],
    language: Annotated[str, typer.Option(help="en or ja, of the page's own words.")] = "en",
    as_json: Json = False,
) -> None:
    """Write the comparison of a round as one HTML page that needs nothing else.

    Example:
      q2q report first first.html
      q2q report first first-ja.html --language ja
    """
    if language not in ("en", "ja"):
        raise UsageError(
            "--language: there is no {language!r}; choose en or ja.", language=language
        )
    chosen: Any = language
    with open_home() as (_, database), database.read() as session:
        page = round_page(session, name, chosen)
    with new_file(target) as file:
        file.write(page.encode())
    show_done(
        f"The report of round {name} is in {target}.",
        {"file": target, "bytes": len(page.encode())},
        as_json,
    )


def _show_row(row: dict[str, Any], as_json: bool) -> None:
    show_result(row if as_json else _in_words(row), as_json)


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its verdict as people read it."""
    verdict = row["verdict"]
    return {**row, "verdict": verdict and translate(f"verdict.{verdict}", "en")}


def _change(change: Change | None) -> dict[str, Any]:
    """Return a change with its interval, and what that says."""
    if change is None:
        return {"change": None, "says": None}
    return {
        "change": figure(change.found, change.measure, signed=True),
        "says": translate(f"rounds.change_{change.direction}", "en"),
    }


def _show_settled(now: VerdictProposal, is_outdated: bool, name: str) -> None:
    """Show each measure that decides, and the verdict of today's figures where it is another."""
    if is_outdated:
        verdict = translate(f"verdict.{now.verdict}", "en")
        show(f"\nIts figures now: {verdict}. {now.reason} To take it: q2q round judge {name}")
    lines = settled_lines(now.findings, "en")
    if lines:
        show(f"\n{translate('settled.title', 'en')}")
        show_table([asdict(one) for one in lines], tuple(asdict(lines[0])))


def _show_wins(comparison: Comparison, model_id: int | None) -> None:
    """Show what the model of a round won, tied and lost, by each measure that decides."""
    lines = win_lines(comparison, model_id, "en")
    if lines:
        show(f"\n{translate('wins.title', 'en', first=comparison.models[0].model)}")
        show_table([asdict(one) for one in lines], tuple(asdict(lines[0])))


def _show_duels(comparison: Comparison) -> None:
    """Show what came of the blind comparisons, people and model raters apart."""
    if comparison.duels:
        show(f"\n{translate('duel.title', 'en')}")
    for duel in comparison.duels:
        show(outcome(duel, "en"))
        if duel.is_for_these_raters:
            show(translate("duel.these_raters", "en"))
        show(figures_of(duel, "en"))
        for line in by_rater(duel, "en"):
            show(f"  {line}")


def _go_on(
    settings: Settings, database: Database, found: RoundRow, yes: bool, as_json: bool
) -> None:
    seconds: dict[str, float] = {}
    if found.step != "ended":
        with database.write() as session:
            job_id = queue_round(session, found.id, approved=yes)
        try:
            job = watch_job(settings, database, job_id, command="round run")
        except KeyboardInterrupt:
            inform(f"Stopped; nothing is lost. To go on: q2q round approve {found.name}")
            raise
        if job.state != "done":
            why = job.error or f"Round {found.name} was cancelled."
            raise Q2QError(
                "{why} To go on: q2q round approve {found_name}", why=why, found_name=found.name
            )
        seconds = (job.result or {}).get("seconds", {})
    with database.read() as session:
        row = _row(session, find_round(session, found.id))
    if seconds:
        row["seconds"] = seconds if as_json else _times(seconds)
    if row["state"] == "waiting":
        inform(
            f"The dataset is frozen and waits for approval: q2q dataset show {row['dataset']}, then"
            f" q2q round approve {found.name}"
        )
    _show_row(row, as_json)


def _times(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {time_left(spent)}" for name, spent in seconds.items())


def _row(session: Session, found: RoundRow) -> dict[str, Any]:
    made = found.merged_model_version_id
    return {
        "round_id": found.id,
        "name": found.name,
        "step": found.step,
        "state": found.state,
        "starts_from": get_model(session, found.starts_from_id).name,
        "parent_id": found.parent_id,
        "dataset": find_dataset(session, str(found.dataset_id)).name if found.dataset_id else None,
        "training_run_id": found.training_run_id,
        "model": get_model(session, made).name if made is not None else None,
        "sweep_id": found.sweep_id,
        "verdict": found.verdict,
        "reason": found.reason,
    }
