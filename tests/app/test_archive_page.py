"""Rows of lists are picked, archived and brought back as a visitor does it."""

import pytest
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.questions import NewQuestion, QuestionFilter, add_child, get_question, question_ids
from db.store.archive import ArchiveKind, archive
from tests.app.conftest import OpenApp, words_of
from tests.app.seed import seed_running_job, seed_store
from tests.unit.test_archive import one_of_each
from workbench.ui.components.url import id_ranges

LISTS: dict[str, tuple[ArchiveKind, str]] = {
    "questions": ("question", "question"),
    "sweeps": ("sweep", "sweep"),
    "rating": ("queue", "queue"),
    "dialogues": ("dialogue", ""),
    "datasets": ("dataset", "dataset"),
    "training": ("run", ""),
    "models": ("model", "model"),
}

"""Page → what it lists, and the parameter of its own page where rows of this test have one."""
VIEW = {"datasets": "export"}


@pytest.fixture
def rows(store: Database) -> None:
    one_of_each(store)


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click()
    app.run()
    assert not app.exception, app.exception
    return app


@pytest.mark.parametrize("page", LISTS)
def test_a_picked_row_is_archived_and_brought_back(
    rows: None, store: Database, open_app: OpenApp, page: str
) -> None:
    kind, parameter = LISTS[page]

    def shown(app: AppTest) -> list[str]:
        return sorted(box.key for box in app.checkbox if box.key.startswith(f"pick_{kind}_"))

    app = open_app(page, rater="Aki")
    assert shown(app) == [f"pick_{kind}_1", f"pick_{kind}_2"]
    assert not [one for one in app.toggle if one.key == f"archived_{kind}"], "nothing is archived"
    app.checkbox(key=f"pick_{kind}_1").check()
    app.run()
    press(app, f"archive_{kind}")
    assert shown(app) == [f"pick_{kind}_2"]
    app.toggle(key=f"archived_{kind}").set_value(True)
    app.run()
    assert shown(app) == [f"pick_{kind}_1"]
    if parameter:
        own = open_app(page, **{parameter: "1"}, rater="Aki", view=VIEW.get(page, ""))
        assert "archived" in words_of(own)
        press(own, f"restore_{kind}")
        assert [one for one in own.button if one.key == f"archive_{kind}"], "it can be again"


def test_everything_archived_leaves_the_switch(
    rows: None, store: Database, open_app: OpenApp
) -> None:
    app = open_app("sweeps")
    press(app, "all_sweep")
    press(app, "archive_sweep")
    assert "No sweep" in words_of(app)
    assert app.toggle(key="archived_sweep")


def test_picked_questions_are_tagged_swept_and_rated(
    rows: None, store: Database, open_app: OpenApp
) -> None:
    app = open_app("questions")
    press(app, "all_question")
    app.text_input(key="pick_tags").set_value("pilot, second")
    app.run()
    next(one for one in app.button if one.label == "Put tags on").click()
    app.run()
    with store.read() as session:
        assert get_question(session, 1).tags == get_question(session, 2).tags == ("pilot", "second")
    form = open_app("sweeps", new="1", questions=id_ranges([2, 1]))
    assert [area.value for area in form.text_input if area.value == "1-2"], "ids of the form"
    assert "Selected questions: 2" in words_of(
        open_app("rating", new="1", questions="1-2", rater="Aki")
    )


def test_a_question_of_a_dialogue_is_taken_into_the_pool_by_one_click(
    rows: None, store: Database, open_app: OpenApp
) -> None:
    with store.write() as session:
        made, _ = add_child(session, 1, NewQuestion(text="And then?", source="model"), "deepen")
        archive(session, "question", [2])
    app = open_app("questions", question=str(made))
    assert "from a dialogue" in words_of(app)
    next(one for one in app.button if one.label == "Take into the pool").click()
    app.run()
    assert "from a dialogue" not in words_of(app)
    with store.read() as session:
        assert question_ids(session, QuestionFilter(in_pool=True)) == [1, made]


def test_why_a_running_sweep_is_not_archived_stays_to_be_read_while_the_list_is_redrawn(
    store: Database, open_app: OpenApp
) -> None:
    seed_running_job(store, seed_store(store).sweep_id)
    app = open_app("sweeps")
    app.checkbox(key="pick_sweep_1").check()
    app.run()
    press(app, "archive_sweep")
    assert "Number 1 is under way" in app.toast[0].value
    assert not app.error, "the next look would wipe it away"
