"""``q2q dialogue``: question-to-question dialogues, turn by turn, scripted or by hand."""

import json
from pathlib import Path
from typing import Annotated

import typer

from db.errors import UsageError
from db.new_files import new_file
from db.rating.ratings import ensure_rater
from db.store.migrate import open_home
from workbench.cli import dialogue_decide, dialogue_sides
from workbench.cli.archiving import Archived, add_archive_commands
from workbench.cli.dialogue_options import (
    As,
    DialogueId,
    NextOptions,
    Reason,
    check_settings,
    language_code,
    make_fork,
    number,
    parse_set,
)
from workbench.cli.dialogue_show import (
    list_all,
    show_comparison,
    show_node,
    show_tree,
)
from workbench.cli.dialogue_sides import run_replay, run_synopsis
from workbench.cli.dialogue_steps import run_next
from workbench.cli.output import (
    Json,
    inform,
    show_done,
    show_exactly,
    show_fields,
    show_json,
    show_table,
)
from workbench.cli.progress import Encoding, naming_encoding_option
from workbench.cli.typer_app import CommandGroup
from workbench.dialogue.events import By
from workbench.dialogue.export import read_export
from workbench.dialogue.lifecycle import new_dialogue
from workbench.dialogue.report import as_html, as_markdown
from workbench.dialogue.report import as_json as as_data
from workbench.dialogue.settings import load_theme
from workbench.dialogue.sheet_trees import import_sheet
from workbench.dialogue.tree import read_tree

app = CommandGroup()
add_archive_commands(app, "dialogue", "dialogue archive 1-4")


@app.as_command()
def new(
    theme: Annotated[Path, typer.Argument(help="YAML file of a theme; see docs/dialogues.md.")],
    name: Annotated[str, typer.Option(help="What lists call it [default: as the theme].")] = "",
    model: Annotated[str, typer.Option(help="Model that writes [default: of the settings].")] = "",
    set_: Annotated[
        list[str], typer.Option("--set", help="A setting, such as variants=4; may be repeated.")
    ] = [],  # noqa: B006 - Typer reads the default
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Begin a dialogue about a theme.

    Example:
      q2q dialogue new examples/themes/town_without_cars.yaml
    """
    changes = parse_set(set_) | ({"model": model} if model else {})
    loaded = load_theme(theme)
    with open_home() as (settings, database):
        check_settings(settings, database, loaded.settings.model_dump() | changes)
        with database.write() as session:
            by = By(rater_id=ensure_rater(session, rater))
            dialogue_id = new_dialogue(session, loaded, by, name=name or None, settings=changes)
        with database.read() as session:
            tree = read_tree(session, dialogue_id)
    question = tree.nodes[0].question
    if as_json:
        show_json({"dialogue": dialogue_id, "node": tree.nodes[0].id, "question": question})
        return
    show_fields({"dialogue": dialogue_id, "theme": loaded.name, "first_question": question})
    inform(f"To go on: q2q dialogue next {dialogue_id}")


@app.as_command("next")
def next_(
    dialogue: DialogueId,
    answer: Annotated[
        str, typer.Option(help="The answer to go on from: A, B, … or a number.")
    ] = "",
    question: Annotated[str, typer.Option(help="The next question: its number in the list.")] = "",
    write: Annotated[
        str, typer.Option(help="Your own next question; with --question, in its place.")
    ] = "",
    move: Annotated[
        list[str], typer.Option("--move", help="Kind of question to propose; may be repeated.")
    ] = [],  # noqa: B006 - Typer reads the default
    reason: Reason = "",
    edit: Annotated[
        str, typer.Option(help="Your version of the reasoning of --answer, answered anew.")
    ] = "",
    hint: Annotated[str, typer.Option(help="Your own reasoning to answer from first.")] = "",
    fact: Annotated[str, typer.Option(help="A fact for this question and all that follow.")] = "",
    source: Annotated[str, typer.Option(help="Where the fact is from.")] = "",
    more: Annotated[bool, typer.Option("--more", help="More answers, or more questions.")] = False,
    auto: Annotated[
        int, typer.Option(help="Run so many turns by themselves, each choice marked.", min=0)
    ] = 0,
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Run one turn: have the question answered, choose, have next questions proposed, choose.

    It goes as far as your choices go: without --answer it stops at the answers, without --question
    or --write at the questions; on a terminal it asks you. The model server stays up for the next
    command; `q2q serve stop` ends it.

    Example:
      q2q dialogue next 1 --answer B --move rebut --question 1 --reason "nobody doubted it yet"
    """
    options = NextOptions(
        answer=answer,
        question=question,
        write=write,
        edit=edit,
        moves=tuple(move),
        reason=reason,
        hint=hint,
        fact=fact,
        source=source,
        more=more,
        auto=auto,
        rater=rater,
        asks=not as_json,
    )
    with open_home() as (settings, database):
        found = run_next(settings, database, number(dialogue), options)
    if as_json:
        show_json(found)


@app.as_command("show")
def show_(
    dialogue: Annotated[
        str, typer.Argument(help="Number of a dialogue; without it, all are listed.")
    ] = "",
    node: Annotated[
        str, typer.Option(help="Number of a question: its answers and what led on.")
    ] = "",
    archived: Archived = False,
    as_json: Json = False,
) -> None:
    """List the dialogues, show one as a tree, or one of its questions with all its texts.

    Example:
      q2q dialogue show 1
    """
    with open_home() as (_, database):
        if not dialogue:
            list_all(database, archived, as_json)
            return
        if node:
            show_node(database, number(dialogue), number(node, "question"), as_json)
        else:
            show_tree(database, number(dialogue), as_json)


@app.as_command()
def export(
    dialogue: DialogueId,
    format_: Annotated[str, typer.Option("--format", help="md, html or json.")] = "md",
    target: Annotated[
        Path | None, typer.Option("--to", help="File to write [default: stdout].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a dialogue as a report for someone who was not there, or as data.

    Example:
      q2q dialogue export 1 --format html --to town.html
    """
    writers = {"md": as_markdown, "html": as_html, "json": as_data}
    if format_ not in writers:
        raise UsageError(
            "There is no format {format_!r}; give one of {writers}.",
            format_=format_,
            writers=", ".join(writers),
        )
    with open_home() as (_, database), database.read() as session:
        text = writers[format_](read_export(session, number(dialogue)))
    if target is None:
        if as_json:
            show_json(json.loads(text) if format_ == "json" else {"format": format_, "text": text})
        else:
            show_exactly(text.rstrip("\n"))
        return
    with new_file(target) as file:
        file.write(text.encode())
    if as_json:
        show_json({"file": target, "format": format_})
    else:
        inform(f"Wrote {target}.")


@app.as_command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV, XLSX, TSV, JSONL or Parquet.")],
    language: Annotated[str, typer.Option(help="ISO 639-1 code of the texts.")] = "en",
    rater: As = "me",
    encoding: Encoding = None,
    as_json: Json = False,
) -> None:
    """Bring in earlier dialogues from a spreadsheet, one tree for each goal.

    Columns: Goal, Step, QInitial, AInitial, FBA, FBQ1 to FBQ5, SEL1 to SEL5; see docs/dialogues.md.

    Example:
      q2q dialogue import sessions.xlsx
    """
    code = language_code(language)
    with open_home() as (_, database), database.write() as session:
        by = By(rater_id=ensure_rater(session, rater))
        with naming_encoding_option():
            found = import_sheet(session, file, by, language=code, encoding=encoding)
    if as_json:
        show_json(found)
        return
    show_table(
        [
            {
                "dialogue": one.dialogue_id,
                "goal": one.goal,
                "questions": one.n_questions,
                "new": "yes" if one.is_new else "no",
            }
            for one in found
        ],
        ("dialogue", "goal", "questions", "new"),
    )


@app.as_command()
def replay(
    dialogue: DialogueId,
    model: Annotated[str, typer.Option(help="Another model.")] = "",
    adapter: Annotated[
        str, typer.Option(help="Another adapter on the same base; `none` for the base alone.")
    ] = "",
    prompt_format: Annotated[str, typer.Option(help="Another prompt format.")] = "",
    role: Annotated[str, typer.Option(help="Another role.")] = "",
    answers: Annotated[int, typer.Option(help="Reasonings for each question.", min=1)] = 1,
    as_json: Json = False,
) -> None:
    """Have the questions of a dialogue answered anew by another model, adapter, format or role.

    Each can be changed by itself; the dialogue stays as it is.

    Example:
      q2q dialogue replay 1 --model smollm2-135m-instruct --prompt-format tagged
    """
    changes = {"model": model, "adapter": adapter, "prompt_format": prompt_format, "role": role}
    given = {key: value for key, value in changes.items() if value}
    with open_home() as (settings, database):
        run_replay(settings, database, number(dialogue), given, answers, as_json)


@app.as_command()
def compare(dialogue: DialogueId, other: DialogueId, as_json: Json = False) -> None:
    """Hold two dialogues side by side: depth, breadth, distinct questions, moves, time, ratings.

    Example:
      q2q dialogue compare 1 2
    """
    one, two = number(dialogue), number(other)
    if one == two:
        raise UsageError("Name two dialogues: one cannot be held beside itself.")
    with open_home() as (_, database):
        show_comparison(database, one, two, as_json)


@app.as_command()
def fork(
    dialogue: DialogueId,
    node: Annotated[str, typer.Option(help="Number of the question to begin at.")],
    name: Annotated[str, typer.Option(help="What lists call it.")] = "",
    set_: Annotated[
        list[str], typer.Option("--set", help="A setting that differs; may be repeated.")
    ] = [],  # noqa: B006 - Typer reads the default
    reason: Reason = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Begin a dialogue of its own at a question of another one, with the path that led there.

    Example:
      q2q dialogue fork 1 --node 3 --set variants=4
    """
    with open_home() as (settings, database):
        new_id = make_fork(
            settings,
            database,
            number(dialogue),
            number(node, "question"),
            parse_set(set_),
            name=name,
            reason=reason,
            rater=rater,
        )
    show_done(f"Dialogue {new_id} begins there.", {"dialogue": new_id}, as_json)


@app.as_command()
def synopsis(dialogue: DialogueId, rater: As = "me", as_json: Json = False) -> None:
    """Have the dialogue summed up: what is known now, what is open, and which questions show it.

    Example:
      q2q dialogue synopsis 1
    """
    with open_home() as (settings, database):
        run_synopsis(settings, database, number(dialogue), rater, as_json)


dialogue_decide.register(app)
dialogue_sides.register(app)
