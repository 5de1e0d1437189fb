"""Odd values in specs and in what servers say: one sentence, or nothing, but never a traceback."""

from pathlib import Path

import pytest

from db.errors import UsageError
from serving.engine.responses import parse_load, parse_models
from serving.sweeps.spec import load_spec, parse_spec

UI = Path(__file__).parents[2] / "workbench" / "ui"


@pytest.mark.parametrize(
    "content",
    [
        "name: 2024-02-30\n",
        "name: " + "[" * 5_000,
        "name: x\nquestions: {file: '~nosuchuser/x.csv'}\n",
        'name: x\nquestions: {file: "a\\0b.csv"}\n',
        "name: x\nquestions: {ids: [9223372036854775808]}\n",
        "name: x\nquestions: {ids: ['q²']}\n",
        "name: x\nquestions: {ids: ['q99999999999999999999999']}\n",
        "name: x\nanswer_sampling: [{max_tokens: 9999999999}]\n",
        "name: x\nanswer_sampling: [{top_k: 99999999999999999999}]\n",
    ],
)
def test_a_value_that_cannot_be_meant_is_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_spec(path)
    assert "\n" not in str(caught.value).strip()


def test_one_mistake_in_a_level_is_reported_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec({"name": "x", "answer_sampling": [{"temperature": -1}]})
    assert str(caught.value).count("answer_sampling") == 1


def test_an_empty_list_of_levels_is_still_reported() -> None:
    with pytest.raises(UsageError, match="answer_sampling"):
        parse_spec({"name": "x", "answer_sampling": []})


@pytest.mark.parametrize("length", [True, -5, 0, 2**31, 10**30, 4.5, "4096", None])
def test_a_context_length_that_no_store_can_hold_is_not_believed(length: object) -> None:
    (model,) = parse_models({"data": [{"id": "m", "max_model_len": length}]})
    assert model.context_length is None


def test_a_sound_context_length_is_kept() -> None:
    (model,) = parse_models({"data": [{"id": "m", "max_model_len": 4096}]})
    assert model.context_length == 4096


def test_metrics_that_overflow_are_no_load() -> None:
    page = "vllm:num_requests_running 1e400\nvllm:num_requests_waiting 0\n"
    assert parse_load(page) is None
    assert parse_load(page.replace("1e400", "3")) is not None


def test_the_page_shows_no_error_text_as_markdown() -> None:
    """Errors name files, questions and what servers say: all of it from outside."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in UI.glob("*.py")}
    raw = [n for n, s in sources.items() if "st.error(str(" in s or "st.warning(str(" in s]
    assert raw == []
