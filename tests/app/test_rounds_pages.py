"""Training runs and rounds as a visitor sees, starts, approves and decides them."""

import json
from pathlib import Path

import pytest
import streamlit as st
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.jobs import active_jobs, enqueue
from db.models import list_models
from db.rating.queues import list_queues
from db.rating.ratings import ensure_rater
from db.rounds import find_round, move_round
from db.tables import Job, Question, Round
from db.training import add_metrics, create_run, get_run, list_runs, set_run_state, update_run
from tests.app.conftest import OpenApp, words_of
from tests.app.seed import Seeded
from tests.app.seed_rounds import seed_round
from tests.unit.round_lab import write_round
from training.runs.presets import PRESETS
from training.runs.process import sentence
from training.runs.spec import TrainSpec
from workbench.i18n import has
from workbench.rating.cards import CardRating, current_card, submit
from workbench.rounds.report import round_page
from workbench.rounds.verdict import judge_again
from workbench.ui.components.text import free_name
from workbench.ui.training.form import ELSEWHERE, FOLDED, USUAL


@pytest.fixture(autouse=True)
def no_cache() -> None:
    st.cache_data.clear()


@pytest.fixture
def seeded(store: Database, filled: Seeded) -> tuple[int, int]:
    return seed_round(store, filled.model_id)


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    app.run()
    assert not app.exception, app.exception
    return app


def test_empty_pages_say_what_to_do(open_app: OpenApp) -> None:
    assert "No dataset to train on yet" in words_of(open_app("training"))
    assert "No round yet" in words_of(open_app("rounds"))
    assert "データセットがありません" in words_of(open_app("training", lang="ja"))


def test_a_run_shows_its_curves_samples_and_settings(
    open_app: OpenApp, seeded: tuple[int, int]
) -> None:
    assert "loss 0.640" in words_of(open_app("training"))
    app = open_app("training", run=str(seeded[1]))
    words = words_of(app)
    assert "It is winter." in words
    assert "What it writes" in words
    assert len(app.get("vega_lite_chart")) == 4
    metrics = {metric.label: metric.value for metric in app.metric}
    assert (metrics["Steps"], metrics["Held-out loss"]) == ("40 / 40", "0.740")


def test_the_running_run_of_a_round_says_what_it_does_and_leads_to_the_round(
    store: Database, open_app: OpenApp, seeded: tuple[int, int]
) -> None:
    with store.write() as session:
        set_run_state(session, seeded[1], "running")
        figures = {"phase": "evaluation", "seconds_left": 90.0, "phases": {"first_step": 9.0}}
        update_run(session, seeded[1], summary=figures)
    app = open_app("training", run=str(seeded[1]))
    words = words_of(app)
    assert "Now: held-out rows; about 1 min 30 s left." in words
    assert "Part of the round “first”" in [link.label for link in app.get("page_link")]
    assert "The time went into" not in words, "what lasts is not counted yet"
    assert "Archive" not in [button.label for button in app.button]


def test_a_run_is_queued_with_the_reason_for_its_preset(
    store: Database,
    open_app: OpenApp,
    seeded: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    embedded_model: Path,
) -> None:
    with store.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE model_version SET path = ?, state = 'ready' WHERE kind = 'base'",
            (str(embedded_model),),
        )
    app = open_app("training")
    app.selectbox[2].set_value("smollm2-135m-instruct").run()
    fields = {field.label: field for field in app.number_input}
    assert (fields["Learning rate"].value, fields["Learning rate"].placeholder) == (None, "0.001")
    assert fields["Steps"].placeholder == "40"
    assert "Beta" not in fields, "SFT has none"
    fields["Rank (r)"].set_value(8)
    fields["Epochs"].set_value(2.0).run()
    words = words_of(app)
    assert "there is no GPU" in words
    assert "No row fits" in words, "the seeded dataset has no rows"
    press(app, "Start training")
    with store.read() as session:
        (run, _) = list_runs(session)
        assert run.state == "queued"
        assert run.config["spec"] == {
            "dataset": "first-round", "base": "smollm2-135m-instruct", "preset": "auto",
            "prompt_format": "tagged", "r": 8, "epochs": 2.0,
        }  # fmt: skip
        assert [job.lane for job in active_jobs(session, kind="train")] == ["device"]


def test_a_round_is_called_by_its_dataset_and_a_free_number() -> None:
    assert free_name("rows", ()) == "rows"
    assert free_name("rows", {"rows", "rows-2"}) == "rows-3"


def test_every_setting_of_a_training_is_on_the_form_once_and_named() -> None:
    names = [*USUAL, *(name for row in FOLDED.values() for name in row)]
    assert sorted([*names, *ELSEWHERE]) == sorted(TrainSpec.model_fields)
    assert [name for name in names if not has(f"train_spec.{name}")] == []


def test_curves_of_runs_that_are_picked_are_drawn_on_one_plot(
    store: Database, open_app: OpenApp, seeded: tuple[int, int]
) -> None:
    with store.write() as session:
        first = get_run(session, seeded[1])
        other = create_run(
            session, dataset_id=first.dataset_id, method="sft",
            base_model_version_id=first.base_model_version_id,
            config=first.config | {"settings": {"r": 64, "learning_rate": 0.001}},
        )  # fmt: skip
        add_metrics(session, other.id, [("loss", 1, 2.0), ("loss", 2, 1.5)])
    app = open_app("training")
    assert not app.get("vega_lite_chart")
    for run in (first, other):
        app.checkbox(key=f"pick_run_{run.id}").check()
    app.run()
    next(button for button in app.button if button.label == "Compare curves").click()
    app.run()
    assert app.query_params["runs"] == [str(first.id), str(other.id)]
    spec = json.loads(app.get("vega_lite_chart")[0].proto.spec)
    assert spec["encoding"]["color"]["sort"] == [f"t{other.id}", f"t{first.id}"]
    assert "Settings that differ" in words_of(app)
    (table,) = app.table
    assert table.value.to_numpy().tolist() == [["r", "64", "16"]]


def test_a_round_shows_its_comparison_its_verdict_and_where_it_starts(
    store: Database, open_app: OpenApp, seeded: tuple[int, int]
) -> None:
    assert "Starts from smollm2" in words_of(open_app("rounds"))
    app = open_app("rounds", round=str(seeded[0]))
    words = words_of(app)
    assert "100 % of its outputs are well-formed" in words
    assert "change +100 %" in words
    assert "8 questions" in words
    assert len(app.get("vega_lite_chart")) >= 5
    with store.read() as session:
        page = round_page(session, seeded[0])
    assert "You should think of point 0 of 1." in words, "what they wrote, as in the report"
    assert "You should think of point 0 of 1." in page
    (wins, _) = app.table
    assert any(str(won).startswith("8 · 100 %") for won in wins.value["Won"])
    assert "8 · 100 % (" in page
    assert "first-round (0 rows" in page
    assert "keep: 100 %" in page


def test_a_round_that_waits_is_approved_here(
    store: Database, open_app: OpenApp, seeded: tuple[int, int]
) -> None:
    with store.write() as session:
        move_round(session, seeded[0], step="approval", state="waiting")
    app = open_app("rounds", round=str(seeded[0]))
    metrics = {metric.label: metric.value for metric in app.metric}
    assert (metrics["To train on"], metrics["Questions"]) == ("250", "280")
    app.text_area[0].set_value("Half of it is about one question.").run()
    press(app, "Reject")
    words = words_of(open_app("rounds"))
    assert "Half of it is about one question." in words
    app = open_app("rounds", round=str(seeded[0]))
    assert "Rejected before it was trained: Half of it is about one question." in words_of(app)
    press(app, "Approve after all")
    with store.read() as session:
        (job,) = active_jobs(session, kind="round")
        assert job.payload == {"round_id": seeded[0], "approved": True}
        found = find_round(session, seeded[0])
    assert (found.step, found.verdict, found.reason) == ("train", None, None)
    app = open_app("rounds", round=str(seeded[0]))
    words = words_of(app)
    assert "Step 3 of 7: training. Next: merge." in words
    assert len(app.get("vega_lite_chart")) == 1, "the loss so far"


def test_people_decide_otherwise_with_a_reason(
    store: Database, open_app: OpenApp, seeded: tuple[int, int]
) -> None:
    app = open_app("rounds", round=str(seeded[0]))
    app.text_area[0].set_value("Its answers are dull.")
    app.button_group[0].set_value("drop").run()
    press(app, "Save the verdict")
    with store.read() as session:
        found = session.get_one(Round, seeded[0])
        assert (found.verdict, found.reason) == ("drop", "Its answers are dull.")


def test_what_is_not_there_is_said(open_app: OpenApp) -> None:
    assert "There is no training run 9" in words_of(open_app("training", run="9"))
    assert "There is no round" in words_of(open_app("rounds", round="9"))


def test_models_of_a_round_are_compared_blind_from_its_page(
    store: Database, open_app: OpenApp
) -> None:
    found = write_round(store, 4, languages=("en", "ja"))
    app = open_app("rounds", round=str(found.id))
    words = words_of(app)
    assert "Nobody has compared them yet" in words
    press(app, "Compare blind")
    with store.write() as session:
        (queue,) = list_queues(session)
        rater = ensure_rater(session, "Aki")
    assert (queue.way, queue.scope, queue.spec["round"]) == ("pair", "whole", found.id)
    item = current_card(store, queue, rater)
    while item is not None:
        item = submit(store, queue, rater, item.id, CardRating(outcome="a"))
    app = open_app("rounds", round=str(found.id))
    words = words_of(app)
    assert "People prefer neither" in words or "People surely prefer" in words
    links = [link.proto.label for link in app.get("page_link")]
    assert f"Rate first · base ({queue.n_items} cards)" in links
    japanese = words_of(open_app("rounds", round=str(found.id), lang="ja"))
    assert "得点率 100 % (" in japanese


def test_a_round_is_started_by_its_fields_and_mistakes_are_said_before(
    store: Database, open_app: OpenApp, seeded: tuple[int, int], embedded_model: Path
) -> None:
    with store.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE model_version SET path = ?, state = 'ready' WHERE kind = 'base'",
            (str(embedded_model),),
        )
    app = open_app("rounds", dataset="1")
    assert app.text_input[0].value == "first-round", "a free name, so that one click starts it"
    app.text_input[0].set_value("").run()
    assert "Give the round a name" in words_of(app)
    assert app.text_input[0].max_chars == 60
    app.text_input[0].set_value("a b").run()
    assert "name: String should match" in words_of(app)
    app.text_input[0].set_value("second")
    fields = {field.label: field for field in app.number_input}
    assert fields["Learning rate"].placeholder == "0.001"
    fields["Steps"].set_value(25)
    fields["Held-out questions, at most"].set_value(6)
    app.text_area[0].set_value("train: {learning_rat: 1}").run()
    assert "learning_rat" in words_of(app)
    yaml = "base: smollm2-135m-instruct\ntrain: {learning_rate: 0.01}\ncompare: {temperature: 0}"
    app.text_area[0].set_value(yaml).run()
    press(app, "Start the round")
    with store.read() as session:
        config = find_round(session, "second").config
    assert config["train"] == {"preset": "auto", "max_steps": 25, "learning_rate": 0.01}
    assert config["compare"]["questions"]["limit"] == 6
    assert config["compare"]["temperature"] == 0
    assert config["compare"]["formats"] == ["tagged@1"]
    assert config["merge"] is True


def test_a_round_leads_to_its_dataset_and_run_in_explore(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    with store.read() as session:
        base = list_models(session)[0]
    round_id, run_id = seed_round(store, base.id)
    words = words_of(open_app("explore", id=f"r{round_id}"))
    assert f"Round r{round_id}" in words
    assert f"t{run_id}" in words
    assert "d1" in words
    for name in ("d1", f"t{run_id}"):
        assert f"r{round_id}" in words_of(open_app("explore", id=name))


def test_the_reason_of_a_verdict_stands_there_to_its_end(
    store: Database, open_app: OpenApp
) -> None:
    write_round(store, 12, languages=("en", "ja"))
    with store.write() as session:
        judge_again(session, find_round(session, "first"))
    for language, end in (
        ("en", "Nobody has compared them blind yet; this rests on the other measures."),
        ("ja", "ブラインド比較がまだないため、ほかの指標だけによる判断です。"),
    ):
        words = words_of(open_app("rounds", round="1", lang=language)).replace("\\", "")
        assert end in words
    assert "判断の根拠" in words
    assert "パーセントポイント" in words


def test_a_round_whose_texts_make_no_card_says_what_a_card_takes(
    store: Database, open_app: OpenApp
) -> None:
    write_round(store, 4)
    with store.write() as session:
        session.execute(update(Question).values(held_out=None))
    app = press(open_app("rounds", round="1"), "Compare blind")
    assert "No card can be made" in words_of(app)
    assert "not held out" in words_of(app)


def test_why_a_run_or_a_round_failed_is_told_on_its_page_in_the_language_of_the_visit(
    store: Database, open_app: OpenApp, seeded: tuple[int, int], tmp_path: Path
) -> None:
    round_id, run_id = seeded
    why = sentence("disk", "", PRESETS["laptop"], tmp_path / "log.txt")
    with store.write() as session:
        set_run_state(session, run_id, "failed", error=why)
        move_round(session, round_id, step="train", state="failed")
        for number in (round_id, round_id + 1):
            job = session.get_one(Job, enqueue(session, "round", payload={"round_id": number}))
            job.state, job.error = "failed", why if number == round_id else "Of another round."
    for page, name, number in (("training", "run", run_id), ("rounds", "round", round_id)):
        words = words_of(open_app(page, **{name: str(number)}))
        assert words.count(f"The disk of {tmp_path} is full") == 1
        assert "Of another round." not in words
        told = words_of(open_app(page, lang="ja", **{name: str(number)}))
        assert f"{tmp_path} のディスクがいっぱいです" in told
        assert "is full" not in told
