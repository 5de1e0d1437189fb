"""``q2q question``: questions in, questions out, and the exact prompt of one."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.identity import parse_ref
from db.models import ModelRow, find_model
from db.new_files import new_file
from db.questions import QuestionFilter, get_question, list_questions, question_ids
from db.settings import Settings
from db.store.migrate import open_home
from db.tables import ReasoningVariant
from db.texts.grades import set_answer_check
from db.texts.inputs import question_texts
from serving.correctness import ANSWER_CHECKS, parse_answer_check
from serving.correctness.store import grade_answers
from serving.formats.definitions import Task
from serving.formats.library import load_registry
from serving.formats.render import RenderedPrompt
from serving.formats.tokenizer import PromptTokenizer
from serving.importers.fields import field_of
from serving.importers.question_files import ReadOptions, import_path
from serving.models.register import ensure_default_model
from serving.sweeps.expand import render_question
from serving.sweeps.slots import TASK_OF_MODE
from workbench.cli.archiving import Archived, add_archive_commands, take
from workbench.cli.exporting import question_lines
from workbench.cli.output import (
    Json,
    inform,
    show,
    show_done,
    show_exactly,
    show_fields,
    show_json,
    show_json_rows,
    show_table,
)
from workbench.cli.progress import Encoding, import_progress, naming_encoding_option
from workbench.cli.typer_app import CommandGroup

app = CommandGroup()
add_archive_commands(app, "question", "question archive 3-9 q12")
app.as_command()(take)

Tags = Annotated[list[str] | None, typer.Option("--tag", help="With this tag; repeatable.")]
Roles = Annotated[list[str] | None, typer.Option("--role", help="With this role; repeatable.")]
Languages = Annotated[
    list[str] | None, typer.Option("--language", help="In this language, e.g. ja; repeatable.")
]
Search = Annotated[str, typer.Option(help="Words that the question holds.")]


@app.as_command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A file, or a folder of them.")],
    tag: Annotated[
        list[str] | None, typer.Option(help="Put this tag on every question; repeatable.")
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(help="How answers are compared with the reference answer, e.g. number:1%."),
    ] = None,
    skip_errors: Annotated[
        bool, typer.Option("--skip-errors", help="Import the good rows of a file with bad ones.")
    ] = False,
    encoding: Encoding = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FIELD",
            help="What a column stands for, e.g. frage=question; repeatable.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import questions, with reasonings and answers where the file has them.

    Reads CSV, TSV, JSONL, JSON, XLSX, Parquet and OpenAI batch JSONL. Either everything is imported
    or nothing; the same file again adds nothing.

    Example:
      q2q question import examples/questions
      q2q question import mine.csv --tag pilot --check number
      q2q question import fragen.csv --column frage=question
    """
    with open_home() as (_, database), naming_encoding_option(), import_progress() as on_progress:
        done = import_path(
            database,
            path,
            extra_tags=tuple(tag or ()),
            answer_check=check,
            skip_errors=skip_errors,
            reading=ReadOptions(encoding=encoding, columns=_columns(column or ())),
            on_progress=on_progress,
        )
    for line in (*done.notes, *done.problems):
        inform(line)
    if as_json:
        show_json(done)
        return
    show(
        f"{done.added} added, {done.updated} updated, {done.skipped} known already,"
        f" {done.errors} left out; {done.variants} reasonings and {done.answers} answers."
    )


def _columns(given: Sequence[str]) -> dict[str, str]:
    """Return what ``--column`` says: the column → what it stands for."""
    found = {}
    for one in given:
        name, _, field = one.rpartition("=")
        if not name or field_of(field) is None:
            raise UsageError(
                "--column {given} is none; give the column and what it stands for, such as"
                " frage=question, context, reference_answer, reasoning, output, category or tags.",
                given=one,
            )
        found[name] = field
    return found


@app.as_command("list")
def list_(
    tag: Tags = None,
    role: Roles = None,
    language: Languages = None,
    search: Search = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    archived: Archived = False,
    proposed: Annotated[
        bool, typer.Option("--proposed", help="Only what dialogues brought up, not in the pool.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List questions, the newest first.

    Example:
      q2q question list --tag example --language ja
    """
    with open_home() as (_, database), database.read() as session:
        wanted = replace(
            _filter(tag, role, language, search),
            archived=archived,
            in_pool=False if proposed else None,
        )
        found = list_questions(session, wanted, page_size=limit)
    if as_json:
        show_json(found.rows)
        return
    rows = [
        {
            "id": row.ref,
            "role": row.role,
            "language": row.language,
            "reasonings": row.n_variants,
            "answers": row.n_answers,
            "question": _shortened(row.text),
        }
        for row in found.rows
    ]
    show_table(rows, ("id", "role", "language", "reasonings", "answers", "question"))


@app.as_command("show")
def show_(
    question: Annotated[str, typer.Argument(help="Id of a question, e.g. q12.")],
    rendered: Annotated[
        bool, typer.Option("--rendered", help="The exact text and token ids that are sent.")
    ] = False,
    form: Annotated[
        str, typer.Option("--format", help="Prompt format, for --rendered.")
    ] = "chat@1",
    role: Annotated[
        str | None, typer.Option(help="Role, for --rendered [default: the question's own].")
    ] = None,
    mode: Annotated[
        str,
        typer.Option(help="reasoning, supplied, vanilla, rationalise or ensemble."),
    ] = "reasoning",
    variant: Annotated[
        list[str] | None,
        typer.Option(help="Reasoning to start from, e.g. v3; twice for ensemble."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose token ids [default: the model of the settings].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a question, or with --rendered exactly what a model would be sent.

    Example:
      q2q question show q12
      q2q question show q12 --rendered --format tagged@1 --mode supplied --variant v3
    """
    question_id = _id_of(question, "question")
    with open_home() as (settings, database):
        with database.read() as session:
            row = get_question(session, question_id)
        if not rendered:
            if as_json:
                show_json(row)
            else:
                fields = {name: getattr(row, name) for name in row.__slots__}
                show_fields({"id": row.ref, **{k: v for k, v in fields.items() if k != "id"}})
            return

        prompt = _rendered_prompt(
            settings,
            database,
            question_id,
            form=form,
            role=role,
            mode=mode,
            variant_ids=[_id_of(one, "variant") for one in variant or ()],
            model=model,
        )
    if as_json:
        show_json(prompt)
        return
    show_exactly(prompt.text)
    inform(f"{len(prompt.token_ids)} token ids: {' '.join(map(str, prompt.token_ids))}")
    inform(f"Stop strings: {list(prompt.stop)}; stop token ids: {list(prompt.stop_token_ids)}")


@app.as_command()
def export(
    target: Annotated[Path | None, typer.Argument(help="File to write [default: stdout].")] = None,
    tag: Tags = None,
    role: Roles = None,
    language: Languages = None,
    search: Search = "",
    as_json: Json = False,
) -> None:
    """Write questions as JSONL, in the form that `q2q question import` reads.

    Example:
      q2q question export japanese.jsonl --language ja
    """
    with open_home() as (_, database):
        lines = question_lines(database, _filter(tag, role, language, search))
        if target is None and as_json:
            show_json_rows(map(json.loads, lines))
            return
        if target is None:
            for line in lines:
                show_exactly(line)
            return
        n_written = _write_new(target, lines)
    show_done(f"{n_written} questions in {target}.", {"file": target, "rows": n_written}, as_json)


@app.as_command()
def check(
    tag: Tags = None,
    role: Roles = None,
    language: Languages = None,
    search: Search = "",
    by: Annotated[
        str | None,
        typer.Option(
            help=f"How: {', '.join(ANSWER_CHECKS)}; with an argument, number:1%. none: not at all."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare answers with the reference answers: choose how with --by, and grade what is missing.

    Without --by, answers are graded as their questions say already. Grades follow by themselves
    when a sweep ends, answers are imported, or a question is edited.

    Example:
      q2q question check --tag gsm8k --by number
      q2q question check
    """
    removes = by is not None and by.strip().lower() == "none"
    chosen = None if by is None or removes else parse_answer_check(by)
    with open_home() as (_, database):
        with database.read() as session:
            ids = question_ids(session, _filter(tag, role, language, search))
        n_changed = 0
        if by is not None:
            with database.write() as session:
                n_changed = set_answer_check(session, ids, str(chosen) if chosen else None)
        counts = grade_answers(database, ids)
    result = {"questions": n_changed, **asdict(counts)}
    show_done(
        f"{n_changed:,} questions changed; {counts.graded:,} answers graded,"
        f" {counts.correct:,} of them correct, {counts.ungradable:,} could not be told.",
        result,
        as_json,
    )


def _write_new(target: Path, lines: Iterable[str]) -> int:
    n_written = 0
    with new_file(target) as file:
        for line in lines:
            file.write(f"{line}\n".encode())
            n_written += 1
    return n_written


def _filter(
    tag: list[str] | None, role: list[str] | None, language: list[str] | None, search: str
) -> QuestionFilter:
    return QuestionFilter(
        search=search,
        tags=tuple(tag or ()),
        roles=tuple(role or ()),
        languages=tuple(language or ()),
    )


def _id_of(reference: str, kind: str) -> int:
    if re.fullmatch("[0-9]{1,18}", reference):
        return int(reference)
    found = parse_ref(reference)
    if found.kind != kind:
        raise UsageError(
            "{reference} is a {found_kind}; give the id of a {kind}.",
            reference=reference,
            found_kind=found.kind,
            kind=kind,
        )
    return found.id


def _shortened(text: str, width: int = 70) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _rendered_prompt(
    settings: Settings,
    database: Database,
    question_id: int,
    *,
    form: str,
    role: str | None,
    mode: str,
    variant_ids: Sequence[int],
    model: str | None,
) -> RenderedPrompt:
    """Return what a model would be sent for a question.

    In the mode ``reasoning``, the prompt that asks for the reasoning; with a variant, the one that
    asks for the answer under it.

    Raises:
        UsageError: Something named is not there, or the mode needs other variants.
    """
    task = _task(mode, len(variant_ids))
    default = ensure_default_model(database, settings) if model is None else None
    with database.write() as session:
        registry = load_registry(settings, session)
        chosen = default or find_model(session, model or "")
        (question,) = question_texts(session, [question_id])
        reasonings = [_reasoning(session, one, question_id) for one in variant_ids]
    return render_question(
        question,
        registry.format(form).definition,
        registry.role(role or question.role).definition.system,
        task,
        _tokenizer(chosen),
        reasonings=reasonings,
    )


def _task(mode: str, n_variants: int) -> Task:
    if mode not in TASK_OF_MODE:
        raise UsageError(
            "There is no mode {mode!r}; choose one of {task_of_mode}.",
            mode=mode,
            task_of_mode=", ".join(TASK_OF_MODE),
        )
    if mode == "reasoning" and n_variants == 1:
        return "answer"
    needed = {"supplied": 1, "ensemble": 2}.get(mode, 0)
    if n_variants != needed:
        raise UsageError(
            "The mode {mode} takes {needed} of --variant, not {n_variants}.",
            mode=mode,
            needed=needed,
            n_variants=n_variants,
        )
    return TASK_OF_MODE[mode]


def _reasoning(session: Session, variant_id: int, question_id: int) -> str:
    variant = session.execute(
        select(ReasoningVariant.text, ReasoningVariant.question_id).where(
            ReasoningVariant.id == variant_id
        )
    ).one_or_none()
    if variant is None:
        raise UsageError("There is no reasoning v{variant_id}.", variant_id=variant_id)
    if variant.question_id != question_id:
        raise UsageError(
            "v{variant_id} is a reasoning for q{question_id}, not for q{given}.",
            variant_id=variant_id,
            question_id=variant.question_id,
            given=question_id,
        )
    return str(variant.text)


def _tokenizer(model: ModelRow) -> PromptTokenizer | None:
    return PromptTokenizer.load(Path(model.path)) if model.path is not None else None
