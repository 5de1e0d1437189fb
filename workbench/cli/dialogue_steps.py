"""What ``q2q dialogue`` does: one step after the other, as far as the given choices go."""

import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow, get_dialogue, get_node, read_events
from db.errors import Q2QError, UsageError
from db.jobs import JobRow
from db.rating.ratings import ensure_rater
from db.settings import Settings
from serving.formats.library import Registry, load_registry
from workbench.cli.dialogue_options import (
    NextOptions,
    answer_place,
    candidate,
    card,
    refuse_mixed,
)
from workbench.cli.dialogue_show import answers_json, questions_json, write_answers, write_questions
from workbench.cli.output import inform
from workbench.cli.progress import look_for_models, watch_job
from workbench.dialogue.additions import add_fact, edit_reasoning, write_hint
from workbench.dialogue.auto import queue_turns
from workbench.dialogue.cards import AnswerCard, NodeView, node_view
from workbench.dialogue.decisions import choose, pick, write
from workbench.dialogue.events import By, here, one_line
from workbench.dialogue.finishing import finish_left, has_left
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.turn import Step, answer, answer_from, ask
from workbench.jobs.lock import HomeLock
from workbench.worker import FOLLOW_POLL_S

MAX_LOOKS = 100
"""How often a command looks whether another worker has stored what a step brought."""

Start = Callable[[Session, Registry, int, int, By], Step]


def run_next(
    settings: Settings, database: Database, dialogue_id: int, options: NextOptions
) -> dict[str, Any]:
    """Go on with a dialogue as far as ``options`` go; return where it is now.

    Raises:
        UsageError: An option names something that is not there, or excludes another one.
        Q2QError: A step brought nothing.
    """
    refuse_mixed(options)
    return _Next(settings, database, dialogue_id, options).run()


class _Next:
    def __init__(
        self, settings: Settings, database: Database, dialogue_id: int, options: NextOptions
    ) -> None:
        self._settings, self._database, self._id = settings, database, dialogue_id
        self._options = options
        self._asks = options.asks and sys.stdin.isatty()
        self._registry, self._by = prepare(settings, database, dialogue_id, options.rater)

    def run(self) -> dict[str, Any]:
        self._wait()
        if self._options.auto:
            return self._auto()
        self._rehearse(self._view())
        view = self._answered(self._view())
        if self._options.edit:  # the person compares before choosing
            if self._options.asks:
                write_answers(view)
            return self._state(view)
        chosen = self._chosen(view)
        if chosen is None:
            return self._state(view)
        if self._options.write and not self._options.question:
            self._decide(write, self._options.write, move=next(iter(self._options.moves), None))
            return self._state(self._view())
        return self._state(self._picked(self._asked(chosen)))

    def _rehearse(self, view: NodeView) -> None:
        """Refuse what can be told to be wrong by now, before anything is stored or written.

        Raises:
            UsageError: A decision would be refused once its turn comes.
        """
        options = self._options
        is_new = self._answers_anew(view)
        one = card(view, options.answer) if options.answer and not is_new else None
        answer_place(options.answer or "A")
        with self._database.write() as session, session.begin_nested() as rehearsal:
            one_line(options.reason, "reason")
            self._given(session, view)
            if one is not None:
                choose(session, self._id, view.node.id, one.answer.id, self._by)
            if options.write and not options.question:
                write(session, self._id, view.node.id, options.write, self._by)
            elif options.question and self._keeps_list(view, one):
                it = candidate(view, options.question)
                place = (view.node.id, it.event_id, it.place)
                pick(session, self._id, *place, self._by, text=options.write or None)
            rehearsal.rollback()

    def _answers_anew(self, view: NodeView) -> bool:
        """Tell whether the question is answered before an answer is chosen."""
        options = self._options
        is_more = options.more and view.step == "choose"
        return bool(options.fact or options.hint) or is_more or view.step == "answer"

    def _keeps_list(self, view: NodeView, one: AnswerCard | None) -> bool:
        """Tell whether the next question is taken from those that are proposed by now."""
        is_asked_anew = self._options.more or not (one is None or one.is_chosen)
        return view.step == "pick" and not self._answers_anew(view) and not is_asked_anew

    def _answered(self, view: NodeView) -> NodeView:
        """Bring the node to where there are answers to choose from."""
        if not (self._options.edit or self._answers_anew(view)):
            return view

        def start(session: Session, registry: Registry, *place: Any) -> Step:
            variant_id = self._given(session, view)
            if variant_id is None:
                return answer(session, registry, *place)
            dialogue_id, node_id, by = place
            return answer_from(session, registry, dialogue_id, node_id, variant_id, by)

        return self._step(start)

    def _given(self, session: Session, view: NodeView) -> int | None:
        """Store the person's fact and reasoning, their own or made of another; return the latter.

        Raises:
            UsageError: There is no such reasoning, or a text cannot be stored.
        """
        options, node_id = self._options, view.node.id
        if options.fact:
            add_fact(session, self._id, node_id, options.fact, options.source, self._by)
        if options.hint:
            return write_hint(session, self._id, node_id, options.hint, self._by)
        if not options.edit:
            return None
        old = card(view, options.answer or "A").reasoning
        if old is None:
            raise UsageError("This answer has no reasoning that could be edited.")
        return edit_reasoning(session, self._id, node_id, old.id, options.edit, self._by)

    def _chosen(self, view: NodeView) -> NodeView | None:
        """Bring the node to where an answer is chosen; None where nobody chooses one."""
        given = self._options.answer
        is_new = bool(self._options.hint or self._options.fact)
        if not given and view.chosen is not None and not is_new:
            return view
        if self._options.asks:
            write_answers(view)
        given = given or self._prompt("Which answer (A, B, …; Enter: none)? ")
        if not given:
            return None
        self._decide(choose, card(view, given).answer.id)
        return self._view()

    def _asked(self, view: NodeView) -> NodeView:
        wants_more = self._options.more and view.step == "pick"
        names_moves = bool(self._options.moves) and not self._options.question
        if view.step == "ask" or wants_more or names_moves:
            moves = self._options.moves
            return self._step(
                lambda session, registry, dialogue_id, node_id, by: ask(
                    session, registry, dialogue_id, node_id, by, moves=moves
                )
            )
        return view

    def _picked(self, view: NodeView) -> NodeView:
        if self._options.asks:
            write_questions(view)
        given = self._options.question or self._prompt("Which question (number; Enter: none)? ")
        if given:
            one = candidate(view, given)
            text = self._options.write or None
            self._decide(pick, one.event_id, one.place, text=text)
            return self._view()
        return view

    def _auto(self) -> dict[str, Any]:
        with self._database.write() as session:
            job_id = queue_turns(
                session, self._id, self._options.auto, self._by, moves=self._options.moves
            )
        result = self._follow(job_id).result or {}
        inform(f"Checkpoint after {result.get('turns', 0)} turns: {result.get('why', 'stopped')}.")
        return {
            **self._state(self._view()),
            "turns": result.get("turns", 0),
            "why": result.get("why"),
        }

    def _step(self, start: Start) -> NodeView:
        """Run one step to its end and return what came.

        Raises:
            Q2QError: Nothing came, or the dialogue went on elsewhere meanwhile.
        """
        with self._database.write() as session:
            step = start(session, self._registry, self._id, here(session, self._id), self._by)
        job = self._follow(step.job_id)
        ended = end_of(self._database, self._id, step)
        view = self._view()
        for problem in ended.payload["problems"]:
            if problem != job.error:
                inform(problem)
        if not (ended.payload["shown"] or ended.payload.get("candidates")):
            raise Q2QError("Nothing came. To try again: q2q dialogue next {id}", id=self._id)
        if ended.node_id != view.node.id:
            raise UsageError(self._elsewhere(view, ended))
        return view

    def _elsewhere(self, view: NodeView, ended: EventRow) -> str:
        assert ended.node_id is not None  # a step is one of a question
        with self._database.read() as session:
            number = get_node(session, self._id, ended.node_id).position + 1
        return (
            f"The dialogue went on at question {view.node.position + 1} meanwhile; what came is at"
            f" question {number}. To go on there: q2q dialogue go {self._id} --node {number}"
        )

    def _follow(self, job_id: int) -> JobRow:
        return follow(self._settings, self._database, job_id)

    def _wait(self) -> None:
        """See steps to their end that an earlier command or the page left."""
        for step in self._view().under_way:
            if step.job.is_active:
                self._follow(step.job.id)
        see_stored(self._settings, self._database, self._id)

    def _decide(self, decision: Callable[..., int], *what: object, **options: object) -> None:
        with self._database.write() as session:
            node_id = here(session, self._id)
            reason = self._options.reason or None
            decision(session, self._id, node_id, *what, self._by, reason=reason, **options)

    def _prompt(self, question: str) -> str:
        if not self._asks:
            return ""
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline().strip()

    def _view(self) -> NodeView:
        with self._database.read() as session:
            return node_view(session, self._id, here(session, self._id))

    def _state(self, view: NodeView) -> dict[str, Any]:
        state = {
            "dialogue": self._id,
            "node": view.node.position + 1,
            "question": view.question.text,
            "step": view.step,
            "answers": answers_json(view),
            "chosen": view.chosen.answer.id if view.chosen else None,
            "questions": questions_json(view),
            "problems": list(view.problems),
        }
        if self._options.asks:
            _show_next(self._id, view)
        return state


def prepare(
    settings: Settings,
    database: Database,
    dialogue_id: int,
    rater: str | None = None,
    model: str | None = None,
) -> tuple[Registry, By]:
    """Find the model of a dialogue, or another one; return the prompt formats and who asks."""
    with database.write() as session:
        own = parse_settings(get_dialogue(session, dialogue_id).settings).model
        registry = load_registry(settings, session)
        by = By(rater_id=ensure_rater(session, rater) if rater is not None else None)
    look_for_models(settings, database, [model or own])
    return registry, by


def follow(settings: Settings, database: Database, job_id: int) -> JobRow:
    """See a job of a dialogue to its end, tell its error, and return it."""
    job = watch_job(settings, database, job_id, command="dialogue next", keep_server=True)
    if job.error:
        inform(job.error)
    return job


def see_stored(settings: Settings, database: Database, dialogue_id: int) -> None:
    """Wait until what ended steps brought is stored; without a worker, be it for that.

    Raises:
        Q2QError: Another program has held the lock of the worker for too long.
    """
    with HomeLock(settings.home_dir, "worker", command="q2q dialogue") as lock:
        for _ in range(MAX_LOOKS):
            with database.read() as session:
                if not has_left(session, dialogue_id):
                    return
            if lock.try_acquire():
                finish_left(database)
                return
            time.sleep(FOLLOW_POLL_S)
    raise Q2QError("The worker has not stored what the last step brought; see `q2q doctor`.")


def end_of(database: Database, dialogue_id: int, step: Step) -> EventRow:
    """Return the event that tells what a step brought.

    Raises:
        Q2QError: Its job has not ended.
    """
    with database.read() as session:
        events = read_events(session, dialogue_id)
    ended = next((one for one in events if one.step_id == step.event_id), None)
    if ended is None:
        raise Q2QError(
            "The model is still at it. To see what came, later: q2q dialogue show {dialogue_id}",
            dialogue_id=dialogue_id,
        )
    return ended


def _show_next(dialogue_id: int, view: NodeView) -> None:
    command = f"q2q dialogue next {dialogue_id}"
    hints = {
        "answer": command,
        "choose": f"{command} --answer A",
        "ask": f"{command} --move deepen",
        "pick": f"{command} --question 1",
        "wait": command,
    }
    inform(f"Now at question {view.node.position + 1}: {view.question.text}")
    inform(f"To go on: {hints[view.step]}")
