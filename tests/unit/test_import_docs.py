"""The tables of docs/import.md name what the imports read."""

import re
from pathlib import Path

import pytest

from serving.formats.reasoning_markup import SplitText, split_reasoning
from serving.importers.fields import FIELDS

PAGE = (Path(__file__).parents[2] / "docs" / "import.md").read_text("utf-8")


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its head."""
    lines = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table


def test_the_table_of_columns_is_that_of_the_code() -> None:
    documented = [tuple(re.findall("`([^`]+)`", cells[1])) for cells in rows_of("Columns")]
    assert sorted(documented) == sorted(FIELDS.values())


@pytest.mark.parametrize("cell", [cells[0] for cells in rows_of("The reasoning in a text")])
def test_the_markup_that_is_named_is_told_apart(cell: str) -> None:
    for example in re.findall("`([^`]+…[^`]+)`", cell.replace("\\|", "|")):
        if example.startswith("<answer>"):
            text = f"<think>R</think>{example.replace('…', 'A')}"
        else:
            text = f"{example.replace('…', 'R')}A"
        assert split_reasoning(text) == SplitText("R", "A")
