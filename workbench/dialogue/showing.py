"""The end of steps: once a step's job has ended, what it brought becomes an event to look at."""

from collections.abc import Callable, Mapping

from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow, read_events
from db.jobs import get_job, request_cancel
from workbench.dialogue.ending import Ending, end_step
from workbench.dialogue.laying_out import show_answers, show_questions
from workbench.dialogue.reading import show_translation
from workbench.dialogue.sides import show_verdict
from workbench.dialogue.synopsis import show_synopsis
from workbench.dialogue.turn import open_steps, running_turns

ENDS: Mapping[str, Callable[[Session, EventRow], Ending]] = {
    "answer": show_answers,
    "ask": show_questions,
    "synopsis": show_synopsis,
    "translate": show_translation,
    "judge": show_verdict,
}
"""Kind of the event that began a step → what tells its end."""


def collect(database: Database, dialogue_id: int) -> bool:
    """Lay out what ended steps of a session brought; tell whether anything changed.

    Call it again and again while a step is under way: it is cheap where nothing has ended.
    """
    with database.read() as session:
        steps = open_steps(read_events(session, dialogue_id))
        ready = [event for event in steps if _has_ended(session, event)]
        # Comparing with an embedder takes a request: no lock is held meanwhile.
        endings = {event.id: ENDS[event.kind](session, event) for event in ready}
    if not ready:
        return False
    with database.write() as session:
        still = {event.id for event in open_steps(read_events(session, dialogue_id))}
        for event in ready:
            if event.id in still:
                end_step(session, event, endings[event.id])
    return True


def stop(session: Session, dialogue_id: int) -> int:
    """Ask for the end of all that is under way; return how many jobs. What has come is laid out."""
    steps = open_steps(read_events(session, dialogue_id))
    jobs = {event.payload["job_id"] for event in steps}
    turns = running_turns(session, dialogue_id)
    jobs |= {turns.id} if turns else set()
    for job_id in jobs:
        if get_job(session, job_id).is_active:
            request_cancel(session, job_id)
    return len(jobs)


def _has_ended(session: Session, step: EventRow) -> bool:
    return not get_job(session, step.payload["job_id"]).is_active
