"""What people write in YAML or JSON: a key that stands twice is refused, in every kind of file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db.errors import UsageError
from db.input_text import load_mapping, load_yaml, read_text
from serving.formats.library import load_definitions
from serving.importers.folders import parts_of
from serving.sweeps.spec import load_spec
from training.datasets.rules import load_rules
from training.runs.spec import load_spec as load_training
from workbench.cli.dialogue_options import parse_set
from workbench.dialogue.settings import load_theme
from workbench.rating.axes import load_axes
from workbench.rounds.spec import load_round

ROOT = Path(__file__).parents[2]


def load_card(path: Path) -> Any:
    (path.parent / "README.md").write_text(f"---\n{path.read_text()}---\n")
    (path.parent / "a.jsonl").write_text("{}")
    return parts_of(path.parent)


@pytest.mark.parametrize(
    "load",
    [
        load_spec,
        load_rules,
        load_round,
        load_training,
        load_theme,
        lambda path: load_definitions(path),
        lambda path: load_mapping(path.read_text(), where="The spec"),
        load_card,
    ],
)
def test_a_key_that_stands_twice_is_refused_by_line_in_every_file(
    load: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: a\nvariants: 4\nn: 1\nvariants: 9\n")
    with pytest.raises(UsageError, match="line 4: the key 'variants' stands in line 2 already"):
        load(path)


def test_axes_of_a_home_are_refused_where_a_key_stands_twice(tmp_path: Path) -> None:
    (tmp_path / "axes.yaml").write_text("answer: []\nanswer: []\n")
    with pytest.raises(UsageError, match=r"axes\.yaml, line 2: the key 'answer' stands in line 1"):
        load_axes(tmp_path)


def test_a_listing_of_datasets_is_refused_where_a_key_stands_twice(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"a": {"file_name": "x", "file_name": "y"}}')
    with pytest.raises(UsageError, match="has the key 'file_name' twice"):
        parts_of(tmp_path)


def test_a_setting_is_read_as_yaml_or_refused() -> None:
    assert parse_set(["moves=[rebut, gap]"]) == {"moves": ["rebut", "gap"]}
    for value in ("{a: 1, a: 2}", "2024-13-45", "[" * 20_000, "["):
        with pytest.raises(UsageError):
            parse_set([f"name={value}"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a:\n  b: 1\n  c: 2\n  b: 3", "The spec, line 4: the key 'b' stands in line 2 already"),
        ("- {a: 1, a: 2}", "The spec, line 1: the key 'a'"),
        ('1: a\n"1": b', "The spec, line 2: the key '1'"),
        ("a: [", "The spec, line 1 is no YAML"),
        ("a: 2024-13-45", "The spec holds a value that YAML cannot read"),
        ("[" * 20_000, "The spec holds a value that YAML cannot read"),
        ("- 1", "The spec must hold keys and values"),
    ],
)
def test_what_yaml_cannot_mean_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_mapping(text, where="The spec")
    assert str(refusal.value).startswith(sentence)


def test_merged_mappings_and_aliases_are_no_repeats() -> None:
    text = "base: &base {a: 1, b: 2}\none: {<<: *base, a: 3}\ntwo: *base\n"
    assert load_yaml(text, where="x")["one"] == {"a": 3, "b": 2}


def test_a_text_in_another_encoding_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes("name: a\nconcept: größe\n".encode("cp1252"))
    with pytest.raises(UsageError, match=r"own\.yaml, line 2 is not in UTF-8"):
        read_text(path)


def test_every_yaml_of_the_product_is_read_by_the_one_loader() -> None:
    packages = ("db", "serving", "training", "workbench")
    for path in (file for one in packages for file in (ROOT / one).rglob("*.py")):
        if path.name != "input_text.py":
            text = path.read_text("utf-8")
            assert "yaml.safe_load" not in text, path
            assert "yaml.load(" not in text, path
