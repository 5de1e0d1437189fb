"""Insights on reasonings as a visitor sees it: the button, then bits beside controls."""

import json
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.jobs import active_jobs, claim, finish
from db.tables import Job
from serving.formats.tokenizer import PromptTokenizer
from serving.scoring.spec import ScoreSpec, parse_score_spec
from tests.app.conftest import OpenApp, words_of
from tests.fakes.server import FakeServer
from tests.unit import score_lab
from tests.unit import sweep_lab as lab


@pytest.fixture(autouse=True)
def no_cache() -> None:
    st.cache_data.clear()


@pytest.fixture
async def swept(store: Database, fake_server: FakeServer) -> Database:
    lab.fill(store, 3)
    sweep_id = lab.save(store, formats=["tagged@1"], variants=2, answers=2)
    await lab.run(store, sweep_id, fake_server.endpoint)
    return store


@pytest.fixture
async def scored(swept: Database, fake_server: FakeServer, embedded_model: Path) -> Database:
    tokenizer = PromptTokenizer.load(embedded_model)
    await score_lab.score(swept, fake_server.endpoint, tokenizer, ScoreSpec())
    return swept


def plots(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def test_an_empty_store_says_what_to_do(open_app: OpenApp) -> None:
    app = open_app("insights")
    assert "run a sweep with at least two reasonings" in words_of(app)


def test_the_button_queues_the_job_for_the_sweep_that_is_chosen(
    swept: Database, open_app: OpenApp
) -> None:
    app = open_app("insights", sweep="1")
    assert "0 of 132 pairs" in words_of(app)
    assert "By wording alone" in words_of(app)
    app.button(key="score_run").click().run()
    assert not app.exception
    with swept.read() as session:
        (job,) = active_jobs(session, kind="score")
    assert parse_score_spec(job.payload) == ScoreSpec(sweep=1)
    assert app.button(key="score_run").disabled
    assert app.button(key=f"cancel_{job.id}")


def test_bits_stand_beside_controls_and_their_limit(scored: Database, open_app: OpenApp) -> None:
    app = open_app("insights")
    words = words_of(app)
    for said in (
        "of at most 1.00 bits",
        "temperature 0.8 · top_p 0.95",
        "Not clear yet** whether the reasonings are an input or only an output",
        "For each token: **not clear yet**",
        "Sampling: 0 questions have answers drawn from what scores them",
        "bits of different temperatures cannot be compared",
        "Above the controls, in bits: words shuffled",
        "not that they get better",
        "Few questions (2)",
        "Leak: with the question withheld",
        "132 of 132 pairs",
    ):
        assert said in words, said
    drawn = json.dumps(plots(app))
    for name in ("the reasonings", "words shuffled", "first half only", "of other questions"):
        assert name in drawn
    assert app.button(key="score_run").disabled


def test_the_section_speaks_japanese(scored: Database, open_app: OpenApp) -> None:
    app = open_app("insights", lang="ja")
    assert "推論は回答を動かすか" in words_of(app)
    assert "別の質問の推論" in json.dumps(plots(app), ensure_ascii=False)


def test_why_a_job_scored_nothing_is_said(swept: Database, open_app: OpenApp) -> None:
    with swept.write() as session:
        session.add(Job(kind="score", lane="server", payload={}))
        session.flush()
        job = claim(session, "me")
        assert job is not None
        reason = "The server of <b>fake</b> gives no log-probabilities."
        finish(session, job.id, "me", "done", result={"unable": [reason]})
    words = words_of(open_app("insights"))
    assert "gives no log-probabilities" in words
