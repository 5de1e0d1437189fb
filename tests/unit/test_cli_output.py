"""What commands print of users' and models' texts cannot steer a terminal or reorder a line."""

import io
import json
import sys

import pytest

from workbench.cli.output import inform, show, show_exactly, show_fields, show_json, show_table
from workbench.cli.progress import LineProgress

MARKS = ["\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\x1b", "\x9b", "\x07", "\r"]


@pytest.mark.parametrize("mark", [mark for mark in MARKS if not mark.isspace()])
def test_marks_that_steer_or_reorder_are_named(
    mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_table([{"question": f"a{mark}b"}], ["question"])
    show_fields({"tags": (f"c{mark}d",)})
    printed = capsys.readouterr().out
    assert mark not in printed
    assert f"a<U+{ord(mark):04X}>b" in printed
    assert f"c<U+{ord(mark):04X}>d" in printed


@pytest.mark.parametrize("mark", MARKS)
def test_lines_for_people_name_them_too_and_keep_their_breaks(
    mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(f"1. a{mark}b\n\tc")
    inform(f"d{mark}e")
    with LineProgress() as progress:
        progress.update(1, 2, f"f{mark}g")
    printed = capsys.readouterr()
    name = f"<U+{ord(mark):04X}>"
    assert printed.out == f"1. a{name}b\n\tc\n"
    assert printed.err == f"d{name}e\n1 of 2: f{name}g\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_texts_for_programs_are_exact_but_on_a_terminal(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stdout", out)
    show_exactly("a\u202eb")
    assert out.getvalue() == ("a<U+202E>b\n" if is_terminal else "a\u202eb\n")
    show_json(["a\u202eb"])
    assert json.loads(out.getvalue().partition("\n")[2]) == ["a\u202eb"]


def test_letters_of_every_script_stay(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["なぜ空は青い？", "为什么", "שלום", "سلام", "👩‍🔬"]
    show_table([{"question": text} for text in texts], ["question"])
    printed = capsys.readouterr().out
    assert all(text in printed for text in texts)
