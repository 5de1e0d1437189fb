"""What commands print of users' and models' texts cannot steer a terminal or reorder a line."""

import pytest

from workbench.cli.output import show_fields, show_table


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\x1b", "\x9b", "\x07"])
def test_marks_that_steer_or_reorder_are_named(
    mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_table([{"question": f"a{mark}b"}], ["question"])
    show_fields({"tags": (f"c{mark}d",)})
    printed = capsys.readouterr().out
    assert mark not in printed
    assert f"a<U+{ord(mark):04X}>b" in printed
    assert f"c<U+{ord(mark):04X}>d" in printed


def test_letters_of_every_script_stay(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["なぜ空は青い？", "为什么", "שלום", "سلام", "👩‍🔬"]
    show_table([{"question": text} for text in texts], ["question"])
    printed = capsys.readouterr().out
    assert all(text in printed for text in texts)
