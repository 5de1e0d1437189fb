"""What a step brought, laid out once its job has ended: cards of answers, candidates to ask next.

A step ends with what there is: what failed, was cut or could not be read is told by problems, in
words, and everything that arrived is there.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow, NewEvent, add_event, get_dialogue, get_node, read_events
from db.jobs import get_job, request_cancel
from db.sweeps import get_sweep
from db.tables import Answer, Generation, Prompt, SweepGeneration, utc_now
from db.text_rows import read_texts
from serving.formats.lists import read_questions
from workbench.analysis.diversity import best_set, likeness
from workbench.dialogue.asked import earlier_questions
from workbench.dialogue.novelty import Novelty, assess
from workbench.dialogue.settings import DialogueSettings, move_instructions, parse_settings
from workbench.dialogue.turn import open_steps

BAD_FLAGS = ("unparsed", "cut_off", "repetition", "answer_leak")
"""Findings that put an answer behind others."""
STEPS = ("answer", "ask")


def collect(database: Database, dialogue_id: int) -> bool:
    """Lay out what ended steps of a session brought; tell whether anything changed.

    Call it again and again while a step is under way: it is cheap where nothing has ended. A step
    that takes longer than the session's deadline is stopped.
    """
    with database.read() as session:
        steps = open_steps(read_events(session, dialogue_id))
        ready = [event for event in steps if event.kind in STEPS and _has_ended(session, event)]
        late = [event for event in steps if event not in ready and _is_late(session, event)]
    if not ready and not late:
        return False
    with database.write() as session:
        for event in late:
            request_cancel(session, event.payload["job_id"])
        still = {event.id for event in open_steps(read_events(session, dialogue_id))}
        ready = [event for event in ready if event.id in still]
        for event in ready:
            show_step(session, event)
    return bool(ready)


def show_step(session: Session, step: EventRow) -> int:
    """Lay out what a step brought so far, as its end; return the event's id."""
    return (_show_answers if step.kind == "answer" else _show_questions)(session, step)


def _has_ended(session: Session, step: EventRow) -> bool:
    job = get_job(session, step.payload["job_id"])
    return not job.is_active or (job.sweep_id is None and job.state == "done")


def _is_late(session: Session, step: EventRow) -> bool:
    job = get_job(session, step.payload["job_id"])
    if job.started_at is None or job.cancel_requested_at is not None or job.sweep_id is None:
        return False
    settings = parse_settings(get_dialogue(session, step.session_id).settings)
    return utc_now() - job.started_at > timedelta(seconds=settings.turn_timeout_s)


def engine_problems(session: Session, step: EventRow) -> list[str]:
    """Return why some of a step's texts did not come, in sentences."""
    sweep = get_sweep(session, step.payload["sweep_id"])
    problems = [sweep.error] if sweep.error else []
    if sweep.state == "cancelled":
        problems.append("It was stopped before everything had come.")
    errors = session.scalars(
        select(Generation.error)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .where(SweepGeneration.sweep_id == sweep.sweep_id, ~Generation.ok)
        .order_by(Generation.id)
    )
    missing = sweep.failed + sweep.blocked
    if missing:
        first = next((error for error in errors if error), "")
        problems.append(f"{missing} of {sweep.cells} texts failed. {first}".strip())
    return list(dict.fromkeys(problems))


def _show_answers(session: Session, step: EventRow) -> int:
    settings = parse_settings(get_dialogue(session, step.session_id).settings)
    answer_ids = session.scalars(
        select(Answer.id)
        .join(SweepGeneration, SweepGeneration.generation_id == Answer.generation_id)
        .where(SweepGeneration.sweep_id == step.payload["sweep_id"])
        .order_by(Answer.id)
    ).all()
    before = read_events(
        session, step.session_id, node_id=step.node_id, kinds=("answers_shown", "choose")
    )
    known = [one for event in before for one in event.payload.get("shown", ())]
    known += [one for event in before for one in event.payload.get("folded", ())]
    new = [one for one in answer_ids if one not in known]
    problems = engine_problems(session, step)
    if not new:
        problems.append("No new answer came.")
    shown = _most_different(session, new, settings.shown_answers)
    return _end(
        session,
        step,
        "answers_shown",
        {
            "shown": shown,
            "folded": [one for one in new if one not in shown],
            "problems": problems,
        },
    )


def _most_different(session: Session, answer_ids: Sequence[int], size: int) -> list[int]:
    """Return the answers to be laid out, in a random order: sound ones that differ most."""
    rows = read_texts(session, "answer", answer_ids)
    rows = {one: rows[one] for one in answer_ids if rows[one].text}
    if not rows:
        return []
    ids = list(rows)
    quality = np.array([1.0 - 0.5 * any(f in BAD_FLAGS for f in rows[one].flags) for one in ids])
    alike = likeness([rows[one].text for one in ids])
    shown = [ids[place] for place in best_set(quality, alike, size)]
    random.shuffle(shown)
    return shown


def _show_questions(session: Session, step: EventRow) -> int:
    dialogue = get_dialogue(session, step.session_id)
    settings = parse_settings(dialogue.settings)
    proposed, problems = _proposed(session, step)
    earlier = earlier_questions(session, step.session_id)
    texts = [one["text"] for one in proposed]
    assessed = assess(
        texts, [one.text for one in earlier], dialogue.theme.goal, dialogue.theme.opposing_goal
    )
    for candidate, novelty in zip(proposed, assessed, strict=True):
        nearest = None if novelty.nearest is None else earlier[novelty.nearest]
        candidate |= {
            "similarity": round(novelty.similarity, 3),
            "is_repeat": novelty.is_repeat,
            "same_as": novelty.same_as,
            "nearest": nearest.text if nearest else None,
            "nearest_node_id": nearest.node_id if nearest else None,
            "goal_distance": novelty.goal_distance,
            "opposing_distance": novelty.opposing_distance,
            "towards": novelty.towards,
        }
    shown = _to_show(proposed, assessed, settings)
    if not proposed:
        problems.append("No question came that could be read.")
    elif not shown:
        problems.append("Every proposed question was asked before.")
    return _end(
        session,
        step,
        "questions_shown",
        {
            "answer_id": step.payload["answer_id"],
            "candidates": proposed,
            "shown": shown,
            "problems": problems,
        },
    )


def _proposed(session: Session, step: EventRow) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the questions that were proposed, each with its move, and what went wrong."""
    moves = [one["move"] for one in step.payload["asks"]]
    known = {
        candidate["generation_id"]
        for event in read_events(
            session, step.session_id, node_id=step.node_id, kinds=("questions_shown",)
        )
        for candidate in event.payload["candidates"]
    }
    rows = session.execute(
        select(Generation.id, Generation.text, Generation.finish_reason, Prompt.text)
        .join(SweepGeneration, SweepGeneration.generation_id == Generation.id)
        .join(Prompt, Prompt.id == Generation.prompt_id)
        .where(SweepGeneration.sweep_id == step.payload["sweep_id"], Generation.ok)
        .order_by(Generation.id)
    )
    proposed: list[dict[str, Any]] = []
    problems = engine_problems(session, step)
    for generation_id, text, finish_reason, prompt in rows:
        if generation_id in known:
            continue
        move = next((one for one in moves if move_instructions()[one] in prompt), moves[0])
        read = read_questions(text or "", cut=finish_reason == "length")
        if read.problem is not None:
            problems.append(f"{move}: {read.problem}; {len(read.items)} questions could be read.")
        proposed += [
            {"text": item, "move": move, "generation_id": generation_id} for item in read.items
        ]
    return proposed, problems


def _to_show(
    proposed: Sequence[dict[str, Any]], assessed: Sequence[Novelty], settings: DialogueSettings
) -> list[int]:
    """Return the places of the candidates to show: of each move in turn the newest, no repeats."""
    by_move: dict[str, list[int]] = {}
    places = sorted(range(len(proposed)), key=lambda place: assessed[place].similarity)
    for place in places:
        if not assessed[place].is_repeat:
            by_move.setdefault(proposed[place]["move"], []).append(place)
    shown: list[int] = []
    while any(by_move.values()) and len(shown) < settings.shown_questions:
        for left in by_move.values():
            if left and len(shown) < settings.shown_questions:
                shown.append(left.pop(0))
    random.shuffle(shown)
    return shown


def _end(session: Session, step: EventRow, kind: str, payload: dict[str, Any]) -> int:
    assert step.node_id is not None
    node = get_node(session, step.session_id, step.node_id)
    return add_event(
        session,
        NewEvent(
            session_id=step.session_id,
            kind=kind,
            node_id=node.id,
            question_id=step.question_id,
            variant_id=step.variant_id,
            payload={**payload, "step": step.id},
            automatic=step.automatic,
        ),
    )
