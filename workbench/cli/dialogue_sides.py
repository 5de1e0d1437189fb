"""``q2q dialogue argue``, ``judge`` and ``translate``: what a model writes beside the turns."""

from typing import Annotated, Any

import typer

from workbench.cli.context import open_home
from workbench.cli.dialogue_extras import run_argue, run_judge, run_translate
from workbench.cli.dialogue_options import As, DialogueId, number
from workbench.cli.output import Json, say, show, show_json
from workbench.cli.typer_app import CommandGroup

Node = Annotated[str, typer.Option("--node", help="A question of the tree [default: at hand].")]


def register(app: CommandGroup) -> None:
    """Add the commands to ``q2q dialogue``."""
    for command in (argue, judge, translate):
        app.as_command()(command)


def argue(dialogue: DialogueId, node: Node = "", rater: As = "me", as_json: Json = False) -> None:
    """Have the question answered once for the goal of the theme and once for the opposing one.

    Example:
      q2q dialogue argue 1
    """
    with open_home() as (settings, database):
        told = run_argue(settings, database, number(dialogue), _number(node), rater)
    if as_json:
        show_json(told)
        return
    for card in told["answers"]:
        show(f"{card['letter']} ({card['side']}): {card['text']}")


def judge(
    dialogue: DialogueId,
    answers: Annotated[
        str, typer.Option(help="Two answers by letter, such as A,B [default: the two sides].")
    ] = "",
    node: Node = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Have the audience of the theme, played by the model, judge two answers in both orders.

    Example:
      q2q dialogue judge 1 --answers A,B
    """
    with open_home() as (settings, database):
        told = run_judge(settings, database, number(dialogue), _number(node), answers, rater)
    if as_json:
        show_json(told)
        return
    for verdict in told["verdicts"]:
        better = verdict["better"] or "no verdict"
        order = " then ".join(verdict["order"])
        show(f"Read {order}: {better}. {verdict['why']}".rstrip())
    show(told["says"])


def translate(
    dialogue: DialogueId,
    to: Annotated[str, typer.Option(help="ISO 639-1 code of the language to read in.")],
    text: Annotated[
        list[str], typer.Option("--text", help="q12, v3 or a7; a letter is an answer at hand.")
    ] = [],  # noqa: B006 - Typer reads the default
    node: Node = "",
    rater: As = "me",
    as_json: Json = False,
) -> None:
    """Read a question, reasoning or answer in another language; kept with the dialogue only.

    Without --text it is the question at hand and its chosen answer.

    Example:
      q2q dialogue translate 1 --to ja --text A
    """
    with open_home() as (settings, database):
        told = run_translate(settings, database, number(dialogue), _number(node), text, to, rater)
    if as_json:
        show_json(told)
        return
    for one in told:
        _show_translation(one)


def _show_translation(one: dict[str, Any]) -> None:
    for problem in one["problems"]:
        say(f"{one['ref']}: {problem}")
    show(f"{one['ref']}: {one['text']}")


def _number(node: str) -> int | None:
    return number(node, "question") if node else None
