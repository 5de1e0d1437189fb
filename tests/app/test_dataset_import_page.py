"""Training data of other programs comes in through the page of datasets."""

import json

import streamlit as st

from db.database import Database
from tests.app.conftest import OpenApp, words_of
from tests.unit.sweep_lab import scalar

PAIRS = [
    {"prompt": "Why is the sky blue?", "chosen": "Light scatters.", "rejected": "It is paint."},
    {"prompt": "空はなぜ青い？", "chosen": "光が散るため。", "rejected": "塗ってある。"},
]


def upload(open_app: OpenApp, name: str, rows: list[dict[str, str]]):  # type: ignore[no-untyped-def]
    st.cache_data.clear()
    app = open_app("datasets", **{"import": "1"})
    assert "What a row may look like" in words_of(app)
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    app.file_uploader[0].set_value((name, data, "application/json")).run()
    assert not app.exception, app.exception
    return app


def test_pairs_are_previewed_and_imported_as_comparisons(
    store: Database, open_app: OpenApp
) -> None:
    app = upload(open_app, "pairs.jsonl", PAIRS)
    assert "2 rows were understood" in words_of(app)
    assert scalar(store, "SELECT count(*) FROM question") == 0
    app.text_input[0].set_value("judge-model")
    app.button_group[0].set_value("model").run()
    next(one for one in app.button if one.label == "Import 2 rows").click().run()
    assert not app.exception, app.exception
    assert scalar(store, "SELECT count(*) FROM rating WHERE outcome IS NOT NULL") == 2
    assert scalar(store, "SELECT kind FROM rater WHERE name = 'judge-model'") == "model"
    again = upload(open_app, "pairs.jsonl", PAIRS)
    again.text_input[0].set_value("judge-model")
    again.button_group[0].set_value("model").run()
    assert next(one for one in again.button if one.label.startswith("Import 2")).disabled


def test_a_wrong_row_is_named_and_stops_the_import(store: Database, open_app: OpenApp) -> None:
    app = upload(open_app, "pairs.jsonl", [*PAIRS, {"prompt": "What?", "chosen": ""}])
    words = words_of(app)
    assert "pairs.jsonl, line 3" in words
    confirm = next(one for one in app.button if one.label.startswith("Import"))
    assert confirm.disabled
    app.checkbox[0].check().run()
    next(one for one in app.button if one.label.startswith("Import 2")).click().run()
    assert scalar(store, "SELECT count(*) FROM question") == 2


def test_a_guessed_encoding_is_shown_with_a_sample_and_can_be_changed(
    store: Database, open_app: OpenApp
) -> None:
    st.cache_data.clear()
    app = open_app("datasets", **{"import": "1"})
    data = "question,answer\n한국에서 가장 높은 산은?,백두산입니다.\n".encode("cp949")
    app.file_uploader[0].set_value(("korean.csv", data, "text/csv")).run()
    assert not app.exception, app.exception
    assert app.selectbox[0].value == "cp949"
    assert "한국에서 가장 높은 산은?" in words_of(app)
    assert scalar(store, "SELECT count(*) FROM question") == 0
    app.selectbox[0].select("cp1252").run()
    assert "ÇÑ±¹" in words_of(app)
    app.selectbox[0].select("cp949").run()
    next(one for one in app.button if one.label.startswith("Import 1")).click().run()
    assert not app.exception, app.exception
    assert scalar(store, "SELECT text FROM question") == "한국에서 가장 높은 산은?"


def test_rows_in_the_markup_of_chats_are_parted_and_what_is_doubtful_is_said(
    store: Database, open_app: OpenApp
) -> None:
    chat = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n<think>R</think>A<|im_end|>"
    whole = "\n\nHuman: How?\n\nAssistant: "
    rows = [
        {"text": chat, "Held-Out": "yes"},
        {"chosen": f"{whole}B", "rejected": f"{whole}C"},
        {"question": "GrÃ¶ÃŸe?", "answer": "D", "reasoning": "on"},
    ]
    app = upload(open_app, "rows.jsonl", rows)
    words = words_of(app)
    assert "3 rows were understood" in words
    assert "garbled" in words
    assert "Fields not used: reasoning" in words
    next(one for one in app.button if one.label == "Import 3 rows").click().run()
    assert not app.exception, app.exception
    assert scalar(store, "SELECT held_out FROM question WHERE text = 'Why?'") == 1
    assert scalar(store, "SELECT text FROM reasoning_variant") == "R"
    for text in "ABC":
        assert scalar(store, f"SELECT count(*) FROM answer WHERE text = '{text}'") == 1


def test_a_pair_under_two_system_texts_stops_the_import(store: Database, open_app: OpenApp) -> None:
    asked = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "A"}]
    other = [{"role": "system", "content": "S"}, asked[0], {"role": "assistant", "content": "B"}]
    app = upload(open_app, "rows.jsonl", [{"chosen": asked, "rejected": other}])  # type: ignore[dict-item]
    assert "a pair has one prompt" in words_of(app)
    assert scalar(store, "SELECT count(*) FROM question") == 0
