"""The results matrix on its pages: what stands around it, and what the browser's events do."""

import time

import pytest
from sqlalchemy import delete, func, select

from db import counts
from db.database import Database
from db.jobs import enqueue
from db.tables import Generation, Question, Rating, SweepGeneration
from db.texts.cards import MAX_VARIANTS
from tests.app.conftest import OpenApp, words_of
from tests.app.seed_matrix import seed_matrix
from tests.store_rows import make_variant
from workbench.matrix.rows import MatrixQuery
from workbench.matrix.totals import CountedLevels
from workbench.ui.matrix import component


@pytest.fixture
def sweep(store: Database) -> str:
    return str(seed_matrix(store))


def test_the_matrix_of_a_sweep_says_what_it_shows(open_app: OpenApp, sweep: str) -> None:
    app = open_app("sweeps", sweep=sweep, view="matrix", rater="Aki")
    words = words_of(app)
    assert "12 questions · columns: 8" in words
    boxes = {box.label: box for box in app.multiselect}
    assert set(boxes) == {"Beside these sweeps", "Columns by", "Only levels"}
    assert list(boxes["Columns by"].options) == ["Role", "Model", "Temperature"]
    diff = "assistant·base-14b·0.2"
    app.query_params["diff"] = [diff, "logician·round-2·0.2"]
    app.run()
    assert not app.exception
    assert "Role: :red[assistant] → :green[logician]" in words_of(app)
    assert "correct answers +" in words_of(app)


def test_explore_shows_all_texts_by_their_design_in_japanese(open_app: OpenApp, sweep: str) -> None:
    app = open_app("explore", view="matrix", lang="ja", by="model")
    assert "12 件 · 列 2" in words_of(app)
    app = open_app("explore", view="matrix", find="nowhere")
    assert "Nothing to show" in words_of(app)


def test_a_reasoning_is_edited_and_its_edit_is_shown_however_many_the_question_has(
    store: Database, open_app: OpenApp, sweep: str
) -> None:
    with store.write() as session:
        asked = session.scalars(select(Question.id).order_by(Question.id)).first() or 0
        ids = [make_variant(session, asked, f"Count {n} rolls.") for n in range(MAX_VARIANTS + 1)]
    where = {"sweep": sweep, "view": "matrix", "rater": "Aki", "asked": str(asked)}
    app = open_app("sweeps", edit=str(ids[-1]), **where)
    field = next(one for one in app.text_area if one.label == "After")
    assert field.value == f"Count {MAX_VARIANTS} rolls."
    app = open_app("sweeps", edit=str(ids[-2]), edited=str(ids[-1]), **where)
    assert not app.exception
    assert not [one for one in app.text_area if one.label == "After"]


@pytest.fixture
def count_without_texts(store: Database, sweep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine: the levels were counted before the first text came, a moment ago."""
    with store.read() as session:
        key = counts._key(session, ("matrix", (int(sweep),)))
    old = counts._Count((), CountedLevels.of([]), time.monotonic(), took_s=60.0)
    monkeypatch.setitem(counts._cache, key, old)


@pytest.mark.usefixtures("count_without_texts")
def test_texts_that_came_after_the_last_count_are_shown(open_app: OpenApp, sweep: str) -> None:
    words = words_of(open_app("sweeps", sweep=sweep, view="matrix"))
    assert "12 questions · columns: 8" in words
    assert "Nothing to show" not in words


@pytest.mark.usefixtures("count_without_texts")
def test_a_matrix_whose_first_texts_are_not_seen_yet_waits_for_them(
    store: Database, open_app: OpenApp, sweep: str
) -> None:
    with store.write() as session:
        enqueue(session, "sweep", sweep_id=int(sweep))
        last = session.scalar(select(func.max(Generation.question_id)))
        others = select(Generation.id).where(Generation.question_id != last)
        session.execute(delete(SweepGeneration).where(SweepGeneration.generation_id.in_(others)))
    words = words_of(open_app("sweeps", sweep=sweep, view="matrix"))
    assert "The first texts are on their way." in words
    assert "Nothing to show" not in words


def test_events_are_handled_once_and_nothing_else_is_believed(
    store: Database, sweep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state: dict[str, object] = {}
    address: dict[str, object] = {}
    monkeypatch.setattr(component.st, "session_state", state)
    monkeypatch.setattr(component.url, "put", lambda name, value: address.update({name: value}))
    monkeypatch.setattr(component.url, "change", address.update)
    monkeypatch.setattr(
        component.url, "clear", lambda *names: [address.pop(n, None) for n in names]
    )
    monkeypatch.setattr(component, "current_rater", lambda: (1, "Aki"))
    monkeypatch.setattr(component, "database", lambda: store)
    columns = (component.Column(("a",)), component.Column(("b",)))
    events = [
        {"id": "1", "act": "open", "question": 3, "column": 1},
        {"id": "2", "act": "yes", "answer": 1, "reasoning": None},
        {"id": "3", "act": "yes", "answer": 10**9},
        {"id": "4", "act": "drop tables"},
        {"id": "5", "act": "open", "question": "x", "column": 99},
        {"id": "6", "act": "ask", "start": -4},
        {"id": "7", "act": "compare", "columns": [0, 1, "2", None, 7]},
    ]
    for _ in range(2):
        component.receive(MatrixQuery(), columns, events)
    assert address == {"cell": "3", "col": "b", "diff": ["a", "b"]}
    assert state[f"{component.KEY}_handled"] == [str(one) for one in range(1, 8)]
    assert state[component.START] == 0
    with store.read() as session:
        found = session.scalars(select(Rating).where(Rating.sampler == "matrix")).all()
    assert [(one.answer_id, one.value, one.blind) for one in found] == [(1, 1.0, False)]
    component.receive(MatrixQuery(), columns, [{"id": "8", "act": "close"}])
    assert "cell" not in address
