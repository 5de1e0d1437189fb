"""The end of steps: as a job ends, what its steps brought is stored with it, by the worker alone.

A worker that was killed leaves the job to the next one, which then stores what had come. What has
no job to end with any more is stored by ``finish_left``: a step whose job was cancelled while it
waited, and a step of a home from before the worker did this.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow, read_events, read_open_steps
from db.jobs import JobEnd, JobRow, get_job, request_cancel
from workbench.dialogue.reading import translation_result
from workbench.dialogue.sides import verdict_result
from workbench.dialogue.step_result import StepResult, store_result
from workbench.dialogue.step_results import answer_result, question_result
from workbench.dialogue.synopsis import synopsis_result
from workbench.dialogue.turn import job_of, open_steps, running_turns

log = logging.getLogger(__name__)

ResultOf = Callable[[Session, EventRow, JobEnd], StepResult]
Finished = Sequence[tuple[EventRow, StepResult]]

RESULTS: Mapping[str, ResultOf] = {
    "answer": answer_result,
    "ask": question_result,
    "synopsis": synopsis_result,
    "translate": translation_result,
    "judge": verdict_result,
}
"""Kind of the event that began a step → what it brought, once its job ends."""
BUG = "What came could not be worked out: a bug; its trace is in the worker's log."
_TURNS = "turns"
"""Kind of the event that began turns which run by themselves."""
_EMPTY: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "answer": ("answers_shown", {"shown": [], "folded": []}),
    "ask": ("questions_shown", {"candidates": [], "shown": []}),
    "synopsis": ("synopsis_written", {"lines": []}),
    "translate": ("translated", {"text": ""}),
    "judge": ("verdict", {"outcome": None, "why": ""}),
}
"""Kind of step → event and payload of one whose result could not be worked out."""


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
    """Tell whether a step of a session has a job that ended and no result yet."""
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


def checkpoint(turns: EventRow, done: int, why: str) -> StepResult:
    """Return the end of turns that ran by themselves, and why they ended, in words."""
    told = {"turns": done, "asked": turns.payload["turns"], "why": why}
    return StepResult("checkpoint", told, automatic=True)


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


def _result(session: Session, step: EventRow, end: JobEnd) -> StepResult:
    if step.kind == _TURNS:
        events = read_events(session, step.dialogue_id, kinds=("pick",))
        return checkpoint(step, turns_done(events, step), end.error or "stopped")
    try:
        return RESULTS[step.kind](session, step, end)
    except Exception:  # A bug in one step must neither hold its job up nor be met again and again.
        log.exception("The result of step %d (%s) met a bug", step.id, step.kind)
        kind, payload = _EMPTY[step.kind]
        own = {name: step.payload[name] for name in _KEPT if name in step.payload}
        return StepResult(kind, {**own, **payload, "problems": [BUG]})


def _store(session: Session, finished: Finished) -> None:
    for step, result in finished:
        store_result(session, step, result)
