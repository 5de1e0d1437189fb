"""``q2q rate``: queues of things to rate, ratings in and out. Rating itself is done in the app."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from sqlalchemy.orm import Session

from db.datasets import find_dataset
from db.errors import UsageError
from db.input_text import read_text
from db.rating.queues import get_queue, list_queues, raters_progress
from db.rating.ratings import find_rater, list_raters
from db.store.migrate import open_home
from serving.formats.library import Registry, load_registry
from workbench.cli.archiving import Archived, add_archive_commands
from workbench.cli.exporting import export_rows
from workbench.cli.insights import insights
from workbench.cli.output import Json, inform, show, show_json, show_rows, show_table
from workbench.cli.progress import Encoding, naming_encoding_option
from workbench.cli.typer_app import CommandGroup
from workbench.rating.adjudication import disagreements
from workbench.rating.axes import load_axes
from workbench.rating.export import COLUMNS, rating_rows
from workbench.rating.head_to_head import head_to_head_spec
from workbench.rating.importing import import_ratings
from workbench.rating.power import Separable, power_estimate
from workbench.rating.queues import (
    QueueSpec,
    build_queue,
    save_queue,
    seconds_per_card,
    why_left_out,
)

MOST_SHOWN = 1_000
"""Disagreements that are listed."""
app = CommandGroup()
add_archive_commands(app, "queue", "rate archive 3-9")
raters = CommandGroup()
add_archive_commands(raters, "rater", "rater archive Aki", find=find_rater)


@app.as_command()
def queue(
    name: Annotated[
        str, typer.Option(help="Make a queue of this name; without it, list them.")
    ] = "",
    sweep: Annotated[int | None, typer.Option(help="Only texts of this sweep.")] = None,
    dialogue: Annotated[
        int | None, typer.Option(help="Only questions of this dialogue, and their texts.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Only what the rows of this dataset hold; a name or number.")
    ] = "",
    round_: Annotated[
        str,
        typer.Option("--round", help="The models of this round, compared blind; a name or number."),
    ] = "",
    against: Annotated[
        str,
        typer.Option(
            help="With --round: an earlier round or a model [default: what it starts from]."
        ),
    ] = "",
    search: Annotated[str, typer.Option(help="Only texts that hold these words.")] = "",
    way: Annotated[
        str, typer.Option(help="pair, single or table [default: pair; of questions: single].")
    ] = "",
    scope: Annotated[str, typer.Option(help="reasoning, answer, whole or question.")] = "reasoning",
    minutes: Annotated[float | None, typer.Option(help="As many cards as fit.", min=1)] = None,
    overlap: Annotated[int, typer.Option(help="Raters per card.", min=1)] = 1,
    sampler: Annotated[str, typer.Option(help="informative or random.")] = "informative",
    guidelines: Annotated[
        Path | None, typer.Option(help="File of what raters are told on each card, in Markdown.")
    ] = None,
    shares: Annotated[
        str, typer.Option("--raters", help='Whose the cards are, such as "Aki, Ben: 2".')
    ] = "",
    keep_flagged: Annotated[
        bool, typer.Option("--keep-flagged", help="Rate texts with findings too.")
    ] = False,
    keep_untrainable: Annotated[
        bool,
        typer.Option("--keep-untrainable", help="Rate held-out questions and flagged texts too."),
    ] = False,
    archived: Archived = False,
    as_json: Json = False,
) -> None:
    """List the rating queues, or make one.

    Example:
      q2q rate queue
      q2q rate queue --name pilot --sweep 3 --minutes 20
      q2q rate queue --name talk --dialogue 1 --scope question
      q2q rate queue --name team --overlap 2 --raters "Aki: 2, Ben, Chie"
      q2q rate queue --round first
    """
    if round_:
        _compare_round(name, round_, against, minutes, overlap, as_json)
        return
    if not name:
        _list(archived, as_json)
        return
    given: dict[str, Any] = {
        "name": name,
        "sweep": sweep,
        "dialogue": dialogue,
        "search": search,
        "way": way or ("single" if scope == "question" else "pair"),
        "scope": scope,
        "overlap": overlap,
        "sampler": sampler,
    }
    if guidelines is not None:
        given["guidelines"] = read_text(guidelines)
    if shares:
        given["raters"] = shares
    if keep_untrainable:
        given["only_trainable"] = False
    if keep_flagged:
        given["leave_out"] = ()
    _make(given, dataset, minutes, as_json)


@app.as_command("show")
def show_queue(
    queue_id: Annotated[int, typer.Argument(help="Number of a queue.")], as_json: Json = False
) -> None:
    """Show how far each rater of a queue is, and the cards on which they disagree.

    Example:
      q2q rate show 1
    """
    with open_home() as (_, database), database.read() as session:
        one = get_queue(session, queue_id)
        names = {rater.id: rater.name for rater in list_raters(session, archived=None)}
        progress = raters_progress(session, one)
        differing = disagreements(session, one, page_size=MOST_SHOWN)
    rows = [{"rater": names[id], **asdict(own), "done": own.done} for id, own in progress.items()]
    if as_json:
        show_json({"raters": rows, "disagreements": differing.rows, "total": differing.total})
        return
    show_table(rows, ("rater", "done", "skipped", "discarded", "total"))
    settled = sum(bool(row.verdict) for row in differing.rows)
    show(f"Disagreements: {differing.total}; settled: {settled}.")


@raters.as_command("list")
def list_raters_(archived: Archived = False, as_json: Json = False) -> None:
    """List who rates: people, and models as judges.

    Example:
      q2q rater list
    """
    with open_home() as (_, database), database.read() as session:
        rows = [asdict(one) for one in list_raters(session, archived=archived)]
    show_rows(rows, ("id", "name", "kind"), as_json)


def _list(archived: bool, as_json: bool) -> None:
    with open_home() as (_, database), database.read() as session:
        queues = list_queues(session, archived=archived)
    if as_json:
        show_json(queues)
        return
    show_table(
        [asdict(queue) for queue in queues], ("id", "name", "way", "scope", "n_items", "overlap")
    )


def _spec(given: dict[str, Any]) -> QueueSpec:
    try:
        return QueueSpec.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(
            f"--{'-'.join(map(str, one['loc'])) or 'way'}: {one['msg']}" for one in error.errors()
        )
        raise UsageError("{wrong}.", wrong=wrong) from None


def _make(given: dict[str, Any], dataset: str, minutes: float | None, as_json: bool) -> None:
    with open_home() as (settings, database), database.write() as session:
        if dataset:
            given["dataset"] = find_dataset(session, dataset).id
        _store(session, _spec(given), minutes, as_json, load_registry(settings, session))


def _compare_round(
    name: str, reference: str, against: str, minutes: float | None, overlap: int, as_json: bool
) -> None:
    with open_home() as (settings, database), database.write() as session:
        spec = head_to_head_spec(session, reference, against)
        changes = {"overlap": overlap, **({"name": name} if name else {})}
        _store(
            session,
            spec.model_copy(update=changes),
            minutes,
            as_json,
            load_registry(settings, session),
        )


def _store(
    session: Session,
    spec: QueueSpec,
    minutes: float | None,
    as_json: bool,
    registry: Registry,
) -> None:
    if minutes is not None:
        seconds = seconds_per_card(session, spec.way, spec.scope)
        spec = spec.model_copy(update={"limit": max(1, round(minutes * 60 / seconds))})
    built = build_queue(session, spec)
    promised = power_estimate(session, built, registry)
    queue_id = save_queue(session, built)
    if as_json:
        made = {"queue_id": queue_id, "cards": len(built.items), "left_out": built.left_out}
        show_json({**made, "promise": promised})
        return
    show(f"Queue {queue_id}: {_cards(len(built.items))} of {built.n_questions} questions.")
    for reason, n in built.left_out.items():
        show(f"Left out: {n} ({why_left_out(reason)}).")
    for one in promised.separable:
        show(_detectable(one))
    if promised.held_out:
        show(f"Of held-out questions, which never train: {_cards(promised.held_out)}.")
    if spec.scope != "question":
        expected = " and ".join(f"{n} ({kind})" for kind, n in promised.training_rows.items())
        show(f"About {expected or 'no'} training rows to expect, by the rules at their defaults.")


def _detectable(one: Separable) -> str:
    pair = f"{one.factor}: {one.a} / {one.b}: {_cards(one.n_cards)}"
    if round(100 * one.shows) >= 100:
        return f"{pair}, too few to tell which is better."
    ending = "" if one.is_enough else "; too few for less"
    return f"{pair}, a preference of {one.shows:.0%} or clearer will show{ending}."


def _cards(n: int) -> str:
    return "1 card" if n == 1 else f"{n} cards"


@app.as_command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL, JSON, XLSX or Parquet.")],
    encoding: Encoding = None,
    as_json: Json = False,
) -> None:
    """Import ratings: all of a file, or nothing where a row is wrong.

    Texts are found by their words, or by id. The same file again adds nothing.

    Example:
      q2q rate import ratings.jsonl
    """
    with open_home() as (settings, database), naming_encoding_option():
        done = import_ratings(database, path, load_axes(settings.home_dir), encoding=encoding)
    for line in (*done.notes, *done.problems):
        inform(line)
    if as_json:
        show_json(done)
    elif not done.errors:
        show(f"{done.added} added, {done.skipped} known already.")
    if done.errors:
        wrong = "1 row is" if done.errors == 1 else f"{done.errors} rows are"
        raise UsageError("Nothing was imported: {wrong} wrong.", wrong=wrong)


@app.as_command()
def export(
    queue_id: Annotated[int | None, typer.Option("--queue", help="Only of this queue.")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="Only of cards with this tag of a rater.")
    ] = None,
    is_noted: Annotated[
        bool, typer.Option("--noted", help="Only of cards on which a rater left a note.")
    ] = False,
    format_: Annotated[
        str, typer.Option("--format", help="jsonl, csv, xlsx or parquet.")
    ] = "jsonl",
    target: Annotated[
        Path | None, typer.Option("--to", help="File to write [default: stdout].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write all ratings that hold, each with its texts, their origin, and how it was shown.

    Example:
      q2q rate export --format csv --to ratings.csv
      q2q rate export --tag shallow --noted
    """
    with open_home() as (_, database):
        if queue_id is not None:
            with database.read() as session:
                get_queue(session, queue_id)
        rows = rating_rows(database, queue_id, tags=tags or (), is_noted=is_noted)
        export_rows(rows, COLUMNS, format_, target, as_json=as_json)


app.as_command()(insights)
