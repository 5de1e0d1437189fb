"""``q2q dataset``: training sets by written rules, previewed, frozen, shown and exported."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from db.datasets import DatasetInfo, find_dataset, list_datasets
from db.errors import UsageError
from db.store.migrate import open_home
from serving.formats.library import load_registry
from serving.importers.folders import read_examples
from serving.importers.training_data import Judge, import_examples, preview_examples
from training.datasets import export as exports
from training.datasets.balance import balance_of, cautions, read_balance
from training.datasets.build import BuiltRow
from training.datasets.build import build as built_by
from training.datasets.freeze import consequences, freeze
from training.datasets.rules import as_yaml, load_rules, parse_rules
from workbench.cli.archiving import Archived, add_archive_commands
from workbench.cli.output import (
    Json,
    inform,
    show,
    show_exactly,
    show_fields,
    show_json,
    show_rows,
    show_table,
)
from workbench.cli.progress import Encoding, import_progress, naming_encoding_option
from workbench.cli.typer_app import CommandGroup
from workbench.i18n import caution_sentences, nothing_trains

app = CommandGroup()
add_archive_commands(app, "dataset", "dataset archive first-round", find=find_dataset)

MAX_LISTED = 70
"""Characters of a row in a list."""
Name = Annotated[str, typer.Argument(help="Name or number of a dataset; see `q2q dataset show`.")]


@app.as_command()
def build(
    rules: Annotated[Path, typer.Argument(help="YAML file of rules; see docs/datasets.md.")],
    preview: Annotated[
        bool, typer.Option("--preview", help="Only say what each rule takes and drops.")
    ] = False,
    rows: Annotated[
        bool, typer.Option("--rows", help="List the rows with the keys that strike them out.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Freeze without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Choose rows by rules and freeze them under a hash; the same again changes nothing.

    With --preview nothing is written. A row is left out by its key under struck_out in the rules.
    On a terminal, what freezing takes out of training for good is said before it is asked for.

    Example:
      q2q dataset build examples/datasets/first_round.yaml --preview --rows
      q2q dataset build examples/datasets/first_round.yaml
    """
    wanted = load_rules(rules)
    with open_home() as (settings, database):
        with database.write() as session:
            registry = load_registry(settings, session)
        with database.read() as session:
            built = built_by(session, wanted, registry)
            warnings = caution_sentences(cautions(balance_of(session, built)))
        if sentence := nothing_trains(built.counts.as_json()):
            warnings.insert(0, sentence)
        dataset_id = None
        if not preview:
            _confirm(built.counts.as_json(), asks=not yes and not as_json)
            with database.write() as session:
                dataset_id = freeze(session, built)
    facts = {
        "dataset_id": dataset_id,
        "name": wanted.name,
        "kind": wanted.kind,
        "content_hash": built.content_hash,
    }
    listed = [_built_row(row) for row in (*built.rows, *built.struck_out)] if rows else None
    if as_json:
        given = {} if listed is None else {"row_list": listed}
        show_json({**facts, **built.counts.as_json(), "warnings": warnings, **given})
        return
    if listed is not None:
        show_table(listed, ("key", "split", "target", "question_id", "text"))
    show_fields(facts)
    _show_figures(built.counts.as_json())
    for line in warnings:
        inform(line)


def _confirm(counts: dict[str, Any], *, asks: bool) -> None:
    """Say what freezing does for good; on a terminal, ask.

    Raises:
        UsageError: The answer is no.
    """
    if not counts["rows"]["train"]:
        return  # it is refused
    for sentence in consequences(counts):
        inform(sentence)
    if asks and sys.stdin.isatty() and not typer.confirm("Freeze?", err=True):
        raise UsageError("Nothing was frozen.")


def _built_row(row: BuiltRow) -> dict[str, object]:
    """Return a row of a table of rows that are not stored yet."""
    texts = row.texts
    learned = texts.questions or texts.answer or texts.reasoning or ""
    return {
        "key": row.key,
        "split": row.split,
        "target": row.target,
        "question_id": row.candidate.question_id,
        "text": " ".join(learned.split())[:MAX_LISTED],
    }


@app.as_command("show")
def show_(
    name: Annotated[
        str | None, typer.Argument(help="Name or number; without it, all are listed.")
    ] = None,
    archived: Archived = False,
    as_json: Json = False,
) -> None:
    """List the frozen datasets, or show one: its rules, and what each took and dropped.

    Example:
      q2q dataset show
      q2q dataset show first-round
    """
    with open_home() as (_, database), database.read() as session:
        if name is None:
            found = list_datasets(session, archived=archived)
        else:
            found = [find_dataset(session, name)]
        balance = None if name is None else read_balance(session, found[0])
    if balance is None:
        rows = [_row(one) for one in found]
        show_rows(rows, ("id", "name", "kind", "n_train", "n_held_out", "content_hash"), as_json)
        return
    (dataset,) = found
    warnings = caution_sentences(cautions(balance))
    if as_json:
        show_json({**asdict(dataset), "warnings": warnings})
        return
    show_fields({**_row(dataset), "frozen_at": dataset.frozen_at})
    _show_figures(dataset.counts)
    for line in warnings:
        inform(line)
    show_exactly("\n" + as_yaml(parse_rules(dataset.rules)).rstrip())


@app.as_command()
def export(
    name: Name,
    target: Annotated[
        Path, typer.Argument(help="File to make; for hf and llamafactory, a folder.")
    ],
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="alpaca, sharegpt, messages, trl, parquet, hf or llamafactory."
        ),
    ] = "trl",
    prompt_format: Annotated[
        str | None,
        typer.Option(
            help="Prompt format of the texts [default: tagged; chat where there are turns]."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="train or held_out, for formats that are one file.")
    ] = "train",
    as_json: Json = False,
) -> None:
    """Write a frozen dataset in a form that other programs load.

    Example:
      q2q dataset export first-round first_round.json --format alpaca
      q2q dataset export first-round first_round --format hf
    """
    if split not in ("train", "held_out"):
        raise UsageError("There is no split {split!r}; choose train or held_out.", split=split)
    with open_home() as (settings, database):
        with database.write() as session:
            registry = load_registry(settings, session)
        form = registry.format(prompt_format or exports.default_prompt_format(format_)).definition
        with database.read() as session:
            dataset = find_dataset(session, name)
            chosen: Any = split
            written = exports.export(session, dataset, format_, target, form=form, split=chosen)
    if as_json:
        show_json({"file": target, "prompt_format": form.reference, "rows": written})
        return
    for file, n_rows in written.items():
        show(f"{n_rows} rows in {target if target.name == file else target / file}.")


@app.as_command("import")
def import_(
    path: Annotated[
        Path, typer.Argument(help="A file, a folder, or LLaMA-Factory's dataset_info.json.")
    ],
    only: Annotated[
        str | None, typer.Option(help="Of a dataset_info.json, the dataset to read [default: all].")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Tag for the questions; may be given several times.")
    ] = None,
    rater: Annotated[
        str, typer.Option(help="Who is to have judged the pairs and labels.")
    ] = "imported",
    judged_by: Annotated[
        str, typer.Option(help="person or model: whether that rater is one or the other.")
    ] = "person",
    preview: Annotated[
        bool, typer.Option("--preview", help="Only say what would come in, and what is wrong.")
    ] = False,
    skip_errors: Annotated[
        bool, typer.Option("--skip-errors", help="Leave out rows with problems.")
    ] = False,
    encoding: Encoding = None,
    as_json: Json = False,
) -> None:
    """Bring training data in: Alpaca, ShareGPT, ChatML, TRL, Parquet, folders of `datasets`.

    A pair becomes a comparison, OK or not OK a rating. Either everything comes in or nothing; the
    same again adds nothing.

    Example:
      q2q dataset import preferences.jsonl --preview
      q2q dataset import preferences.jsonl --tag outside
    """
    if judged_by not in ("person", "model"):
        raise UsageError(
            "--judged-by {judged_by} is not known; choose person or model.", judged_by=judged_by
        )
    kind: Any = judged_by
    judge = Judge(name=rater, kind=kind)
    with open_home() as (settings, database):
        with database.write() as session:
            registry = load_registry(settings, session)
        with naming_encoding_option(), import_progress() as on_progress:
            files = read_examples(path, registry, only=only, encoding=encoding)
            if preview:
                done = preview_examples(database, files, judge, on_progress=on_progress)
            else:
                done = import_examples(
                    database,
                    files,
                    judge=judge,
                    tags=tuple(tag or ()),
                    skip_errors=skip_errors,
                    on_progress=on_progress,
                )
    sentences = [problem.sentence for problem in done.problems]
    if as_json:
        show_json({**asdict(done.counts), "problems": sentences, "notes": done.notes})
        return
    for line in (*done.notes, *sentences):
        inform(line)
    show_fields(asdict(done.counts))


def _row(dataset: DatasetInfo) -> dict[str, object]:
    names = ("id", "name", "kind", "n_train", "n_held_out", "content_hash")
    return {name: getattr(dataset, name) for name in names}


def _show_figures(counts: dict[str, Any]) -> None:
    """Write what was taken and dropped, a line for each reason."""
    show_fields(
        {
            "candidates": counts["candidates"],
            **{f"  not taken: {name}": n for name, n in counts["not_taken"].items()},
            **{f"  taken: {name}": n for name, n in counts["taken"].items()},
            **{f"  dropped: {name}": n for name, n in counts["dropped"].items()},
            "kept": counts["kept"],
            "rows to train on": counts["rows"]["train"],
            "rows held out": counts["rows"]["held_out"],
            "questions": counts["questions"],
            "newly held out": counts["newly_held_out"],
            "ratings": counts["ratings"],
        }
    )
    if n := counts.get("off_scale"):
        inform(f"{n} ratings were not counted: their values are off their scale.")
    if n := counts.get("answer_seen"):
        inform(f"{n} ratings of reasonings were not counted: an answer had been seen before.")
    if n := counts.get("struck_out"):
        inform(f"Rows struck out by hand: {n}.")
