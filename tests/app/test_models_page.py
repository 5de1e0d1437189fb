"""The models of the store as a visitor sees them: proof, card, merging, pruning."""

import json
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.jobs import active_jobs, request_cancel
from db.merges import CheckRow, record_merge, save_proof
from db.models import ModelRow, get_model
from db.tables import ModelVersion
from tests.app.conftest import OpenApp, words_of


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
    """A merge with a proof of which one check failed, in a real folder."""
    for name in ("base", "adapter", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "merged" / "manifest.json").write_text(json.dumps({"kind": "merged"}))
    (tmp_path / "merged" / "model.safetensors").write_bytes(bytes(2_000_000))
    with store.write() as session:
        for number, kind in ((1, "base"), (2, "adapter")):
            session.add(
                ModelVersion(
                    id=number,
                    name=f"tiny-{kind}",
                    kind=kind,
                    digest=f"sha256:{kind}",
                    path=str(tmp_path / kind),
                    size_bytes=2_000_000,
                    base_id=1 if number == 2 else None,
                )
            )
            session.flush()
        adapter, base = get_model(session, 2), get_model(session, 1)
        path = str(tmp_path / "merged")
        made = record_merge(
            session, adapter, base, name="tiny-merged", digest="sha256:m", path=path
        )
        checks = [
            CheckRow(name="whole", passed=True, detail="All 2 files are there."),
            CheckRow(
                name="logits", passed=False, measured=0.5, tolerance=0.1, detail="It differs."
            ),
        ]
        save_proof(session, made.id, adapter.id, checks)
        return get_model(session, made.id)


def test_an_empty_page_says_where_models_come_from(open_app: OpenApp) -> None:
    assert "No model yet" in words_of(open_app("models"))
    assert "モデルはまだありません" in words_of(open_app("models", lang="ja"))


def test_a_merge_shows_its_proof_and_why_it_is_not_used(
    open_app: OpenApp, merged: ModelRow
) -> None:
    assert "not usable" in words_of(open_app("models"))
    app = open_app("models", model=str(merged.id))
    words = words_of(app)
    assert "1 of 2 checks passed" in words
    assert "It says what the adapter says" in words
    assert "0.5, limit 0.1" in words
    assert "Not usable: It differs." in words
    assert any("Proof of the merge: FAILED" in code.value for code in app.code)
    assert "2 項目中 1 項目に合格" in words_of(open_app("models", model=str(merged.id), lang="ja"))


def test_an_adapter_is_merged_and_a_merge_proved_again_from_here(
    store: Database, open_app: OpenApp, merged: ModelRow
) -> None:
    press(open_app("models", model=str(merged.id)), "Prove again")
    with store.write() as session:
        (job,) = active_jobs(session, kind="verify")
        assert (job.lane, job.payload) == ("device", {"model_id": merged.id})
        request_cancel(session, job.id)
    press(open_app("models", model="2"), "Merge and prove")
    with store.read() as session:
        (job,) = active_jobs(session, kind="merge")
    assert (job.lane, job.payload) == ("device", {"adapter_id": 2, "name": None})


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
    assert job.payload == {"adapter_id": 2, "name": "tiny-merged"}


def test_what_is_not_there_is_said(open_app: OpenApp) -> None:
    app = open_app("models", model="9")
    assert app.error
