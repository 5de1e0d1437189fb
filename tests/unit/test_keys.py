"""One key, one meaning: what pages bind, in Python and in the browser, stands in the one table."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.i18n import has
from workbench.ui.components.keys import GROUPS, Key, digit

ROOT = Path(__file__).parents[2]
UI = ROOT / "workbench" / "ui"
DOCS = ("docs/rating.md", "docs/dialogues.md")
LETTER = re.compile(r"""["'`]((?:Shift\+)?[A-Z])["'`]|\b([A-Z]): ["'(\[]""")


def test_no_key_has_two_meanings() -> None:
    bound = [key.value.lower() for key in Key]
    assert sorted(set(bound)) == sorted(bound)
    assert len(Key.__members__) == len(list(Key)), "an alias is a second meaning"
    assert not {key.value for key in Key} & {digit(number) for number in range(10)}


def test_the_table_that_people_open_holds_every_key_once_and_says_what_it_means() -> None:
    keys = list(Key)
    ends = [(keys.index(first), keys.index(last)) for first, last in GROUPS.values()]
    assert [place for first, last in ends for place in range(first, last + 1)] == list(
        range(len(keys))
    )
    assert all(has(f"keys.{key.meaning}") for key in Key)
    assert all(has(f"keys.in.{group}") for group in GROUPS)


def shortcuts(script: Path) -> Iterator[ast.expr]:
    """Yield what a page passes as a key: ``shortcut=``, and what a dialogue's ``button`` takes."""
    for call in ast.walk(ast.parse(script.read_text("utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        yield from (one.value for one in call.keywords if one.arg == "shortcut")
        if isinstance(call.func, ast.Name) and call.func.id in ("button", "opens_field"):
            yield call.args[1 if call.func.id == "button" else 0]


@pytest.mark.parametrize("script", sorted(UI.rglob("*.py")), ids=lambda one: one.parent.name)
def test_pages_bind_keys_by_their_meaning_in_the_table(script: Path) -> None:
    for given in shortcuts(script):
        written = [one.value for one in ast.walk(given) if isinstance(one, ast.Constant)]
        assert not [one for one in written if isinstance(one, str)], ast.unparse(given)


@pytest.mark.parametrize(
    "script",
    ["rating/panel.js", "rating/panel_view.js", "matrix/matrix.js", "matrix/matrix_view.js"],
)
def test_scripts_know_keys_by_their_meaning_only(script: str) -> None:
    text = (UI / script).read_text("utf-8")
    assert not LETTER.findall(text)
    named = set(re.findall(r'(?:name|means) === "([a-z_]+)"', text))
    assert named <= {key.meaning for key in Key} | set(NAMES_OF_ACTS)


NAMES_OF_ACTS = ("choose", "compare", "close", "more", "group", "yes", "no")
"""What the matrix calls what it does; no key."""


@pytest.mark.parametrize("page", DOCS)
def test_the_tables_of_the_documentation_name_keys_of_the_table(page: str) -> None:
    (table,) = re.findall(r"\| key \|.+\n\|(?:-+\|)+\n((?:\|.+\n)+)", _section_of_keys(page))
    named = [row.split("|")[1].strip() for row in table.splitlines()]
    known = {key.shown for key in Key} | {digit(number) for number in range(1, 10)}
    known |= {"…", "to"}
    for cell in named:
        assert set(cell.replace(",", " ").replace("1 – 9", "1").split()) <= known, cell


def _section_of_keys(page: str) -> str:
    text = (ROOT / page).read_text("utf-8")
    heading = "## Keys" if page == DOCS[0] else "## In the app"
    return text[text.index(heading) :].split("\n## ")[0]
