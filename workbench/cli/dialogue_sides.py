"""What a model writes beside the turns of a dialogue: sides, verdicts, translations, a synopsis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow
from db.errors import Q2QError, UsageError
from db.identity import parse_ref
from db.settings import Settings
from db.store.migrate import open_home
from serving.formats.library import Registry
from workbench.cli.dialogue_options import (
    As,
    DialogueId,
    card,
    language_code,
    node_of,
    number,
)
from workbench.cli.dialogue_show import answers_json, letter, show_replay, show_synopsis
from workbench.cli.dialogue_steps import end_of, follow, prepare, see_stored
from workbench.cli.output import Json, inform, show, show_json
from workbench.cli.typer_app import CommandGroup
from workbench.dialogue import reading, sides
from workbench.dialogue.cards import NodeView, node_view
from workbench.dialogue.events import By, here
from workbench.dialogue.replay import read_replay, start_replay
from workbench.dialogue.synopsis import write_synopsis
from workbench.dialogue.turn import Step

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
        at = _place(settings, database, dialogue, node, rater)
        ended = at.run(
            lambda session: sides.argue(session, at.registry, at.dialogue_id, at.node_id, at.by)
        )
        answers = [one for one in answers_json(at.view()) if one["side"]]
    problems = _problems(ended)
    if {one["side"] for one in answers} != set(sides.SIDES):
        raise Q2QError(f"Not both sides were argued. {' '.join(problems)}".rstrip())
    if as_json:
        show_json({"dialogue": at.dialogue_id, "answers": answers, "problems": problems})
        return
    for one in answers:
        show(f"{one['letter']} ({one['side']}): {one['text']}")


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
        at = _place(settings, database, dialogue, node, rater)
        view = at.view()
        pair = _pair(view, answers)
        ended = at.run(
            lambda session: sides.judge(
                session, at.registry, at.dialogue_id, at.node_id, pair, at.by
            )
        )
    names = {one.answer.id: letter(place) for place, one in enumerate([*view.shown, *view.folded])}
    first, other = (names[one] for one in pair)
    verdicts = [_verdict(event, first, other) for event in ended]
    conclusion = _conclusion({verdict["better"] for verdict in verdicts})
    if as_json:
        show_json(
            {
                "dialogue": at.dialogue_id,
                "answers": {first: pair[0], other: pair[1]},
                "verdicts": verdicts,
                "says": conclusion,
                "problems": _problems(ended),
            }
        )
        return
    for verdict in verdicts:
        better = verdict["better"] or "no verdict"
        order = " then ".join(verdict["order"])
        show(f"Read {order}: {better}. {verdict['why']}".rstrip())
    show(conclusion)


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
        code = language_code(to)
        at = _place(settings, database, dialogue, node, rater)
        refs = _refs(at.view(), text)
        ended = at.run(
            lambda session: [
                reading.translate(
                    session, at.registry, at.dialogue_id, at.node_id, ref, code, at.by
                )
                for ref in refs
            ]
        )
    translations = [
        {name: event.payload[name] for name in ("ref", "language", "text", "problems")}
        for event in ended
    ]
    if as_json:
        show_json(translations)
        return
    for one in translations:
        for problem in one["problems"]:
            inform(f"{one['ref']}: {problem}")
        show(f"{one['ref']}: {one['text']}")


def run_synopsis(
    settings: Settings, database: Database, dialogue_id: int, rater: str, as_json: bool
) -> None:
    """Have a dialogue summed up, and show what came."""
    registry, by = prepare(settings, database, dialogue_id, rater)
    with database.write() as session:
        step = write_synopsis(session, registry, dialogue_id, by)
    follow(settings, database, step.job_id)
    show_synopsis(database, dialogue_id, as_json)


def run_replay(
    settings: Settings,
    database: Database,
    dialogue_id: int,
    changes: Mapping[str, str],
    answers: int,
    as_json: bool,
) -> None:
    """Have the questions of a dialogue answered anew; show both, question by question."""
    registry, _ = prepare(settings, database, dialogue_id, model=changes.get("model"))
    with database.write() as session:
        step = start_replay(session, registry, dialogue_id, changes, variants=answers)
    follow(settings, database, step.job_id)
    with database.read() as session:
        replay = read_replay(session, dialogue_id, step.sweep_id)
    show_replay(replay, as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the steps of one command are started, and by whom."""

    settings: Settings
    database: Database
    registry: Registry
    dialogue_id: int
    node_id: int
    by: By

    def view(self) -> NodeView:
        with self.database.read() as session:
            return node_view(session, self.dialogue_id, self.node_id)

    def run(self, start: Callable[[Session], Sequence[Step]]) -> list[EventRow]:
        """Start steps, see them to their end, and return the events that tell what they brought."""
        with self.database.write() as session:
            steps = start(session)
        for step in steps:
            follow(self.settings, self.database, step.job_id)
        return [end_of(self.database, self.dialogue_id, step) for step in steps]


def _place(settings: Settings, database: Database, dialogue: str, node: str, rater: str) -> _Place:
    dialogue_id = number(dialogue)
    place = number(node, "question") if node else None
    see_stored(settings, database, dialogue_id)
    with database.read() as session:
        node_id = (
            here(session, dialogue_id) if place is None else node_of(session, dialogue_id, place)
        )
    registry, by = prepare(settings, database, dialogue_id, rater)
    return _Place(
        settings=settings,
        database=database,
        registry=registry,
        dialogue_id=dialogue_id,
        node_id=node_id,
        by=by,
    )


def _problems(ended: Sequence[EventRow]) -> list[str]:
    return [problem for event in ended for problem in event.payload["problems"]]


def _pair(view: NodeView, letters: str) -> tuple[int, int]:
    if letters:
        named = [part for part in letters.split(",") if part.strip()]
        if len(named) != 2:
            raise UsageError("Name two answers, such as --answers A,B.")
        return card(view, named[0]).answer.id, card(view, named[1]).answer.id
    found = {one.side: one.answer.id for one in (*view.folded, *reversed(view.shown)) if one.side}
    if set(found) != set(sides.SIDES):
        raise UsageError("There are no two sides yet: `q2q dialogue argue`, or name --answers A,B.")
    return found["goal"], found["opposing"]


def _refs(view: NodeView, texts: Sequence[str]) -> list[str]:
    if not texts:
        chosen = [str(view.chosen.answer.ref)] if view.chosen else []
        return [f"q{view.question.id}", *chosen]
    return [
        str(card(view, text).answer.ref if len(text.strip()) == 1 else parse_ref(text))
        for text in texts
    ]


def _verdict(event: EventRow, first: str, other: str) -> dict[str, Any]:
    outcome: str | None = event.payload["outcome"]
    better = {"a": first, "b": other, "tie": "neither"}.get(outcome or "")
    order = [other, first] if event.payload["is_swapped"] else [first, other]
    return {"order": order, "better": better, "why": event.payload["why"]}


def _conclusion(better_ones: set[str | None]) -> str:
    if None in better_ones:
        return "There is no verdict in both orders; ask once more."
    if len(better_ones) > 1:
        return "The order decided: the judge prefers whatever stands first or last."
    (better,) = better_ones
    return (
        "Neither is better for the audience."
        if better == "neither"
        else (f"{better} convinces the audience more, in both orders.")
    )
