"""Turns that run by themselves: only as many as were asked for, marked, ended at a checkpoint."""

import asyncio

import pytest

from db.database import Database
from db.dialogues import read_events
from db.errors import UsageError
from db.jobs import JobEnd
from tests.fakes.server import FakeServer
from tests.unit import sweep_lab
from tests.unit.dialogue_lab import Lab, asking
from workbench.dialogue.auto import AutoOutcome, Turns, queue_turns, run_turns
from workbench.dialogue.decisions import choose, reject
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import change_state, set_settings
from workbench.dialogue.tree import read_tree


@pytest.fixture
def lab(database: Database, fake_server: FakeServer) -> Lab:
    return Lab(database, fake_server)


def run(lab: Lab, turns: int, *, fail_after: int | None = None) -> AutoOutcome:
    """Do what the worker does with the job; ``fail_after`` sweeps the worker dies."""
    with lab.database.read() as session:
        told = read_events(session, lab.id, kinds=("turns",))[-1].payload
    by = By(rater_id=lab.by.rater_id, automatic=True, job_id=told["auto_job_id"])
    n_run = 0

    async def run_one(sweep_id: int) -> JobEnd:
        nonlocal n_run
        n_run += 1
        if fail_after is not None and n_run > fail_after:
            raise KeyboardInterrupt
        outcome = await sweep_lab.run(lab.database, sweep_id, lab.server.endpoint, priority=-10)
        return JobEnd("failed" if outcome.error else "done", outcome.error)

    wanted = Turns(dialogue_id=lab.id, turns=turns, by=by)
    return asyncio.run(run_turns(lab.database, lab.registry, wanted, run_one))


def ask_for(lab: Lab, turns: int) -> None:
    with lab.database.write() as session:
        queue_turns(session, lab.id, turns, lab.by)


def test_two_turns_run_by_themselves_and_every_choice_is_marked(lab: Lab) -> None:
    ask_for(lab, 2)
    assert run(lab, 2).turns == 2
    with lab.database.read() as session:
        tree = read_tree(session, lab.id)
        events = read_events(session, lab.id)
    assert [node.automatic for node in tree.nodes] == [False, True, True]
    assert [node.depth for node in tree.nodes] == [0, 1, 2]
    decided = [event for event in events if event.kind in ("choose", "pick", "checkpoint")]
    assert all(event.automatic for event in decided)
    assert events[-1].kind == "checkpoint"
    assert events[-1].payload["turns"] == 2


def test_after_a_crash_the_same_job_goes_on_and_runs_no_turn_too_many(lab: Lab) -> None:
    ask_for(lab, 2)
    with pytest.raises(KeyboardInterrupt):
        run(lab, 2, fail_after=2)
    assert run(lab, 2).turns == 2
    with lab.database.read() as session:
        assert len(read_tree(session, lab.id).nodes) == 3
        kinds = [event.kind for event in read_events(session, lab.id)]
    assert kinds.count("pick") == kinds.count("ask") == kinds.count("answer") == 2


def test_it_stops_where_there_is_nothing_new_to_ask(lab: Lab) -> None:
    asked = lab.view().question.text
    lab.server.text = lambda prompt, index, seed: (
        f'["{asked}"]' if "Propose five" in prompt else f"You should look at {index}."
    )
    ask_for(lab, 3)
    outcome = run(lab, 3)
    assert outcome.turns == 0
    assert "asked or proposed before" in outcome.why


def test_it_asks_again_where_the_first_list_brought_nothing_new(lab: Lab) -> None:
    asked = lab.view().question.text
    n_lists = 0

    def at_first_the_same(prompt: str, index: int, seed: int | None) -> str:
        nonlocal n_lists
        n_lists += "Propose five" in prompt
        return f'["{asked}"]' if n_lists == 1 else asking(prompt, index, seed)

    lab.server.text = at_first_the_same
    with lab.database.write() as session:
        set_settings(session, lab.id, {"moves": ["gap"]}, lab.by)
    ask_for(lab, 1)
    assert run(lab, 1).turns == 1
    assert n_lists > 1


def test_it_takes_nothing_that_a_person_rejected(lab: Lab) -> None:
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)
    root = lab.here
    rejected = [one for one in lab.ask("gap").candidates if one.is_shown]
    with lab.database.write() as session:
        for one in rejected:
            reject(session, lab.id, root, one.event_id, one.place, lab.by)
    ask_for(lab, 1)
    assert run(lab, 1).turns == 1
    assert lab.view().question.text not in {one.text for one in rejected}


def test_nothing_runs_in_a_paused_session_or_twice_at_once(lab: Lab) -> None:
    ask_for(lab, 1)
    with lab.database.write() as session, pytest.raises(UsageError, match="at it already"):
        queue_turns(session, lab.id, 1, lab.by)
    with lab.database.write() as session, pytest.raises(UsageError, match="1 to 20"):
        queue_turns(session, lab.id, 21, lab.by)
    with lab.database.write() as session:
        change_state(session, lab.id, "pause", lab.by)
    assert "paused" in run(lab, 1).why
