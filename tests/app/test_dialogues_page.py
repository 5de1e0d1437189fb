"""The pages of dialogues: begin one, choose by key, decide, go on; every view in both languages."""

from typing import Any

import pytest

from db.database import Database
from db.dialogues import list_dialogues, read_events
from db.jobs import request_cancel
from db.rating.ratings import list_raters
from tests.app.conftest import OpenApp, words_of
from tests.app.dialogue_desk import draft_field
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import Lab
from workbench.dialogue.decisions import choose, go_to, pick
from workbench.dialogue.finishing import finish_left
from workbench.dialogue.lifecycle import fork
from workbench.dialogue.outcomes import called_words, words_of_reports
from workbench.dialogue.report import forked_words
from workbench.dialogue.tree import Tree, read_tree
from workbench.dialogue.turn import answer

VIEWS = ("talk", "tree", "synopsis", "more")


@pytest.fixture
def lab(store: Database, fake_server: FakeServer) -> Lab:
    return Lab(store, fake_server)


def tree_of(lab: Lab) -> Tree:
    with lab.database.read() as session:
        return read_tree(session, lab.id)


def button(app: Any, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def take_first_answer(lab: Lab) -> None:
    view = lab.answer()
    with lab.database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by)


def test_an_empty_list_says_how_to_begin(open_app: OpenApp) -> None:
    words = words_of(open_app("dialogues"))
    assert "No dialogue yet" in words
    assert "A town centre without cars" in words or "Example themes" in words


def test_a_dialogue_begins_with_the_name_in_the_same_press(
    store: Database, open_app: OpenApp
) -> None:
    app = open_app("dialogues", new="1")
    button(app, "Begin with this").click().run()
    assert "one line of 1 to" in words_of(app)
    app.text_input(key="own_name").set_value("Ada")
    button(app, "Begin with this").click().run()
    with store.read() as session:
        (found,) = list_dialogues(session)
        assert [rater.name for rater in list_raters(session)] == ["Ada"]
    assert app.query_params["session"] == str(found.id)
    assert "Here as **Ada**" in words_of(app)


def test_a_theme_begins_a_dialogue(store: Database, open_app: OpenApp) -> None:
    app = open_app("dialogues", new="1", rater="Ada")
    app.text_area[0].set_value("Noise at night")
    app.text_area[1].set_value("Find out who can lower it")
    button(app, "Begin").click()
    app.run()
    assert not app.exception
    with store.read() as session:
        (found,) = list_dialogues(session)
    assert found.name == "Noise at night"
    assert app.query_params["session"] == str(found.id)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn(lab: Lab, open_app: OpenApp, view: str, language: str) -> None:
    take_first_answer(lab)
    lab.ask("rebut")
    app = open_app("dialogues", session=str(lab.id), view=view, rater="Ada", lang=language)
    assert app.title[0].value.replace("\\", "") == "A town without cars"


def test_an_answer_is_chosen_and_a_question_picked(lab: Lab, open_app: OpenApp) -> None:
    lab.answer()
    app = open_app("dialogues", session=str(lab.id), rater="Ada")
    button(app, "Choose").click()
    app.run()
    assert "Chosen answer" in words_of(app)
    lab.ask("rebut")
    app.run()
    draft_field(app, "reason").set_value("it is checkable")
    button(app, "Take it").click()
    app.run()
    assert not app.exception
    tree = tree_of(lab)
    assert len(tree.nodes) == 2
    assert tree.nodes[1].reason == "it is checkable"
    assert tree.nodes[1].move == "rebut"
    assert app.query_params["node"] == str(tree.nodes[1].id)


def test_rejected_and_parked_questions_keep_their_mark(lab: Lab, open_app: OpenApp) -> None:
    take_first_answer(lab)
    lab.ask("deepen")
    app = open_app("dialogues", session=str(lab.id), rater="Ada")
    button(app, "Reject").click()
    app.run()
    button(app, "Park").click()
    app.run()
    decided = [one.decision for one in lab.view().candidates]
    assert sorted(one for one in decided if one) == ["park", "reject"]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_calls_outcomes_and_forks_as_the_report_does(
    lab: Lab, open_app: OpenApp, language: str
) -> None:
    take_first_answer(lab)
    one = lab.ask("deepen").candidates[0]
    root, own = lab.here, "Are trams a danger to children?"
    with lab.database.write() as session:
        child = pick(session, lab.id, root, one.event_id, one.place, lab.by, text=own)
        new = fork(session, lab.id, child, lab.by, name="The other way")
        go_to(session, lab.id, root, lab.by)
    name = called_words(language)["own"]
    at_root = words_of(open_app("dialogues", session=str(lab.id), rater="Ada", lang=language))
    assert name in at_root
    assert own in at_root
    at_child = open_app("dialogues", session=str(lab.id), node=str(child), lang=language)
    assert name in words_of(at_child)
    with lab.database.read() as session:
        parent = read_tree(session, new).dialogue.forked_from
    assert parent
    forked = forked_words(parent, words_of_reports(language))
    assert forked in words_of(open_app("dialogues", lang=language)).replace("\\", "")
    there = open_app("dialogues", session=str(new), rater="Ada", lang=language)
    there.button(key="forked_from").click()
    there.run()
    assert there.query_params["session"] == str(lab.id)
    assert there.query_params["node"] == str(child)


def test_a_page_only_reads_and_two_tabs_show_the_same(lab: Lab, open_app: OpenApp) -> None:
    with lab.database.write() as session:
        step = answer(session, lab.registry, lab.id, lab.here, lab.by)
    tabs = [open_app("dialogues", session=str(lab.id), rater="Ada") for _ in range(2)]
    with lab.database.write() as session:  # ended by something that stored nothing
        request_cancel(session, step.job_id)
        before = len(read_events(session, lab.id))
    for tab in tabs:
        tab.run()
    with lab.database.read() as session:
        assert len(read_events(session, lab.id)) == before
    finish_left(lab.database)
    said = "No new answer came"
    for tab in tabs:
        tab.run()
        assert any(said in str(one.value) for one in tab.warning)


def test_two_questions_that_ask_the_same_are_merged(lab: Lab, open_app: OpenApp) -> None:
    take_first_answer(lab)
    lab.ask("deepen")
    app = open_app("dialogues", session=str(lab.id), rater="Ada")
    button(app, "Merge").click()
    app.run()
    button(app, "Select").click()
    app.run()
    button(app, "Same as the first").click()
    app.run()
    merged = [one for one in lab.view().candidates if one.merged_into is not None]
    assert len(merged) == 1


def test_a_question_of_ones_own_goes_on(lab: Lab, open_app: OpenApp) -> None:
    take_first_answer(lab)
    lab.ask("deepen")
    app = open_app("dialogues", session=str(lab.id), rater="Ada")
    button(app, "Write my own").click()
    app.run()
    draft_field(app, "own").set_value("Who pays for the new buses?")
    button(app, "Go on with this").click()
    app.run()
    assert tree_of(lab).nodes[-1].question == "Who pays for the new buses?"
    assert tree_of(lab).nodes[-1].source == "human"


def test_a_fact_is_carried_by_the_question(lab: Lab, open_app: OpenApp) -> None:
    app = open_app("dialogues", session=str(lab.id), rater="Ada")
    button(app, "Fact").click()
    app.run()
    draft_field(app, "fact").set_value("Two of three people come by bus.")
    app.text_input[0].set_value("Survey 2024")
    button(app, "Add").click()
    app.run()
    assert not app.exception
    assert "Survey 2024" in tree_of(lab).nodes[0].context
    assert "Survey 2024" in words_of(app)


def test_asking_writes_a_job_and_shows_what_the_model_does(lab: Lab, open_app: OpenApp) -> None:
    app = open_app("dialogues", session=str(lab.id), rater="Ada")
    button(app, "Have it answered").click()
    app.run()
    assert not app.exception
    assert "Answers are being written." in words_of(app)
    with lab.database.read() as session:
        assert [event.kind for event in read_events(session, lab.id)] == ["start", "answer"]


def test_no_two_buttons_of_a_page_share_a_key(lab: Lab, open_app: OpenApp) -> None:
    lab.answer()
    apps = [open_app("dialogues", session=str(lab.id), rater="Ada")]
    take_first_answer(lab)
    apps.append(open_app("dialogues", session=str(lab.id), rater="Ada"))
    lab.ask("deepen", "rebut")
    apps.append(open_app("dialogues", session=str(lab.id), rater="Ada"))
    for app in apps:
        keys = [one.proto.shortcut for one in app.button if one.proto.shortcut]
        assert keys
        assert sorted(set(keys)) == sorted(keys)


def test_two_dialogues_stand_side_by_side(lab: Lab, open_app: OpenApp) -> None:
    app = open_app("dialogues", session=str(lab.id), **{"with": str(lab.id)})
    assert "Distinct questions" in app.table[0].value["Figure"].tolist()
