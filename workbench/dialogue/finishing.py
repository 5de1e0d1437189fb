"""The end of steps: as a job ends, what its steps brought is stored with it, by the worker alone.

A step ends with what there is: what failed, was cut or could not be read is told by problems, in
words, and everything that arrived is there. A worker that was killed leaves the job to the next
one, which then stores what had come. What has no job to end with any more is stored by
``finish_left``: a step whose job was cancelled while it waited, and a step of a home from before
the worker did this.
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow, get_dialogue, has_ended, read_events, read_open_steps
from db.jobs import JobEnd, JobRow, get_job, request_cancel
from db.messages import Message
from db.settings import settings as settings_of_home
from db.tables import Answer, SweepGeneration
from db.texts.rows import read_texts
from serving.checks import BAD_FINDINGS
from serving.checks.language import other_language
from serving.formats.parse import read_questions
from serving.similarity.wording import wording
from workbench.dialogue.cards import earlier_proposals, earlier_questions
from workbench.dialogue.embedding import Guard
from workbench.dialogue.events import By, job_of, open_steps, record
from workbench.dialogue.novelty import Novelty
from workbench.dialogue.reading import translation_result
from workbench.dialogue.settings import (
    DialogueSettings,
    in_words,
    move_instructions,
    parse_settings,
)
from workbench.dialogue.sides import rate_verdict, verdict_result
from workbench.dialogue.step_result import engine_problems, written
from workbench.dialogue.synopsis import synopsis_result
from workbench.dialogue.turn import running_turns
from workbench.stats.diversity import best_set, similarity

Result = dict[str, Any]
"""Payload of the event that ends a step."""
MAX_BESIDE = 3
"""Cards that stay beside the answer to an edited reasoning."""


def answer_result(session: Session, step: EventRow, end: JobEnd) -> Result:
    """Return the answers of a step: the most different ones, the others folded."""
    settings = parse_settings(get_dialogue(session, step.dialogue_id).settings)
    answer_ids = session.scalars(
        select(Answer.id)
        .join(SweepGeneration, SweepGeneration.generation_id == Answer.generation_id)
        .where(SweepGeneration.sweep_id == step.payload["sweep_id"])
        .order_by(Answer.id)
    ).all()
    before = read_events(
        session, step.dialogue_id, node_id=step.node_id, kinds=("answers_shown", "choose")
    )
    known = [one for event in before for one in event.payload.get("shown", ())]
    known += [one for event in before for one in event.payload.get("folded", ())]
    new = [one for one in answer_ids if one not in known]
    problems = engine_problems(session, step, end)
    if not new:
        problems.append("No new answer came.")
    shown = _most_different(session, new, settings.shown_answers)
    if step.variant_id is not None and before:
        shown += _shown_last(before)
    folded = [one for one in new if one not in shown]
    return {"shown": shown, "folded": folded, "problems": problems}


def _shown_last(before: Sequence[EventRow]) -> list[int]:
    """Return the cards that lie there: an answer to an edit or a side is held against them."""
    last = next((event for event in reversed(before) if event.kind == "answers_shown"), None)
    return list(last.payload["shown"][:MAX_BESIDE]) if last else []


def _most_different(session: Session, answer_ids: Sequence[int], size: int) -> list[int]:
    """Return the answers to be laid out, in a random order: sound ones that differ most."""
    rows = read_texts(session, "answer", answer_ids)
    rows = {one: rows[one] for one in answer_ids if rows[one].text}
    if not rows:
        return []
    ids = list(rows)
    quality = np.array([1.0 - 0.5 * any(f in BAD_FINDINGS for f in rows[one].flags) for one in ids])
    pairs = similarity([rows[one].text for one in ids])
    shown = [ids[place] for place in best_set(quality, pairs, size, fill=True)]
    random.shuffle(shown)
    return shown


def question_result(session: Session, step: EventRow, end: JobEnd) -> Result:
    """Return the questions of a step: some of each move; repeats and the rest are folded."""
    dialogue = get_dialogue(session, step.dialogue_id)
    settings = parse_settings(dialogue.settings)
    proposed, problems = _proposed(session, step, end)
    assert step.node_id is not None  # questions are proposed at a node
    asked = earlier_questions(session, step.dialogue_id)
    earlier = [*asked, *earlier_proposals(session, step.dialogue_id, step.node_id)]
    texts = [one["text"] for one in proposed]
    guard = Guard(settings_of_home())
    goals = (dialogue.theme.goal, dialogue.theme.opposing_goal)
    assessed = guard.assess(texts, [one.text for one in earlier], *goals)
    problems += [guard.problem] if guard.problem else []
    here = next((wording(one.text).plain for one in asked if one.node_id == step.node_id), None)
    about = "\n".join((in_words(dialogue.theme), *(one.text for one in asked)))
    for candidate, novelty in zip(proposed, assessed, strict=True):
        nearest = None if novelty.nearest is None else earlier[novelty.nearest]
        candidate |= asdict(novelty) | {
            "is_here": wording(candidate["text"]).plain == here,
            "language": other_language(candidate["text"], dialogue.theme.language, about),
            "similarity": round(novelty.similarity, 3),
            "nearest": nearest.text if nearest else None,
            "nearest_node_id": nearest.node_id if nearest else None,
            "nearest_is": nearest.how if nearest else None,
        }
    shown = _to_show(proposed, assessed, settings)
    if not proposed:
        problems.append("No question came that could be read.")
    elif not shown:
        is_foreign = any(one["language"] for one in proposed)
        problems.append(_ALL_FOREIGN_OR_KNOWN if is_foreign else _ALL_KNOWN)
    return {
        "answer_id": step.payload["answer_id"],
        "candidates": proposed,
        "shown": shown,
        "problems": problems,
    }


def _proposed(
    session: Session, step: EventRow, end: JobEnd
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the questions that were proposed, each with its move, and what went wrong."""
    moves = [one["move"] for one in step.payload["asks"]]
    known = {
        candidate["generation_id"]
        for event in read_events(
            session, step.dialogue_id, node_id=step.node_id, kinds=("questions_shown",)
        )
        for candidate in event.payload["candidates"]
    }
    asked = {one.text for one in earlier_questions(session, step.dialogue_id)}
    proposed: list[dict[str, Any]] = []
    problems = engine_problems(session, step, end)
    for one in written(session, step):
        if one.generation_id in known:
            continue
        move = next((m for m in moves if move_instructions()[m] in one.prompt), moves[0])
        read = read_questions(one.text, cut=one.is_cut)
        if read.problem is not None:
            problems.append(
                Message(
                    "{move}: {why}; {n} questions could be read.",
                    move=move,
                    why=read.problem,
                    n=len(read.items),
                )
            )
        own = [item for item in read.items if item in asked or item not in one.prompt]
        if len(own) < len(read.items):
            n_repeated = len(read.items) - len(own)
            problems.append(
                Message("{move}: {n} lines only repeat the prompt.", move=move, n=n_repeated)
            )
        proposed += [
            {"text": item, "move": move, "generation_id": one.generation_id} for item in own
        ]
    return proposed, problems


def _to_show(
    proposed: Sequence[dict[str, Any]], assessed: Sequence[Novelty], settings: DialogueSettings
) -> list[int]:
    """Return the places of the candidates to show: of each move in turn the newest.

    Repeats, and questions in another language than the dialogue's, stay folded.
    """
    by_move: dict[str, list[int]] = {}
    places = sorted(range(len(proposed)), key=lambda place: assessed[place].similarity)
    for place in places:
        if not (assessed[place].is_repeat or proposed[place]["language"]):
            by_move.setdefault(proposed[place]["move"], []).append(place)
    shown: list[int] = []
    while any(by_move.values()) and len(shown) < settings.shown_questions:
        for left in by_move.values():
            if left and len(shown) < settings.shown_questions:
                shown.append(left.pop(0))
    random.shuffle(shown)
    return shown


log = logging.getLogger(__name__)
ResultOf = Callable[[Session, EventRow, JobEnd], Result]
RESULTS: Mapping[str, ResultOf] = {
    "answer": answer_result,
    "ask": question_result,
    "synopsis": synopsis_result,
    "translate": translation_result,
    "judge": verdict_result,
}
"""Kind of the event that began a step → the payload of the one that ends it, once its job ends."""
_ALL_KNOWN = "Every proposed question was asked or proposed before."
_ALL_FOREIGN_OR_KNOWN = (
    "Every proposed question was asked or proposed before or is in another language."
)
BUG = "What came could not be worked out: a bug; its trace is in the worker's log."
_TURNS = "turns"
"""Kind of the event that began turns which run by themselves."""
_ENDS: Mapping[str, tuple[str, Result]] = {
    "answer": ("answers_shown", {"shown": [], "folded": []}),
    "ask": ("questions_shown", {"candidates": [], "shown": []}),
    "synopsis": ("synopsis_written", {"lines": []}),
    "translate": ("translated", {"text": ""}),
    "judge": ("verdict", {"outcome": None, "why": ""}),
    _TURNS: ("checkpoint", {}),
}
"""Kind of step → the event that ends it, and its payload where the result met a bug."""
_KEPT = ("answer_id", "ref", "language", "a", "b", "is_swapped")
"""What an event of a result keeps of the event that began the step."""


def results_of_job(session: Session, job: JobRow, end: JobEnd) -> Callable[[Session], None]:
    """Work out what the steps of a job that ends brought; what is returned stores it.

    The two are apart since comparing questions may take a request to an embedder, and no lock is
    held meanwhile.
    """
    dialogue_id = job.payload.get("dialogue_id")
    if dialogue_id is None:
        return lambda session: None
    steps = _unfinished(read_events(session, dialogue_id))
    finished = [(one, _result(session, one, end)) for one in steps if job_of(one) == job.id]
    return lambda session: _store(session, finished)


def finish_left(database: Database) -> int:
    """Store what steps brought whose jobs have ended without; return how many there were."""
    with database.read() as session:
        finished = [
            (step, _result(session, step, end))
            for step in _unfinished(read_open_steps(session, (*RESULTS, _TURNS)))
            if (end := _end_of_job(session, step)) is not None
        ]
    if finished:
        with database.write() as session:
            _store(session, finished)
    return len(finished)


def has_left(session: Session, dialogue_id: int) -> bool:
    """Tell whether a step of a dialogue has a job that ended and no result yet."""
    steps = _unfinished(read_events(session, dialogue_id))
    return any(_end_of_job(session, step) is not None for step in steps)


def stop(session: Session, dialogue_id: int) -> int:
    """Ask for the end of all that is under way; return how many jobs. What has come is stored."""
    steps = open_steps(read_events(session, dialogue_id))
    jobs = {event.payload["job_id"] for event in steps}
    turns = running_turns(session, dialogue_id)
    jobs |= {turns.id} if turns else set()
    return sum(request_cancel(session, job_id) for job_id in jobs)


def turns_done(events: Sequence[EventRow], turns: EventRow) -> int:
    """Return how many of the ``turns`` that run by themselves were brought to their end."""
    return sum(one.kind == "pick" and one.automatic and one.id > turns.id for one in events)


def checkpoint(turns: EventRow, done: int, why: str) -> Result:
    """Return the end of turns that ran by themselves, and why they ended, in words."""
    return {"turns": done, "asked": turns.payload["turns"], "why": why}


def _unfinished(events: Sequence[EventRow]) -> list[EventRow]:
    """Return the steps without an end; turns that ran by themselves come after their steps."""
    ended = {event.step_id for event in events}
    kinds = (*RESULTS, _TURNS)
    steps = [one for one in events if one.kind in kinds and one.id not in ended]
    with_job = [one for one in steps if job_of(one) is not None]
    return sorted(with_job, key=lambda one: one.kind == _TURNS)


def _end_of_job(session: Session, step: EventRow) -> JobEnd | None:
    """Return how a step's job ended; None while it is active."""
    job_id = job_of(step)
    assert job_id is not None  # see _unfinished
    return get_job(session, job_id).end


def _result(session: Session, step: EventRow, end: JobEnd) -> Result:
    if step.kind == _TURNS:
        events = read_events(session, step.dialogue_id, kinds=("pick",))
        return checkpoint(step, turns_done(events, step), end.error or "stopped")
    try:
        return RESULTS[step.kind](session, step, end)
    except Exception:  # A bug in one step must neither hold its job up nor be met again and again.
        log.exception("The result of step %d (%s) met a bug", step.id, step.kind)
        own = {name: step.payload[name] for name in _KEPT if name in step.payload}
        return {**own, **_ENDS[step.kind][1], "problems": [BUG]}


def _store(session: Session, finished: Sequence[tuple[EventRow, Result]]) -> None:
    for step, result in finished:
        store_result(session, step, result)


def store_result(session: Session, step: EventRow, result: Result) -> None:
    """Add the event that keeps what a step brought; a step that has one already gets no other."""
    if has_ended(session, step.id):
        return
    if step.kind == "judge":
        rate_verdict(session, step, result)
    by = By(automatic=step.automatic or step.kind == _TURNS)
    own = {name: getattr(step, name) for name in ("node_id", "question_id", "variant_id")}
    kind, _ = _ENDS[step.kind]
    record(session, step.dialogue_id, kind, by, result, step_id=step.id, **own)
