from sqlalchemy import text, update

from db.database import Database
from db.jobs import active_jobs
from db.sweeps import get_sweep, list_sweeps
from db.tables import Sweep
from tests.app.conftest import OpenApp, words_of
from tests.app.seed import Seeded, seed_failures, seed_running_job


def test_without_sweeps_the_page_says_how_to_start_one(open_app: OpenApp) -> None:
    read = words_of(open_app("sweeps"))
    assert "No sweeps yet" in read
    assert "New sweep" in read


def test_the_list_shows_state_and_counts(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps")
    assert "First look: two temperatures" in words_of(app)
    assert "24 reasonings · 48 answers" in app.get("progress")[0].proto.text


def test_texts_stand_side_by_side_with_their_findings(filled: Seeded, open_app: OpenApp) -> None:
    read = words_of(open_app("sweeps", sweep=str(filled.sweep_id), at="1"))
    assert "Rate what “First look: two temperatures” wrote" in read
    assert "Question 1 of 8" in read
    assert "Reasoning 3" in read
    assert "answer leak" in read
    assert "no findings" in read


def test_the_next_question_is_one_press_away(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps", sweep=str(filled.sweep_id), view="cards")
    next(button for button in app.button if button.label == "Next").click().run()
    assert "Question 2 of 8" in words_of(app)
    assert app.query_params["at"] == "2"


def test_a_text_tells_how_it_came_to_be(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps", sweep=str(filled.sweep_id), view="cards")
    app.button(key=f"how_v{filled.variant_ids[0]}").click().run()
    assert not app.exception
    read = words_of(app)
    assert "sha256:5f2c9be0a4d1" in read
    assert "temperature 0.8" in read
    assert any("<|im_start|>" in code.value for code in app.code)


def test_the_table_is_filtered_by_findings(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps", sweep=str(filled.sweep_id), view="table", check="dont_know")
    assert len(app.dataframe[0].value) == 2


def test_the_figures_say_in_a_sentence_what_they_show(filled: Seeded, open_app: OpenApp) -> None:
    read = words_of(open_app("sweeps", sweep=str(filled.sweep_id), view="figures"))
    assert "97 % of the texts were ended by the model itself" in read
    assert "Of kind reasoning, 24 texts: " in read  # reasonings and answers are never pooled
    assert "Of kind answer, 48 texts: " in read
    assert "Of kind answer, half have up to " in read


def test_failed_texts_can_be_tried_again(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    seed_failures(store, filled)
    app = open_app("sweeps", sweep=str(filled.sweep_id))
    assert "2 failed" in words_of(app)
    assert "2 × The server closed the connection" in words_of(app)
    next(button for button in app.button if button.label == "Retry failed").click().run()
    with store.read() as session:
        (job,) = active_jobs(session, sweep_id=filled.sweep_id)
    assert job.kind == "sweep"
    assert job.payload == {"retry_failed": True}


def test_a_sweep_that_lacks_texts_can_be_resumed(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    with store.write() as session:
        session.execute(update(Sweep).values(n_answer_slots=60, state="cancelled"))
    app = open_app("sweeps", sweep=str(filled.sweep_id))
    next(button for button in app.button if button.label == "Resume").click().run()
    with store.read() as session:
        assert active_jobs(session)[0].sweep_id == filled.sweep_id


def test_a_running_sweep_shows_rate_and_time_left(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    seed_running_job(store, filled.sweep_id)
    app = open_app("sweeps", sweep=str(filled.sweep_id))
    assert "24 tokens/s · 2 min left" in app.get("progress")[0].proto.text
    assert not [button for button in app.button if button.label == "Resume"]


def test_an_unknown_sweep_is_said_to_be_unknown(open_app: OpenApp) -> None:
    assert "There is no sweep 7" in words_of(open_app("sweeps", sweep="7"))


def test_the_form_plans_and_starts_a_sweep(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    app = open_app("sweeps", new="1")
    assert "24 reasonings + 48 answers" in words_of(app)
    next(button for button in app.button if button.label == "Start the sweep").click().run()
    assert not app.exception
    with store.read() as session:
        newest = list_sweeps(session, 1)[0]
        assert active_jobs(session)[0].sweep_id == newest.sweep_id
    assert newest.state == "queued"
    assert newest.n_slots == 72


def test_a_new_sweep_of_a_question_means_that_question(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps", new="1", questions="3")
    assert "3" in [field.value for field in app.text_input]
    assert "3 reasonings + 6 answers" in words_of(app)


def test_a_level_more_is_one_that_is_not_there_yet(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps", new="1")
    app.button(key="add_reasoning_sampling").click().run()
    assert "48 reasonings + 96 answers" in words_of(app)
    app.button(key="add_answer_sampling").click().run()
    assert "48 reasonings + 192 answers" in words_of(app)


def test_the_form_takes_categories_sources_and_ranges(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps", new="1")
    app.text_input(key="draft--sweep--questions_ids").set_value("２〜4, 7").run()
    assert "12 reasonings + 24 answers" in words_of(app)
    app.multiselect(key="draft--sweep--questions_sources").set_value(["human"]).run()
    assert "No question fits" in words_of(app)


def test_a_wrong_spec_names_every_mistake(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps", new="1", **{"as": "yaml"})
    app.text_area[0].set_value("name: x\nvariants: 0\nanswrs: 2\n").run()
    read = words_of(app)
    assert "This can't run yet" in read
    assert "variants" in read
    assert "did you mean answers?" in read


def test_yaml_and_form_are_two_views_of_one_draft(filled: Seeded, open_app: OpenApp) -> None:
    app = open_app("sweeps", new="1", **{"as": "yaml"})
    app.text_area[0].set_value("name: Colours\nvariants: 5\nanswers: 1\n").run()
    app.segmented_control(key="url_as").set_value("form").run()
    assert not app.exception
    assert "Colours" in [field.value for field in app.text_input]
    assert 5 in [field.value for field in app.number_input]


def test_a_sweep_that_used_its_budget_is_resumed_with_a_larger_one(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    with store.write() as session:
        session.execute(
            text(
                "UPDATE sweep SET state = 'cancelled', error = 'The budget is used.', max_cost = 2,"
                " spent_cost = 1.98, spent_tokens = 812345, n_answer_slots = n_answer_slots + 40"
            )
        )
    app = open_app("sweeps", sweep=str(filled.sweep_id), view="spec")
    assert "Spent: $1.98 of $2 · 812,345 tokens" in words_of(app)
    assert ["budget is used" in warning.value for warning in app.warning] == [True]
    next(one for one in app.number_input if one.label.startswith("Budget in US")).set_value(5.0)
    next(one for one in app.button if one.label == "Resume with this budget").click().run()
    assert not app.exception, app.exception
    with store.read() as session:
        sweep = get_sweep(session, filled.sweep_id)
        assert (sweep.max_cost, sweep.max_tokens, sweep.state) == (5.0, None, "queued")
