import pytest

from db.database import Database
from db.engines import EngineUse, GpuUse, ensure_local, save_load
from db.jobs import active_jobs
from db.questions import NewQuestion, add_question
from db.tables import Engine, EngineModel, ModelVersion
from db.workers.live import beat, ensure_worker
from tests.app.conftest import OpenApp, words_of
from tests.app.seed import Seeded, seed_engine, seed_running_job


def test_an_empty_store_offers_the_examples_first(open_app: OpenApp) -> None:
    app = open_app()
    assert "Import the examples" in words_of(app)
    assert "No model server yet" in words_of(app)


def test_the_first_sweep_waits_until_a_model_is_known(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        add_question(session, NewQuestion(text="What is tea?"))
    assert open_app().button(key="next_sweep").disabled
    with store.write() as session:
        seed_engine(session, state="starting", progress=0.1)
    assert not open_app().button(key="next_sweep").disabled


def test_a_page_whose_only_model_was_removed_comes_to_rest(
    store: Database, open_app: OpenApp
) -> None:
    with store.write() as session:
        session.add(ModelVersion(name="gone", kind="declared", state="removed"))
    assert "No model server yet" in words_of(open_app())


def test_a_page_without_a_worker_promises_no_model(
    store: Database, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("Q2Q_READING_ONLY", "1")
    with store.write() as session:
        add_question(session, NewQuestion(text="What is tea?"))
    app = open_app()
    assert app.button(key="next_sweep").disabled
    assert "Started for reading and rating" in words_of(app)
    assert "being prepared" not in words_of(app)


def test_a_loading_model_shows_how_far_it_is(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        seed_engine(session, state="starting", progress=0.4, message="Reading the weights.")
    app = open_app()
    assert "starting" in words_of(app)
    assert "Reading the weights" in app.get("progress")[0].proto.text


def test_the_embedded_model_is_said_to_prove_the_machine_not_quality(
    filled: Seeded, open_app: OpenApp
) -> None:
    assert "says nothing about quality" in words_of(open_app())


def test_each_engine_says_how_busy_it_and_its_gpus_are(store: Database, open_app: OpenApp) -> None:
    gpus = [
        GpuUse(index=i, name="H200", memory_used_gib=120.4, memory_total_gib=139.8) for i in (0, 1)
    ]
    with store.write() as session:
        model_id, engine_id = seed_engine(session)
        uses = [
            EngineUse(
                engine=i,
                running=900 + i,
                waiting=2,
                kv_cache_usage=0.4,
                tokens_per_second=17_800.4,
                gpus=(gpu,),
            )
            for i, gpu in enumerate(gpus)
        ]
        save_load(session, engine_id, uses)
        second = Engine(
            name="second", kind="external", url="http://10.0.0.6:8000/v1", state="ready"
        )
        session.add(second)
        session.flush()
        session.add(EngineModel(engine_id=second.id, model_version_id=model_id, served_name="it"))
    read = words_of(open_app())
    assert "Engine 1 · GPU 1 (H200): 120 of 140 GiB · 901 running, 2 waiting" in read
    assert "17,800 tokens/s" in read
    assert "2 servers share its work" in read


def test_a_failed_engine_says_why_and_can_be_started(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        session.add(Engine(name="local", kind="child", state="failed", message="No memory left."))
    app = open_app()
    assert "No memory left" in words_of(app)
    next(button for button in app.button if button.label == "Start").click().run()
    with store.read() as session:
        assert [job.kind for job in active_jobs(session)] == ["serve_start"]


def test_two_workers_are_shown_each_with_its_server(store: Database, open_app: OpenApp) -> None:
    with store.write() as session:
        ids = [ensure_worker(session, host="gpu-a", home="/srv/a")]
        ids.append(ensure_worker(session, host="gpu-b", home="/srv/b"))
        for worker_id in ids:
            beat(session, worker_id, ())
        for worker_id in ids:
            ensure_local(session, worker_id)
    read = words_of(open_app())
    assert "gpu-a (/srv/a)" in read
    assert "heartbeat 0 s ago" in read
    app = open_app()
    app.button(key="engine_stop_2").click().run()
    with store.read() as session:
        assert [(job.kind, job.worker_id) for job in active_jobs(session)] == [("serve_stop", 2)]


def test_home_says_where_the_project_stands_and_what_comes_next(
    filled: Seeded, open_app: OpenApp
) -> None:
    app = open_app()
    read = words_of(app)
    assert "Rate what “First look: two temperatures” wrote" in read
    assert [one.value for one in app.subheader][1:6] == ["8", "72", "0", "0", "0"]
    assert "1 sweep" in read


def test_a_running_job_can_be_cancelled(store: Database, filled: Seeded, open_app: OpenApp) -> None:
    job_id = seed_running_job(store, filled.sweep_id)
    app = open_app()
    assert "72 of 150 texts" in app.get("progress")[0].proto.text
    app.button(key=f"cancel_{job_id}").click().run()
    with store.read() as session:
        assert active_jobs(session)[0].cancel_requested_at is not None


def test_the_page_speaks_japanese_where_the_address_says_so(open_app: OpenApp) -> None:
    assert "例題を取り込む" in words_of(open_app(lang="ja"))
