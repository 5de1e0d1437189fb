"""What is written beside turns: sides, verdicts, translations, a synopsis, a replay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow, get_dialogue
from db.errors import Q2QError, UsageError
from db.identity import Ref, parse_ref
from db.rating.ratings import ensure_rater
from db.settings import Settings
from serving.formats.library import Registry, load_registry
from workbench.cli.dialogue_options import card, here, language_code, node_of
from workbench.cli.dialogue_show import answers_json, letter
from workbench.cli.dialogue_steps import end_of, follow, see_stored
from workbench.cli.output import say
from workbench.cli.planning import look_for_models
from workbench.dialogue.cards import NodeView, node_view
from workbench.dialogue.reading import translate
from workbench.dialogue.replay import Replay, read_replay, start_replay
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.sides import SIDES, argue, judge
from workbench.dialogue.synopsis import write_synopsis
from workbench.dialogue.turn import By, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
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


def run_argue(
    settings: Settings, database: Database, dialogue_id: int, number: int | None, rater: str
) -> dict[str, Any]:
    """Have both sides of a theme argued; return the cards that argue for one of them.

    Raises:
        Q2QError: No answer came for a side.
    """
    desk = _desk(settings, database, dialogue_id, number, rater)
    ended = desk.run(
        lambda session: argue(session, desk.registry, dialogue_id, desk.node_id, desk.by)
    )
    problems = [problem for event in ended for problem in event.payload["problems"]]
    answers = [one for one in answers_json(desk.view()) if one["side"]]
    if {one["side"] for one in answers} != set(SIDES):
        raise Q2QError(f"Not both sides were argued. {' '.join(problems)}".rstrip())
    return {"dialogue": dialogue_id, "answers": answers, "problems": problems}


def run_judge(
    settings: Settings,
    database: Database,
    dialogue_id: int,
    number: int | None,
    letters: str,
    rater: str,
) -> dict[str, Any]:
    """Have the audience judge two answers in both orders; return what it said.

    Raises:
        UsageError: Two answers are not named, or there are no two sides.
    """
    desk = _desk(settings, database, dialogue_id, number, rater)
    view = desk.view()
    pair = _pair(view, letters)
    ended = desk.run(
        lambda session: judge(session, desk.registry, dialogue_id, desk.node_id, pair, desk.by)
    )
    names = {one.answer.id: letter(place) for place, one in enumerate([*view.shown, *view.folded])}
    first, other = (names[one] for one in pair)
    said = [_verdict(event, first, other) for event in ended]
    agreed = {verdict["better"] for verdict in said}
    return {
        "dialogue": dialogue_id,
        "answers": {first: pair[0], other: pair[1]},
        "verdicts": said,
        "says": _in_words(agreed),
        "problems": [problem for event in ended for problem in event.payload["problems"]],
    }


def run_translate(
    settings: Settings,
    database: Database,
    dialogue_id: int,
    number: int | None,
    texts: Sequence[str],
    language: str,
    rater: str,
) -> list[dict[str, Any]]:
    """Have texts translated for reading; return each with what went wrong.

    Raises:
        UsageError: A text is not there, or the language is no code.
    """
    code = language_code(language)
    desk = _desk(settings, database, dialogue_id, number, rater)
    refs = _refs(desk.view(), texts)
    ended = desk.run(
        lambda session: [
            translate(session, desk.registry, dialogue_id, desk.node_id, ref, code, desk.by)
            for ref in refs
        ]
    )
    return [
        {name: event.payload[name] for name in ("ref", "language", "text", "problems")}
        for event in ended
    ]


def run_synopsis(settings: Settings, database: Database, dialogue_id: int, rater: str) -> None:
    """Have a dialogue summed up."""
    with database.write() as session:
        registry = load_registry(settings, session)
        by = By(rater_id=ensure_rater(session, rater))
        model = parse_settings(get_dialogue(session, dialogue_id).settings).model
    look_for_models(settings, database, [model], say)
    with database.write() as session:
        step = write_synopsis(session, registry, dialogue_id, by)
    follow(settings, database, step.job_id)


def run_replay(
    settings: Settings,
    database: Database,
    dialogue_id: int,
    changes: Mapping[str, str],
    answers: int,
) -> Replay:
    """Have the questions of a dialogue answered anew; return both, question by question."""
    with database.write() as session:
        registry = load_registry(settings, session)
        old = parse_settings(get_dialogue(session, dialogue_id).settings).model
    look_for_models(settings, database, [changes.get("model", old)], say)
    with database.write() as session:
        step = start_replay(session, registry, dialogue_id, changes, variants=answers)
    follow(settings, database, step.job_id)
    with database.read() as session:
        return read_replay(session, dialogue_id, step.sweep_id)


def _desk(
    settings: Settings, database: Database, dialogue_id: int, number: int | None, rater: str
) -> _Desk:
    see_stored(settings, database, dialogue_id)
    with database.write() as session:
        registry = load_registry(settings, session)
        by = By(rater_id=ensure_rater(session, rater))
        model = parse_settings(get_dialogue(session, dialogue_id).settings).model
        node_id = (
            here(session, dialogue_id) if number is None else node_of(session, dialogue_id, number)
        )
    look_for_models(settings, database, [model], say)
    return _Desk(
        settings=settings,
        database=database,
        registry=registry,
        dialogue_id=dialogue_id,
        node_id=node_id,
        by=by,
    )


def _pair(view: NodeView, letters: str) -> tuple[int, int]:
    if letters:
        named = [part for part in letters.split(",") if part.strip()]
        if len(named) != 2:
            raise UsageError("Name two answers, such as --answers A,B.")
        return card(view, named[0]).answer.id, card(view, named[1]).answer.id
    sides = {one.side: one.answer.id for one in (*view.folded, *reversed(view.shown)) if one.side}
    if set(sides) != set(SIDES):
        raise UsageError("There are no two sides yet: `q2q dialogue argue`, or name --answers A,B.")
    return sides["goal"], sides["opposing"]


def _refs(view: NodeView, texts: Sequence[str]) -> list[Ref]:
    if not texts:
        chosen = [Ref("answer", view.chosen.answer.id)] if view.chosen else []
        return [Ref("question", view.question.id), *chosen]
    return [
        Ref("answer", card(view, text).answer.id) if len(text.strip()) == 1 else parse_ref(text)
        for text in texts
    ]


def _verdict(event: EventRow, first: str, other: str) -> dict[str, Any]:
    outcome: str | None = event.payload["outcome"]
    better = {"a": first, "b": other, "tie": "neither"}.get(outcome or "")
    order = [other, first] if event.payload["is_swapped"] else [first, other]
    return {"order": order, "better": better, "why": event.payload["why"]}


def _in_words(agreed: set[str | None]) -> str:
    if None in agreed:
        return "There is no verdict in both orders; ask once more."
    if len(agreed) > 1:
        return "The order decided: the judge prefers whatever stands first or last."
    (better,) = agreed
    return (
        "Neither is better for the audience."
        if better == "neither"
        else (f"{better} convinces the audience more, in both orders.")
    )
