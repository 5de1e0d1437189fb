"""Rating: what the cards and forms say, as AppTest draws them; the keys are pressed in Chromium."""

import pytest
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.errors import UsageError
from db.rating.queues import get_queue
from db.rating.ratings import active_ratings, ensure_rater
from tests.app.conftest import OpenApp, words_of
from tests.app.seed import Seeded
from tests.app.seed_ratings import seed_ratings
from tests.unit.dataset_lab import Lab
from workbench.rating.cards import CardRating, current_card, submit
from workbench.rating.queues import QueueSpec, build_queue, save_queue
from workbench.ui.rating import panel as rate_panel


def test_a_question_that_is_rated_stands_on_its_card_once(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    spec = QueueSpec.model_validate({"name": "asked", "scope": "question", "way": "single"})
    with store.write() as session:
        queue_id = save_queue(session, build_queue(session, spec))
    app = open_app("rating", queue=str(queue_id), rater="Mia")
    keys = [block.proto.id for block in _blocks(app._tree)]
    assert any(key.endswith("card_asked") for key in keys)
    assert not any(key.endswith("card_side_only") for key in keys)


def test_a_plan_of_few_cards_does_not_promise_that_a_clear_preference_shows(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    seed_ratings(store, filled)
    app = open_app("rating", new="1", rater="Mia")
    keep = next(one for one in app.multiselect if one.label.startswith("Leave out texts"))
    keep.set_value([])  # the few reasonings about starch have findings
    app.text_input[0].set_value("starch").run()
    said = words_of(app)
    assert "Too few to tell which is better" in said
    assert "100 : 0" not in said


def _blocks(block):  # type: ignore[no-untyped-def]
    yield from [block] if hasattr(block, "proto") and hasattr(block.proto, "id") else []
    for child in getattr(block, "children", {}).values():
        yield from _blocks(child)


def _receive() -> None:
    import streamlit as st

    from workbench.ui.rating.panel import receive_events

    given = st.session_state["given"]
    receive_events(*given, lambda name, card: st.session_state["gone"].append((name, card)))


def test_events_are_stored_in_order_and_what_the_store_refuses_is_told_and_not_confirmed(
    store: Database, filled: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = QueueSpec.model_validate({"name": "one", "way": "single", "scope": "answer"})
    with store.write() as session:
        queue = get_queue(session, save_queue(session, build_queue(session, spec)))
        rater = ensure_rater(session, "Mia")
    card = current_card(store, queue, rater)
    assert card is not None
    rated = {"id": "1", "card": card.id, "act": "rate", "values": {"correct": 4}, "seconds": 1.5}
    events = [
        {**rated, "act": "draft", "id": "0"},
        rated,
        {"id": "2", "card": None, "go": "review"},
    ]
    app = AppTest.from_function(_receive)
    app.session_state["given"] = (queue, rater, events)
    app.session_state["gone"] = []
    with monkeypatch.context() as patch:
        patch.setattr(rate_panel, "apply_event", refuse)
        app.run()
    assert app.session_state[rate_panel.TROUBLE] == "The disk is full."
    assert f"{rate_panel.KEY}_handled" not in app.session_state
    app.run()
    app.run()  # the browser sends again what it has not seen confirmed
    assert app.session_state[f"{rate_panel.KEY}_handled"] == ["0", "1", "2"]
    assert app.session_state["gone"] == [("review", None)]
    with store.read() as session:
        rows = session.scalars(active_ratings()).all()
    assert [(row.axis, row.value, row.seconds) for row in rows] == [("correct", 4.0, 1.5)]


def test_an_event_that_no_panel_can_mean_is_told_and_not_sent_for_ever(
    store: Database, filled: Seeded
) -> None:
    spec = QueueSpec.model_validate({"name": "one", "way": "single", "scope": "answer"})
    with store.write() as session:
        queue = get_queue(session, save_queue(session, build_queue(session, spec)))
        rater = ensure_rater(session, "Mia")
    wrong = {"id": "1", "card": "x", "act": "rate", "values": {"correct": 9}}
    app = AppTest.from_function(_receive)
    app.session_state["given"] = (queue, rater, [wrong])
    app.session_state["gone"] = []
    app.run()
    assert app.session_state[f"{rate_panel.KEY}_handled"] == ["1"]
    assert "values" in app.session_state[rate_panel.TROUBLE]


def refuse(*given: object) -> bool:
    raise UsageError("The disk is full.")


def test_a_plan_without_a_card_says_what_to_do(store: Database, open_app: OpenApp) -> None:
    words = words_of(open_app("rating", new="1", rater="Mia"))
    assert "where there are none at all, run a sweep first" in words
    assert "Above it says why" not in words
    assert "What it can tell apart" not in words


def test_levels_stand_without_the_name_of_their_factor(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    seed_ratings(store, filled)
    words = words_of(open_app("rating", new="1", rater="Mia"))
    assert "Temperature: 0.2 ↔ 0.8" in words.replace("\\", "")


def test_guidelines_fold_and_a_disagreement_is_settled_on_the_overview(
    store: Database, open_app: OpenApp
) -> None:
    with store.write() as session:
        lab = Lab(session)
        question = lab.question("Why is the sea salty?")
        for words in ("You should think of rivers.", "You should think of rocks."):
            lab.reasoning(question, words)
        spec = QueueSpec(
            name="team", leave_out=(), overlap=2, repeat_share=0, guidelines="**Hints** only."
        )
        queue = get_queue(session, save_queue(session, build_queue(session, spec)))
        raters = [ensure_rater(session, name) for name in ("Aki", "Ben")]
    for rater, outcome in zip(raters, ("a", "b"), strict=True):
        card = current_card(store, queue, rater)
        assert card is not None
        submit(store, queue, rater, card.id, CardRating(outcome=outcome))  # type: ignore[arg-type]
    page = open_app("rating", queue=str(queue.id), rater="Chie", view="overview")
    assert "**Hints** only." in [one.value for one in page.expander[0].markdown]
    assert any("Aki: Left is better · Ben: Right is better" in one.value for one in page.markdown)
    next(one for one in page.button if one.label == "Equally good").click()
    page.run()
    assert [one.value for one in page.success] == ["Settled by Chie: Equally good"]
    next(one for one in page.button if one.label == "Take the verdict back").click()
    page.run()
    assert not page.success
