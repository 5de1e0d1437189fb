"""The worker alone brings steps to their end: nobody looks until their jobs have ended."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy.orm import Session

from db.database import Database
from db.dialogues import EventRow, NewEvent, add_event, has_ended, read_events
from db.jobs import JobEnd, active_jobs, claim, finish, get_job, release, request_cancel
from db.settings import settings
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab, asking
from tests.unit.sweep_lab import scalar
from workbench.dialogue.additions import edit_reasoning
from workbench.dialogue.auto import queue_turns
from workbench.dialogue.decisions import choose, write
from workbench.dialogue.finishing import BUG, RESULTS, finish_left, stop
from workbench.dialogue.reading import candidate_name, translate
from workbench.dialogue.replay import read_replay, start_replay
from workbench.dialogue.sides import argue, judge
from workbench.dialogue.synopsis import read_synopsis, write_synopsis
from workbench.dialogue.tree import read_tree
from workbench.dialogue.turn import Step, answer, answer_from, ask
from workbench.worker import be_worker

SYNOPSIS = '[{"kind": "known", "text": "Vans still come.", "questions": [1]}]'
GENERATED = "SELECT count(*) FROM generation"
VERDICT = '{"why": "It is nearer to me.", "better": "first"}'


def writing(prompt: str, choice_index: int, seed: int | None) -> str:
    for part, text in (("Sum up", SYNOPSIS), ("You are to be convinced", VERDICT)):
        if part in prompt:
            return text
    return asking(prompt, choice_index, seed)


@pytest.fixture
def lab(database: Database, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Lab:
    servers = [{"name": "lab", "url": fake_server.url}]
    monkeypatch.setenv("Q2Q_SERVERS", json.dumps(servers))
    lab = Lab(database, fake_server)
    fake_server.text = writing
    return lab


def work(database: Database, *, until: Callable[[], bool] | None = None) -> None:
    """Be the worker until it has nothing to do, or until something else holds."""

    def is_idle() -> bool:
        with database.read() as session:
            return not active_jobs(session)

    async def run() -> None:
        end = asyncio.Event()
        worker = asyncio.create_task(
            be_worker(settings(), database, end, load_default=False, at_end="stop")
        )
        async with asyncio.timeout(60):
            while not worker.done() and not await asyncio.to_thread(until or is_idle):
                await asyncio.sleep(0.02)
        end.set()
        await worker

    asyncio.run(run())


def started(lab: Lab, start: Callable[..., Any], *given: Any, **options: Any) -> list[Step]:
    """Start a step as a page or a command does, and look at nothing."""
    with lab.database.write() as session:
        place = () if start in (write_synopsis,) else (lab.here,)
        done = start(session, lab.registry, lab.id, *place, *given, lab.by, **options)
    return list(done) if isinstance(done, tuple) else [done]


def ends(lab: Lab, steps: Sequence[Step]) -> list[EventRow]:
    with lab.database.read() as session:
        events = read_events(session, lab.id)
        assert not any(get_job(session, step.job_id).is_active for step in steps)
    found = [[one for one in events if one.step_id == step.event_id] for step in steps]
    assert [len(own) for own in found] == [1] * len(steps), "each step ends once"
    return [own[0] for own in found]


def at_an_answer(lab: Lab) -> None:
    lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, lab.view().shown[0].answer.id, lab.by)


def test_every_kind_of_step_is_stored_while_nobody_looks(lab: Lab) -> None:
    done: list[str] = []

    def run(start: Callable[..., Any], *given: Any, **options: Any) -> list[EventRow]:
        steps = started(lab, start, *given, **options)
        work(lab.database)
        events = ends(lab, steps)
        assert [event.payload["problems"] for event in events] == [[]] * len(events)
        with lab.database.read() as session:
            began = {event.id: event.kind for event in read_events(session, lab.id)}
        done.extend(began[step.event_id] for step in steps)
        return events

    (shown,) = run(answer)
    ids = shown.payload["shown"]
    assert len(ids) == 3
    reasoning = lab.view().shown[0].reasoning
    assert reasoning
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, ids[0], lab.by)
        edited = edit_reasoning(session, lab.id, lab.here, reasoning.id, "You may.", lab.by)
    (anew,) = run(answer_from, edited)
    assert anew.payload["shown"][0] not in ids
    (asked,) = run(ask, moves=("gap",))
    assert asked.payload["shown"]
    assert [len(event.payload["shown"]) > 0 for event in run(argue)] == [True, True]
    verdicts = run(judge, (ids[0], ids[1]))
    assert [event.payload["outcome"] for event in verdicts] == ["a", "b"]
    (read,) = run(translate, f"a{ids[0]}", "ja")
    assert read.payload["text"]
    (read,) = run(translate, candidate_name(asked.id, 0), "ja")
    assert read.payload["text"]
    run(write_synopsis)
    with lab.database.read() as session:
        synopsis = read_synopsis(session, lab.id)
    assert synopsis
    assert synopsis.lines[0].text == "Vans still come."
    with lab.database.write() as session:
        write(session, lab.id, lab.here, "Who sweeps the streets?", lab.by)
    run(answer)
    assert set(done) == set(RESULTS), "each kind of step was tried"


def test_a_replay_and_turns_by_themselves_are_there_while_nobody_looks(lab: Lab) -> None:
    with lab.database.write() as session:
        job_id = queue_turns(session, lab.id, 2, lab.by)
    work(lab.database)
    with lab.database.read() as session:
        assert get_job(session, job_id).state == "done"
        assert len(read_tree(session, lab.id).nodes) == 3
        events = read_events(session, lab.id)
    assert events[-1].kind == "checkpoint"
    assert events[-1].payload == {"turns": 2, "asked": 2, "why": "as many turns as were asked for"}
    with lab.database.write() as session:
        step = start_replay(session, lab.registry, lab.id, {"role": "logician"})
    work(lab.database)
    with lab.database.read() as session:
        replay = read_replay(session, lab.id, step.sweep_id)
    assert [len(line.after) for line in replay.lines] == [1, 1, 1]
    assert replay.state == "done"


def killed_before_storing(lab: Lab, step: Step) -> None:
    """Run a step's job as a worker does that is killed when everything has been generated."""
    with lab.database.write() as session:
        job = claim(session, "a worker")
    assert job is not None
    assert job.id == step.job_id
    asyncio.run(lab.run_sweep(step))


def test_a_worker_killed_between_generating_and_storing_leaves_it_to_the_next(lab: Lab) -> None:
    at_an_answer(lab)
    (step,) = started(lab, ask, moves=("gap",))
    killed_before_storing(lab, step)
    with lab.database.read() as session:
        assert not has_ended(session, step.event_id)
        assert get_job(session, step.job_id).state == "running"
    n_generated = scalar(lab.database, GENERATED)
    lab.server.default = "error_500"  # not even the server is needed for what is there
    work(lab.database)
    (shown,) = ends(lab, [step])
    assert shown.payload["problems"] == []
    assert len(shown.payload["shown"]) == 5
    assert scalar(lab.database, GENERATED) == n_generated, "nothing is asked for twice"
    work(lab.database)
    assert ends(lab, [step]) == [shown]


def test_turns_go_on_where_a_worker_was_killed_and_where_it_stopped(lab: Lab) -> None:
    with lab.database.write() as session:
        job_id = queue_turns(session, lab.id, 2, lab.by)

    def has_asked() -> bool:
        with lab.database.read() as session:
            return bool(read_events(session, lab.id, kinds=("ask",)))

    work(lab.database, until=has_asked)
    with lab.database.read() as session:
        assert get_job(session, job_id).state == "queued"
        assert not read_events(session, lab.id, kinds=("checkpoint",)), "nobody stopped the turns"
    work(lab.database)
    with lab.database.read() as session:
        events = read_events(session, lab.id)
        assert get_job(session, job_id).result == {
            "turns": 2,
            "why": "as many turns as were asked for",
        }
    kinds = [event.kind for event in events]
    assert (kinds.count("pick"), kinds.count("ask"), kinds.count("checkpoint")) == (2, 2, 1)
    stopped = "It was stopped before everything had come."
    assert not any(stopped in event.payload.get("problems", ()) for event in events)


def test_steps_of_a_home_from_before_are_finished_as_the_worker_starts(lab: Lab) -> None:
    (step,) = started(lab, answer)
    killed_before_storing(lab, step)
    with lab.database.write() as session:  # as a worker ended the job that left it to a page
        finish(session, step.job_id, _owner(session, step.job_id), "done")
    assert lab.view().step == "wait"
    work(lab.database)
    (shown,) = ends(lab, [step])
    assert len(shown.payload["shown"]) == 3
    assert lab.view().step == "choose"


def _owner(session: Session, job_id: int) -> str:
    owner = get_job(session, job_id).owner
    assert owner is not None
    return owner


def test_a_step_that_is_cancelled_while_it_waits_is_finished_by_the_worker(lab: Lab) -> None:
    (step,) = started(lab, answer)
    with lab.database.write() as session:
        assert stop(session, lab.id) == 1
    work(lab.database, until=lambda: lab.view().step != "wait")
    (shown,) = ends(lab, [step])
    assert shown.payload["problems"] == [
        "It was stopped before everything had come.",
        "No new answer came.",
    ]
    with lab.database.write() as session:
        job_id = queue_turns(session, lab.id, 3, lab.by)
        request_cancel(session, job_id)
    work(lab.database)
    with lab.database.read() as session:
        told = read_events(session, lab.id, kinds=("checkpoint",))
    assert [event.payload for event in told] == [{"turns": 0, "asked": 3, "why": "stopped"}]


def test_a_step_that_fails_keeps_why_each_reason_with_its_count(lab: Lab) -> None:
    at_an_answer(lab)
    lab.server.script("too_long", "too_long")
    lab.server.default = "error_500"
    (step,) = started(lab, ask, moves=("deepen", "rebut", "gap"))
    lab.run(step, max_num_seqs=1)
    (shown,) = ends(lab, [step])
    first, other, _ = shown.payload["problems"]
    assert first.startswith("3 of 3 texts failed. 2 × ")
    assert "context length" in first
    assert other.startswith("1 × ")
    assert "HTTP 500" in other


def test_a_bug_in_what_came_neither_holds_the_job_up_nor_comes_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(session: Session, step: EventRow, end: JobEnd) -> Any:
        raise KeyError(step.id)

    at_an_answer(lab)
    monkeypatch.setattr(
        "workbench.dialogue.finishing.RESULTS",
        dict.fromkeys(RESULTS, bug),
    )
    steps = [*started(lab, ask), *started(lab, write_synopsis), *started(lab, argue)]
    work(lab.database)
    for event in ends(lab, steps):
        assert event.payload["problems"] == [BUG]
    monkeypatch.undo()
    assert lab.view().step == "ask", "the page still draws"
    assert finish_left(lab.database) == 0


def test_a_step_taken_over_by_another_worker_is_stored_by_that_one_only(lab: Lab) -> None:
    (step,) = started(lab, answer)
    killed_before_storing(lab, step)
    with lab.database.write() as session:
        release(session, step.job_id, _owner(session, step.job_id))
    work(lab.database)
    with lab.database.write() as session, pytest.raises(Exception, match=r"UNIQUE|unique"):
        again = NewEvent(dialogue_id=lab.id, kind="answers_shown", step_id=step.event_id)
        add_event(session, again)
    ends(lab, [step])
