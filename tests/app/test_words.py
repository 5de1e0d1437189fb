"""One catalogue: both languages, equal placeholders, and no words of its own in any page."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.tables import MODES
from serving.checks import CHECKS
from workbench.i18n import LANGUAGES, catalogue, messages, placeholders
from workbench.rounds.comparison import MEASURES
from workbench.rounds.text import measure_help, measure_label
from workbench.ui.components.text import escaped, escaped_lines, one_line, told

WORKBENCH = Path(__file__).resolve().parents[2] / "workbench"
SOURCES = sorted([WORKBENCH / "app.py", *WORKBENCH.glob("ui/**/*.py")])
SHOWN_WHOLE = sorted([WORKBENCH / "app.py", *WORKBENCH.glob("ui/*/page.py")])
"""Scripts that Streamlit itself runs: it writes on the page what stands alone in one."""
DRAWN = {
    "title", "header", "subheader", "markdown", "caption", "text", "button", "badge", "metric",
    "info", "error", "warning", "success", "toast", "selectbox", "multiselect", "text_input",
    "text_area", "number_input", "checkbox", "expander", "popover", "download_button", "pills",
    "file_uploader", "form_submit_button", "heading", "section", "dialog",
}  # fmt: skip
"""Calls whose first argument people read."""
NAME = "Q2Q Workbench"


def test_every_text_is_there_in_both_languages_with_the_same_values() -> None:
    entries = catalogue()
    assert [key for key, entry in entries.items() if entry.keys() != LANGUAGES.keys()] == []
    assert [key for key, entry in entries.items() if not all(map(str.strip, entry.values()))] == []
    apart = [k for k, one in entries.items() if placeholders(one["en"]) != placeholders(one["ja"])]
    assert apart == []


def test_sentences_of_lower_layers_keep_their_values_in_japanese() -> None:
    assert [en for en, ja in messages().items() if placeholders(en) != placeholders(ja)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(WORKBENCH)))
def test_no_page_holds_words_of_its_own(path: Path) -> None:
    literals = [text for text in _drawn_literals(ast.parse(path.read_text())) if _is_prose(text)]
    assert literals == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(WORKBENCH)))
def test_every_key_that_a_page_names_is_in_the_catalogue(path: Path) -> None:
    keys = re.findall(r"""\bt\(\s*"([a-z_.]+)"[,)]""", path.read_text())
    assert [key for key in keys if key not in catalogue()] == []


def test_every_check_and_mode_is_explained() -> None:
    assert [name for name in CHECKS if f"check_help.{name}" not in catalogue()] == []
    assert [name for name in MODES if f"mode_help.{name}" not in catalogue()] == []


def test_every_measure_of_a_round_is_named_and_explained() -> None:
    assert all(measure_label(name, "ja") and measure_help(name, "ja") for name in MEASURES)


def _drawn_literals(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = node.func.id if isinstance(node.func, ast.Name) else name
        words = [*node.args[:1], *(k.value for k in node.keywords if k.arg in ("help", "label"))]
        if name in DRAWN:
            yield from (
                part.value
                for word in words
                for part in (word.values if isinstance(word, ast.JoinedStr) else [word])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )


def _is_prose(text: str) -> bool:
    bare = re.sub(r":material/\w+:|:\w+\[|&nbsp;", "", text)
    return re.search(r"[^\W\d_]{2,}", bare) is not None and text != NAME


@pytest.mark.parametrize(
    "text",
    ["![x](http://e.com/x.png)", "<b>hi</b>", "[a](javascript:b)", ":red[x]", "`code`", "$x$"],
)
def test_labels_escape_every_sign_that_markdown_reads(text: str) -> None:
    assert re.search(r"(?<!\\)[\[\]()<>`!:$]", escaped(text)) is None


@pytest.mark.parametrize(
    ("text", "kept_apart"),
    [
        ("at http://10.0.0.5:8000/v1", "at http\\:\u2060//10\\.0\\.0\\.5\\:8000/v1"),
        ("HTTPS://e.com", "HTTPS\\:\u2060//e\\.com"),
        ("www.e.com", "www\u2060\\.e\\.com"),
        ("ada@e.com", "ada@\u2060e\\.com"),
        ("read at 8:00 // p@ge", "read at 8\\:00 // p@\u2060ge"),
    ],
)
def test_addresses_in_labels_do_not_become_links(text: str, kept_apart: str) -> None:
    assert escaped(text) == kept_apart
    assert escaped_lines(text) == kept_apart


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("Run `q2q model add` *now*.", "Run `q2q model add` \\*now\\*\\."),
        ("`![x](http://e.com)` and `:red[x]`", "`![x](http://e.com)` and `:red[x]`"),
        ("a ` b ``c`` `", "a \\` b \\`\\`c\\`\\` \\`"),
    ],
)
def test_commands_in_sentences_are_shown_as_code_and_all_else_as_written(
    sentence: str, shown: str
) -> None:
    assert told(sentence) == shown


def test_a_line_holds_no_mark_that_turns_the_direction_of_writing() -> None:
    assert one_line("a\u202eb\u2066c\nd\x00e") == "a b c d e"


def test_a_long_line_ends_with_an_ellipsis() -> None:
    line = one_line("word " * 100_000, 40)
    assert len(line) <= 40
    assert line.endswith("…")


def test_a_short_line_stays_as_it_is() -> None:
    assert one_line("電車の中で") == "電車の中で"


@pytest.mark.parametrize("page", SHOWN_WHOLE, ids=lambda page: page.parent.name)
def test_no_string_or_value_stands_alone_in_a_script_that_streamlit_runs(page: Path) -> None:
    alone = [
        node
        for body in _bodies(ast.parse(page.read_text(encoding="utf-8")))
        for node in body
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call)
    ]
    assert [node.lineno for node in alone] == [], "Streamlit writes these on the page"


def _bodies(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield every block of statements, without its docstring."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                documented = isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
                yield block[bool(documented and name == "body" and ast.get_docstring(node)) :]
