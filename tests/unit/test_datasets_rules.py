"""Rules are checked as a whole, and say everything that is wrong with them."""

from pathlib import Path

import pytest

from db.errors import UsageError
from training.datasets.rules import DemonstrationRules, as_yaml, load_rules, parse_rules, parse_yaml
from training.methods import STORED_KINDS

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "datasets").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_taken_and_written_as_they_were_meant(path: Path) -> None:
    rules = load_rules(path)
    assert parse_yaml(as_yaml(rules)) == rules


def test_there_is_an_example_of_each_kind() -> None:
    assert {load_rules(path).kind for path in EXAMPLES} == {"sft", "dpo", "kto"}


@pytest.mark.parametrize(("kind", "stored"), STORED_KINDS.items())
def test_a_kind_may_be_called_by_its_rows(kind: str, stored: str) -> None:
    rules = parse_rules(
        {"name": "x", "kind": kind, "take": {"ok": True} if stored == "sft" else {}}
    )
    assert (rules.kind, rules.rows) == (stored, kind)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_rules(
            {
                "name": "x",
                "take": {"rated": {"at_leest": 4}, "chosn": True},
                "per_question": 0,
                "findings": ["sloth"],
                "questions": {"tag": ["a"]},
            }
        )
    said = str(caught.value)
    for part in (
        "take.rated.at_leest is not a key, did you mean at_least?",
        "take.chosn is not a key, did you mean chosen?",
        "per_question",
        "there is no check 'sloth'",
        "questions.tag is not a key, did you mean tags?",
    ):
        assert part in said, said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "x", "kind": "rlhf"}, "choose one of sft, dpo, kto"),
        ({"name": "x"}, "take: Field required"),
        ({"name": "x", "take": {}}, "at least one of rated, chosen, ok, edited, sources"),
        (
            {
                "name": "x",
                "kind": "dpo",
                "take": {"comparisons": [], "edits": False, "questions": "none"},
            },
            "edits or questions",
        ),
        ({"name": "x", "kind": "dpo", "without_reasoning": 0.1}, "is not a key"),
        (
            {
                "name": "x",
                "take": {"ok": True},
                "without_reasoning": 0.5,
                "question_to_question": 0.5,
            },
            "too little room",
        ),
        ({"name": " ", "take": {"ok": True}}, "name"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_rules(given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "line 1"),
        ("- a", "must hold keys"),
        ("name: 2024-13-45", "cannot read"),
        ("", "must hold keys"),
    ],
)
def test_a_file_that_is_no_yaml_is_told_by_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=said):
        load_rules(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_rules(tmp_path / "none.yaml")


def test_a_file_of_questions_lies_beside_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("name: x\nquestions: {file: q.csv}\ntake: {ok: true}\n", "utf-8")
    assert load_rules(path).questions.file == tmp_path / "q.csv"


def test_a_key_without_a_word_says_its_default() -> None:
    rules = parse_rules({"name": "x", "take": {"chosen": True}})
    assert isinstance(rules, DemonstrationRules)
    assert (rules.per_question, rules.without_reasoning, rules.held_out) == (3, 0.1, 0.1)
