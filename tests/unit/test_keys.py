"""One key, one meaning: what pages bind, outside dialogues, stands in the one table of keys."""

import re
from pathlib import Path

import pytest

from workbench.ui.components.keys import KEYS, NEW

UI = Path(__file__).parents[2] / "workbench" / "ui"
BOUND = re.compile(r'"((?:Shift\+|Ctrl\+)?(?:[A-Z]|Enter))"(?!\])|\b([A-Z]): "')
PLACES = {
    "rating/panel.js": {"C", "F", "G", "N", "S", "U", "Y", "B", "T", "Enter"},
    "rating/card.py": {"D", "E", "M", "Shift+E", "V", "W"},
    "rating/edit.py": {NEW, "E", "Ctrl+Enter"},
    "matrix/matrix.js": {"Y", "N", "U", "E", "R", "Enter"},
}
"""Which keys each place binds, each for what the table says of it."""


@pytest.mark.parametrize("place", PLACES)
def test_a_page_binds_the_keys_of_the_table_and_no_others(place: str) -> None:
    found = BOUND.findall((UI / place).read_text("utf-8"))
    bound = {quoted or named for quoted, named in found}
    assert bound - {"Ctrl+M"} == PLACES[place]
    assert bound - {"Ctrl+M"} <= set(KEYS)


def test_no_two_keys_mean_the_same_and_no_other_page_has_keys_of_its_own() -> None:
    assert len(set(KEYS.values())) == len(KEYS)
    for script in UI.rglob("*.py"):
        folder = script.parent.name
        if folder in ("dialogues", "rating"):
            continue
        bound = set(re.findall(r'shortcut="([^"]+)"', script.read_text("utf-8")))
        assert bound <= {"Left", "Right", "Ctrl+Enter"}, script
