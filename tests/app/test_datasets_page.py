"""Datasets as a visitor makes, reads and exports them."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.datasets import find_dataset, list_datasets
from db.tables import Question
from serving.importers.questions import import_questions
from serving.importers.readers import read_rows
from tests.app.conftest import OpenApp, words_of
from workbench.ui.datasets import new
from workbench.ui.datasets.dataset import file_of

TRAINING = Path(__file__).parents[2] / "examples" / "training"


@pytest.fixture
def imported(store: Database, open_app: OpenApp) -> AppTest:
    """The page of a new dataset on a store that holds some of the example training set."""
    for name in ("held_out.jsonl", "japanese.jsonl"):
        import_questions(store, read_rows(TRAINING / name), source="example")
    return open_app("datasets", new="1")


def bars(app: AppTest) -> list[str]:
    """Return the names of the bars of the plot, from above."""
    (chart,) = app.get("vega_lite_chart")
    spec: dict[str, Any] = json.loads(chart.proto.spec)
    return list(spec["encoding"]["y"]["sort"])


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    app.run()
    assert not app.exception, app.exception
    return app


def test_an_empty_store_says_what_to_do(open_app: OpenApp) -> None:
    words = words_of(open_app("datasets"))
    assert "No dataset yet" in words
    assert "Rate some texts" in words
    assert "No text comes into question" in words_of(open_app("datasets", new="1"))


def test_a_preview_without_a_row_to_train_on_says_why_and_what_to_do(
    store: Database, imported: AppTest
) -> None:
    assert "Nothing to train on" not in words_of(imported)
    with store.write() as session:
        session.execute(update(Question).values(held_out=True))
    new._preview.clear()
    words = words_of(imported.run())
    assert "all rows that stay are of held-out questions" in words
    assert "Rate texts of other questions" in words


def test_a_preview_tells_of_each_rule_and_freezing_stores_the_rows(
    store: Database, imported: AppTest
) -> None:
    assert bars(imported)[0] == "written or imported"
    assert "candidates" in words_of(imported)
    with store.read() as session:
        assert list_datasets(session) == []
    strike = next(one for one in imported.button if one.label == "Strike out")
    app = press(imported, "Strike out")
    assert "Rows struck out by hand: 1" in words_of(app)
    app.button_group(key="url_rows").set_value("struck_out").run()
    assert strike.key.removeprefix("strike_") in words_of(app)
    press(app, "Take back")
    assert "truck out by hand" not in words_of(app)
    press(app, "Strike out")
    assert "more questions are fixed as ones to train on" in words_of(app)
    with store.read() as session:
        assert list_datasets(session) == []
    press(app, "Freeze for good")
    with store.read() as session:
        (dataset,) = list_datasets(session)
    assert app.query_params["dataset"] == str(dataset.id)
    assert dataset.n_train + dataset.n_held_out == sum(dataset.counts["rows"].values())
    assert dataset.counts["struck_out"] == len(dataset.counts["struck_out_rows"]) == 1
    assert "Rows struck out by hand: 1" in words_of(app)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["To train on"] == f"{dataset.n_train:,}"
    assert f"Start a round with “{dataset.name}”" in words_of(app)


def test_rows_are_paged_and_every_export_is_one_file(
    store: Database, imported: AppTest, open_app: OpenApp
) -> None:
    press(imported, "Freeze for good")
    rows = open_app("datasets", dataset="1", view="rows", split="held_out")
    assert "Reasoning" in words_of(rows)
    assert "sources" in open_app("datasets", dataset="1", view="rules").code[0].value
    with store.read() as session:
        dataset = find_dataset(session, 1)
    name, content = file_of(dataset, "alpaca", "train")
    assert name == "dataset-1-alpaca.json"
    assert len(json.loads(content)) == dataset.n_train
    name, content = file_of(dataset, "hf", "train")
    inside = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert "dataset-1-hf/README.md" in inside
    assert "dataset-1-hf/data/train.parquet" in inside


def test_the_yaml_says_what_is_wrong_with_it(imported: AppTest) -> None:
    imported.query_params["as"] = "yaml"
    imported.run()
    imported.text_area[0].set_value("name: x\nkind: sft\ntake: {shosen: true}\n").run()
    assert "did you mean chosen?" in words_of(imported)


def test_rules_of_other_kinds_are_made_from_the_same_form(imported: AppTest) -> None:
    imported.button_group[1].set_value("dpo").run()
    assert not imported.exception
    assert "These rules cannot be used" not in words_of(imported)


def test_the_pages_speak_japanese(open_app: OpenApp) -> None:
    assert "データセットはまだありません" in words_of(open_app("datasets", lang="ja"))
    assert "この規則で選ばれる行" in words_of(open_app("datasets", new="1", lang="ja"))


def test_a_dataset_that_is_not_there_is_said(open_app: OpenApp) -> None:
    assert "There is no dataset" in words_of(open_app("datasets", dataset="9"))
