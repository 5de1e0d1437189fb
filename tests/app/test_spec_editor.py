"""A spec that is half right: shown as a form where it can be, and never lost."""

import pytest

from tests.app.conftest import OpenApp, words_of
from tests.app.seed import Seeded

SWEEPS = (
    "variants: 20000",
    "variants: many",
    "answers: -1",
    "seed: x",
    "questions: {limit: 0}",
    "questions: {tags: 5}",
    "reasoning_sampling: 5",
    "reasoning_sampling: [{temperature: hot}]",
    "roles: [1, 2]",
)
DATASETS = (
    "per_question: a",
    "per_question: 0",
    "held_out: 0.9",
    "take: {rated: {at_least: a}}",
    "take: {sources: 5}",
    "questions: {tags: 5}",
)


@pytest.mark.parametrize(
    ("page", "yaml"), [("sweeps", one) for one in SWEEPS] + [("datasets", one) for one in DATASETS]
)
def test_what_fields_cannot_hold_is_named_and_stays_under_yaml(
    filled: Seeded, open_app: OpenApp, page: str, yaml: str
) -> None:
    app = open_app(page, new="1", **{"as": "yaml"})
    text = f"name: half\n{yaml}\n"
    app.text_area[0].set_value(text).run()
    app.query_params["as"] = "form"
    app.run()
    assert not app.exception
    said = words_of(app)
    assert "The fields of the form cannot hold this." in said
    assert yaml.partition(":")[0] in said
    app.query_params["as"] = "yaml"
    app.run()
    assert "name: half" in app.text_area[0].value
    app.text_area[0].set_value("name: whole\n").run()
    app.query_params["as"] = "form"
    app.run()
    assert not app.exception
    assert app.text_input[0].value == "whole"


@pytest.mark.parametrize("yaml", ["formats: []", "name: ''", "modes: [supplied]"])
def test_what_is_only_incomplete_is_shown_as_a_form(
    filled: Seeded, open_app: OpenApp, yaml: str
) -> None:
    app = open_app("sweeps", new="1", **{"as": "yaml"})
    app.text_area[0].set_value(f"variants: 7\n{yaml}\n").run()
    app.query_params["as"] = "form"
    app.run()
    assert not app.exception
    assert 7 in [field.value for field in app.number_input]
