"""Texts in ASCII have patterns of their own, which must find what those of all scripts find."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.checks import form, leak
from serving.checks import text as text_module

ASCII = st.text(st.sampled_from("abcxyzABC 019.,:;!?-'\"()[]=+#%_\n\t you should etc"), max_size=80)
PAIRS: list[tuple[re.Pattern[str], re.Pattern[str]]] = [
    (leak._ASCII_TOKEN, leak._TOKEN),
    (form._ASCII_UNIT, form._UNIT),
]


@pytest.mark.parametrize(("of_ascii", "of_all"), PAIRS)
@given(text=ASCII)
@example("c++, f#, 3-5 is -2; x=-5.5% (-7) don't_stop")
def test_the_same_pieces_are_found(
    of_ascii: re.Pattern[str], of_all: re.Pattern[str], text: str
) -> None:
    folded = text.casefold()
    assert of_ascii.findall(folded) == of_all.findall(folded)


@given(text=ASCII)
@example('He said "Stop." Then you go. See e.g. this one. (Yes!) And\n\nmore')
def test_the_same_sentences_are_found(text: str) -> None:
    assert text_module._ASCII_BOUNDARY.split(text) == text_module._BOUNDARY.split(text)
