"""Turns that run by themselves because a person asked for so many, up to a checkpoint.

Every choice on the way is marked as automatic. The dialogue stops as soon as a turn has nothing to
go on with, and it never begins a turn by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow, read_events
from db.errors import Q2QError, UsageError
from db.jobs import INTERACTIVE_PRIORITY, JobEnd, enqueue
from serving.formats.library import Registry
from workbench.dialogue.cards import Candidate, NodeView, node_view
from workbench.dialogue.decisions import choose, pick
from workbench.dialogue.events import By, here, open_dialogue, open_steps, record
from workbench.dialogue.finishing import RESULTS, checkpoint, store_result, turns_done
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.turn import TURNS_JOB, Step, answer, ask, running_turns

MAX_TURNS = 20
MAX_ASKINGS = 3
"""How often a turn asks for questions until one is new."""

RunSweep = Callable[[int], Awaitable[JobEnd]]
"""Brings the sweep of a step to its end, and tells how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What a person asked for."""

    dialogue_id: int
    turns: int
    by: By
    """Automatic, with the job that runs the sweeps."""
    moves: tuple[str, ...] = ()
    """None given: those of the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoOutcome:
    """How turns that ran by themselves ended."""

    turns: int
    """Whole ones."""
    why: str
    """Why they ended, in words."""


def queue_turns(
    session: Session, dialogue_id: int, turns: int, by: By, *, moves: Sequence[str] = ()
) -> int:
    """Queue so many automatic turns from where the person is; return the job's id.

    Raises:
        UsageError: Too many at once, or the dialogue is not open or busy.
    """
    if not 1 <= turns <= MAX_TURNS:
        raise UsageError(
            "Ask for 1 to {most} turns; look at what came before the next ones.", most=MAX_TURNS
        )
    dialogue = open_dialogue(session, dialogue_id)
    parse_settings({**dialogue.settings, **({"moves": list(moves)} if moves else {})})
    if open_steps(read_events(session, dialogue_id)) or running_turns(session, dialogue_id):
        raise UsageError("The model is at it already; wait for it, or stop it.")
    payload = {
        "dialogue_id": dialogue_id,
        "turns": turns,
        "rater_id": by.rater_id,
        "moves": list(moves),
    }
    job_id = enqueue(session, TURNS_JOB, payload=payload, priority=INTERACTIVE_PRIORITY)
    asked = {"turns": turns, "moves": list(moves), "auto_job_id": job_id}
    record(session, dialogue_id, "turns", by, asked, node_id=here(session, dialogue_id))
    return job_id


async def run_turns(
    database: Database,
    registry: Registry,
    wanted: Turns,
    run_sweep: RunSweep,
    *,
    on_turn: Callable[[int], None] = lambda done: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> AutoOutcome:
    """Run turns from where the person is, one after the other, then write the checkpoint.

    Called again after a crash, it goes on with the turn that was under way. Where ``run_sweep`` or
    ``is_cancelled`` raise something other than a ``Q2QError``, everything stays as it is for that.
    """
    runner = _Runner(database, registry, wanted, run_sweep)
    turns, done, ended = runner.begin()
    if ended is not None:
        return ended
    why = "as many turns as were asked for"
    try:
        while done < wanted.turns:
            if is_cancelled():
                why = "stopped"
                break
            stopped = await runner.turn()
            if stopped is not None:
                why = stopped
                break
            done += 1
            on_turn(done)
    except Q2QError as error:
        why = str(error)
    with database.write() as session:
        store_result(session, turns, checkpoint(turns, done, why))
    return AutoOutcome(turns=done, why=why)


@dataclass(frozen=True)
class _Runner:
    database: Database
    registry: Registry
    wanted: Turns
    run_sweep: RunSweep

    def begin(self) -> tuple[EventRow, int, AutoOutcome | None]:
        """Return the event by which the person asked, and what an earlier run of the job left.

        That is the number of turns that it brought to their end, and how it ended them all.
        """
        with self.database.read() as session:
            events = read_events(session, self.wanted.dialogue_id)
        job_id = self.wanted.by.job_id
        turns = next(one for one in reversed(events) if one.payload.get("auto_job_id") == job_id)
        end = next((one.payload for one in events if one.step_id == turns.id), None)
        outcome = AutoOutcome(turns=end["turns"], why=end["why"]) if end else None
        return turns, turns_done(events, turns), outcome

    async def turn(self) -> str | None:
        """Run one turn; return why it could not be brought to its end, or nothing."""
        await self._go_on()
        dialogue_id, by = self.wanted.dialogue_id, self.wanted.by
        view = self._view()
        if view.chosen is None:
            if not view.shown:
                view = await self._step(answer)
            if not view.shown:
                return " ".join(view.problems) or "No answer came."
            with self.database.write() as session:
                choose(session, dialogue_id, view.node.id, _soundest(view), by)
            view = self._view()
        best = _newest(view) if view.step == "pick" else None
        for _ in range(MAX_ASKINGS):
            if best is not None:
                break
            view = await self._step(ask, moves=self.wanted.moves)
            best = _newest(view)
        if best is None:
            return " ".join(view.problems) or "No new question came."
        with self.database.write() as session:
            pick(session, dialogue_id, view.node.id, best.event_id, best.place, by)
        return None

    async def _go_on(self) -> None:
        """Bring steps to their end that an earlier run of the job left."""
        with self.database.read() as session:
            left = open_steps(read_events(session, self.wanted.dialogue_id))
        for event in left:
            if event.payload["job_id"] == self.wanted.by.job_id:
                await self._finish(event.id, event.payload["sweep_id"])

    async def _step(self, start: Callable[..., Step], **options: object) -> NodeView:
        with self.database.write() as session:
            dialogue_id = self.wanted.dialogue_id
            node_id = here(session, dialogue_id)
            step = start(session, self.registry, dialogue_id, node_id, self.wanted.by, **options)
        await self._finish(step.event_id, step.sweep_id)
        return self._view()

    async def _finish(self, event_id: int, sweep_id: int) -> None:
        end = await self.run_sweep(sweep_id)
        await asyncio.to_thread(self._store, event_id, end)

    def _store(self, event_id: int, end: JobEnd) -> None:
        with self.database.read() as session:
            events = open_steps(read_events(session, self.wanted.dialogue_id))
            step = next(event for event in events if event.id == event_id)
            result = RESULTS[step.kind](session, step, end)
        with self.database.write() as session:
            store_result(session, step, result)

    def _view(self) -> NodeView:
        with self.database.read() as session:
            node_id = here(session, self.wanted.dialogue_id)
            return node_view(session, self.wanted.dialogue_id, node_id)


def _newest(view: NodeView) -> Candidate | None:
    """Return the shown candidate that is most unlike all earlier questions; None without any.

    What a person decided on already, e.g. rejected, is left to that decision.
    """
    left = [one for one in view.candidates if one.is_shown and one.decision is None]
    return min(left, key=lambda candidate: candidate.similarity, default=None)


def _soundest(view: NodeView) -> int:
    """Return the answer with the fewest findings; of equals, the one laid out first."""
    card = min(view.shown, key=lambda one: len(one.answer.flags))
    return card.answer.id
