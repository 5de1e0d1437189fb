"""The models of the store as a visitor sees them: proof, card, merging, pruning."""

from pathlib import Path

import pytest
import streamlit as st
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.jobs import active_jobs, request_cancel
from db.models import ModelRow, get_model, limits_of, set_limits
from db.rounds import create_round, move_round
from db.tables import ModelVersion
from serving.models.as_served import as_served
from tests.app.conftest import OpenApp, words_of
from tests.app.seed_models import seed_merge
from workbench.precision.store import save_comparison
from workbench.rounds.spec import parse_round


@pytest.fixture(autouse=True)
def no_cache() -> None:
    st.cache_data.clear()


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    app.run()
    assert not app.exception, app.exception
    return app


@pytest.fixture
def merged(store: Database, tmp_path: Path) -> ModelRow:
    """A merge with a proof of which one check failed."""
    return seed_merge(store, tmp_path / "models", is_good=False)


def test_an_empty_page_says_where_models_come_from(open_app: OpenApp) -> None:
    assert "No model yet" in words_of(open_app("models"))
    assert "モデルはまだありません" in words_of(open_app("models", lang="ja"))


def test_a_merge_shows_its_proof_and_why_it_is_not_used(
    open_app: OpenApp, merged: ModelRow
) -> None:
    assert "not usable" in words_of(open_app("models"))
    app = open_app("models", model=str(merged.id))
    words = words_of(app)
    assert "5 of 6 checks passed" in words
    assert "It stops by itself" in words
    assert "0.25, limit 0.5" in words
    assert "Not usable: It differs." in words
    assert any("Proof of the merge: FAILED" in code.value for code in app.code)
    assert "6 項目中 5 項目に合格" in words_of(open_app("models", model=str(merged.id), lang="ja"))


def test_an_adapter_is_merged_and_a_merge_proved_again_from_here(
    store: Database, open_app: OpenApp, merged: ModelRow
) -> None:
    press(open_app("models", model=str(merged.id)), "Prove again")
    with store.write() as session:
        (job,) = active_jobs(session, kind="verify")
        assert (job.lane, job.payload) == ("device", {"model_id": merged.id})
        request_cancel(session, job.id)
    press(open_app("models", model=str(merged.id - 1)), "Merge and prove")
    with store.read() as session:
        (job,) = active_jobs(session, kind="merge")
    assert (job.lane, job.payload) == ("device", {"adapter_id": merged.id - 1, "name": None})


def test_a_model_is_served_with_values_that_a_person_sets(
    store: Database, open_app: OpenApp, merged: ModelRow
) -> None:
    with store.write() as session:
        session.execute(update(ModelVersion).values(precision="bf16"))
    app = open_app("models", model=str(merged.id - 2))
    assert "on the CPU; 64 sequences at once" in words_of(app)
    fields = {field.label: field for field in app.number_input}
    fields["Sequences of an engine"].set_value(8)
    fields["Share of GPU memory"].set_value(0.5)
    next(box for box in app.selectbox if box.label == "Precision of the weights").select("fp8")
    press(app, "Serve with these values")
    with store.write() as session:
        (job,) = active_jobs(session, kind="serve_start")
        base = get_model(session, merged.id - 2)
        limits = {"max_num_seqs": 8, "gpu_memory_utilization": 0.5}
        assert job.payload == {"model": f"{base.name}@fp8", "limits": limits}
        set_limits(session, merged, limits)
        set_limits(session, base, limits)
    japanese = words_of(open_app("models", model=str(merged.id - 2), lang="ja"))
    assert "同時に 8 系列" in japanese
    with store.write() as session:
        set_limits(session, base, {})
        assert (limits_of(session, base), limits_of(session, merged)) == ({}, limits)


def test_weights_are_dropped_and_asked_for_again(
    store: Database, open_app: OpenApp, merged: ModelRow
) -> None:
    press(open_app("models", model=str(merged.id)), "Drop the weights")
    assert not Path(merged.path or "").exists()
    with store.read() as session:
        assert get_model(session, merged.id).state == "pruned"
    press(open_app("models", model=str(merged.id)), "Make the weights again")
    with store.read() as session:
        (job,) = active_jobs(session, kind="merge")
    assert job.payload == {"adapter_id": merged.id - 1, "name": "tiny-merged"}


def test_weights_that_a_running_round_needs_are_kept(
    store: Database, open_app: OpenApp, merged: ModelRow
) -> None:
    with store.write() as session:
        config = parse_round({"name": "first", "dataset": "rows"}).as_config()
        made = create_round(session, name="first", config=config, starts_from_id=merged.id)
        move_round(session, made.id, state="running")
    app = press(open_app("models", model=str(merged.id)), "Drop the weights")
    assert "Round 'first' runs and needs tiny-merged" in words_of(app)
    assert Path(merged.path or "").exists()


def test_what_is_not_there_is_said(open_app: OpenApp) -> None:
    app = open_app("models", model="9")
    assert app.error


def test_a_model_shows_how_far_other_precisions_are_and_compares_them(
    store: Database, open_app: OpenApp, merged: ModelRow
) -> None:
    span = {"value": 0.034, "low": 0.03, "high": 0.04}
    result = {
        "n_questions": 20, "n_tokens": 900, "rest": 0.08, "length": 40.0, "kl_p99": 0.3, "kl": span,
        "same_top": span, "identical": span, "prefix": {"value": 21.0, "low": None, "high": None},
    }  # fmt: skip
    with store.write() as session:
        quantised = as_served(session, get_model(session, merged.id), "fp8")
        save_comparison(session, quantised.id, merged.id, result)
    words = words_of(open_app("models", model=str(merged.id)))
    assert "In other precisions" in words
    assert "0.034 (0.03 to 0.04)" in words
    assert "20 questions, 900 tokens; 8.0% of the probability only as a bound" in words
    assert "served as: " in " ".join(
        b.label for b in open_app("models", model=str(merged.id)).button
    )
    japanese = words_of(open_app("models", model=str(quantised.id), lang="ja"))
    assert "他の精度での違い" in japanese
    assert "FP8" in words_of(open_app("models"))
