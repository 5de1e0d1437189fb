"""Where a project stands: what was made last says what comes next, internal sweeps say nothing."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from db.database import Database
from db.jobs import enqueue
from db.questions import NewQuestion, add_question
from db.store.archive import archive
from db.sweeps import create_sweep, set_state
from db.tables import (
    Dataset,
    DatasetRow,
    ModelVersion,
    QueueItem,
    QueueItemState,
    Rater,
    RatingQueue,
    Round,
    Sweep,
    utc_now,
)
from workbench.project import NextStep, project_state

START = utc_now() + timedelta(days=1)
"""After all that a test makes without a time of its own, however late it runs."""


def later(minutes: int) -> dict[str, object]:
    return {"created_at": START + timedelta(minutes=minutes)}


def new_sweep(session: Session, minutes: int, *, name: str = "s", purpose: str = "sweep") -> int:
    counts = {"n_reasoning_slots": 1, "n_answer_slots": 0}
    sweep_id = create_sweep(session, name=name, spec={}, plan={}, purpose=purpose, **counts)
    set_state(session, sweep_id, "done")
    session.get_one(Sweep, sweep_id).created_at = START + timedelta(minutes=minutes)
    return sweep_id


def new_queue(session: Session, minutes: int, *, spec: dict[str, object] | None = None) -> int:
    spec = {"items": 1, **(spec or {})}
    queue = RatingQueue(name="q", way="single", scope="question", spec=spec, **later(minutes))
    session.add(queue)
    session.flush()
    session.add(QueueItem(queue_id=queue.id, position=0, question_id=1))
    session.flush()
    return queue.id


def rate_all(session: Session, queue_id: int) -> None:
    rater = Rater(name=f"Ada {queue_id}")
    session.add(rater)
    session.flush()
    item = session.query(QueueItem).filter_by(queue_id=queue_id).one()
    session.add(QueueItemState(item_id=item.id, rater_id=rater.id, state="submitted"))
    session.flush()


def next_of(database: Database) -> NextStep:
    with database.read() as session:
        return project_state(session).next


def test_each_thing_that_is_made_moves_the_project_one_step(database: Database) -> None:
    assert next_of(database).step == "import"
    with database.write() as session:
        question_id, _ = add_question(session, NewQuestion(text="What is tea?"))
    assert next_of(database).step == "sweep"
    with database.write() as session:
        sweep_id = new_sweep(session, 1, name="teas")
    assert next_of(database) == NextStep(step="rate", id=sweep_id, name="teas")
    with database.write() as session:
        queue_id = new_queue(session, 2)
    assert next_of(database) == NextStep(step="rate_on", id=queue_id, name="q")
    with database.write() as session:
        rate_all(session, queue_id)
    assert next_of(database).step == "dataset"
    with database.write() as session:
        frozen = START + timedelta(minutes=3)
        dataset = Dataset(name="d", kind="sft", rules={}, frozen_at=frozen)
        session.add(dataset)
        session.flush()
        row = {"dataset_id": dataset.id, "position": 0, "question_id": question_id, "payload": {}}
        session.add(DatasetRow(**row, split="train", target="whole"))
    assert next_of(database) == NextStep(step="round", id=dataset.id, name="d")
    with database.read() as session:
        state = project_state(session)
    assert (state.questions, state.sweeps, state.rows, state.rounds) == (1, 1, 1, 0)


@pytest.mark.parametrize(("at", "step"), [("approval", "resume"), ("ended", "compare")])
def test_a_round_asks_for_what_its_step_needs(database: Database, at: str, step: str) -> None:
    with database.write() as session:
        add_question(session, NewQuestion(text="What is tea?"))
        model = ModelVersion(name="base", kind="declared")
        session.add(model)
        session.flush()
        made = Round(name="r", config={}, starts_from_id=model.id, step=at, **later(5))
        session.add(made)
        session.flush()
        round_id = made.id
    assert next_of(database) == NextStep(step=step, id=round_id, name="r")
    with database.write() as session:
        rate_all(session, new_queue(session, 6, spec={"round": round_id}))
    assert next_of(database) == NextStep(step="result", id=round_id)


def test_what_runs_is_named_and_internal_sweeps_are_hidden(database: Database) -> None:
    with database.write() as session:
        add_question(session, NewQuestion(text="What is tea?"))
        own, inner = (
            new_sweep(session, 1, name=name, purpose=purpose)
            for name, purpose in (("teas", "sweep"), ("of a round", "round"))
        )
        jobs = [enqueue(session, "sweep", sweep_id=one) for one in (own, inner)]
    with database.read() as session:
        state = project_state(session)
    assert [job.id for job in state.jobs] == jobs[:1]
    assert state.names == {jobs[0]: "teas"}
    assert (state.running, state.sweeps) == (frozenset({"texts"}), 1)
    assert state.next == NextStep(step="watch", id=own, name="teas")


def test_what_is_archived_counts_nowhere(database: Database) -> None:
    with database.write() as session:
        question_id, _ = add_question(session, NewQuestion(text="What is tea?"))
        sweep_id = new_sweep(session, 1)
        archive(session, "question", [question_id])
        archive(session, "sweep", [sweep_id])
    with database.read() as session:
        state = project_state(session)
    assert (state.questions, state.sweeps) == (0, 0)
    assert state.next.step == "import"
