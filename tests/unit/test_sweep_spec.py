"""The spec of a sweep: what is refused, and how it is said."""

import re
from pathlib import Path

import pytest

from db.errors import UsageError
from serving.engine.messages import SamplingParameters
from serving.sweeps.spec import (
    QuestionSelection,
    ReasoningSelection,
    SweepSpec,
    load_spec,
    parse_spec,
)

ROOT = Path(__file__).parents[2]


def test_a_name_is_enough() -> None:
    spec = parse_spec({"name": "first"})
    assert (spec.modes, spec.roles, spec.models) == (("reasoning",), ("question",), ("default",))


def test_all_mistakes_are_said_at_once_with_key_paths_and_what_was_meant() -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(
            {
                "variant": 3,
                "answers": -1,
                "questions": {"tag": ["x"]},
                "reasoning_sampling": [{"temperatur": 1}],
            }
        )
    sentence = str(caught.value)
    for part in (
        "name: Field required",
        "variant is not a key, did you mean variants?",
        "questions.tag is not a key, did you mean tags? (allowed: tags, ids,",
        "reasoning_sampling.0.temperatur is not a key, did you mean temperature?",
        "answers: ",
    ):
        assert part in sentence


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"modes": ["supplied"]}, "needs the key reasonings"),
        ({"modes": ["ensemble"]}, "needs the key reasonings"),
        ({"reasonings": {"ids": [1]}}, "only for the modes supplied and ensemble"),
        ({"models": ["a", "a"]}, "names 'a' twice"),
        ({"answer_sampling": [{}, {"temperature": 0.8}]}, "holds one level twice"),
        ({"answer_sampling": [{"seed": 1}]}, "give the sweep's own key seed"),
        ({"modes": ["vanilla"], "answers": 0}, "leaves nothing to do"),
        ({"variants": 0}, "greater than or equal to 1"),
        ({"questions": {"ids": "9-3"}}, "the range 9-3 ends before it begins"),
        ({"questions": {"ids": ["ten"]}}, "'ten' is neither a number such as 12 nor a range"),
        ({"questions": {"sources": ["web"]}}, "'human', 'imported', 'example' or 'model'"),
        ({"modes": ["thinking"]}, "'reasoning', 'supplied', 'vanilla'"),
    ],
)
def test_what_does_not_fit_together_is_refused(spec: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        parse_spec({"name": "x", **spec})


def test_no_answers_writes_reasonings_only() -> None:
    assert parse_spec({"name": "x", "answers": 0}).answers == 0


def test_ids_may_carry_their_kind_letter() -> None:
    spec = parse_spec({"name": "x", "questions": {"ids": ["q3", 4]}})
    assert spec.questions.ids == (3, 4)


@pytest.mark.parametrize("ids", ["3-9, 12", ["q3-q9", "12"], ["3 – 9", 12]])
def test_ids_take_ranges_and_stay_as_they_were_meant(ids: object) -> None:
    spec = parse_spec({"name": "x", "questions": {"ids": ids}})
    assert spec.questions.ids == ("3-9", 12)
    assert parse_spec(spec.model_dump(mode="json")) == spec


def test_specs_that_do_not_use_later_keys_are_stored_as_before() -> None:
    kept = parse_spec({"name": "x", "questions": {"tags": ["a"]}}).model_dump(mode="json")
    names = ["tags", "ids", "file", "search", "languages", "roles", "held_out", "limit"]
    assert list(kept["questions"]) == names


def test_a_file_names_other_files_relative_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("name: x\nquestions:\n  file: my/questions.csv\n")
    assert load_spec(path).questions.file == (tmp_path / "my" / "questions.csv").resolve()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name: [x\n", "is no YAML"),
        ("- 1\n", "must hold keys and values"),
        ("name: x\nvariants: many\n", "variants: Input should be a valid integer"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_spec(tmp_path / "nowhere.yaml")


def test_a_spec_survives_being_stored() -> None:
    spec = parse_spec({"name": "x", "modes": ["ensemble"], "reasonings": {"search": "sea"}})
    assert parse_spec(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    "model", [SweepSpec, QuestionSelection, ReasoningSelection, SamplingParameters]
)
def test_every_key_is_documented(model: type) -> None:
    documented = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    keys = set(model.model_fields)  # type: ignore[attr-defined]
    assert {key for key in keys if f"`{key}`" not in documented} == set()
