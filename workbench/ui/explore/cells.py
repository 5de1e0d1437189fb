"""One cell of the matrix: the first words, how it was rated, what was found; a press opens it."""

from collections.abc import Iterable, Sequence
from typing import Literal

import streamlit as st

from db.rating.summaries import RatingSummary
from db.texts.matrix import MatrixCell
from serving.checks import BAD_FINDINGS
from workbench.ui.components import url
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.parts import CHECK_LOOKS
from workbench.ui.components.text import escaped, one_line

Colouring = Literal["rating", "finding"]
COLOURINGS: tuple[Colouring, ...] = ("rating", "finding")
WORDS = 110
"""Characters of a text in its cell."""


def open_item(ref: str) -> None:
    """Go to the item; the filters stay in the URL, for the way back."""
    url.put("id", ref)
    url.clear("with", "all", "part")


def draw_cell(cell: MatrixCell, colouring: Colouring) -> None:
    """Draw the cell; all of its words are the button that opens it."""
    with st.container(key=f"cell_{_tone(cell, colouring)}_{cell.ref}", gap=None):
        st.button(
            escaped(one_line(cell.excerpt, WORDS)) or t("text.empty"),
            key=f"open_{cell.ref}",
            type="tertiary",
            wrap=True,
            width="stretch",
            on_click=open_item,
            args=(cell.ref,),
        )
        st.caption(" · ".join(_facts(cell)))


def rating_words(summary: RatingSummary) -> str:
    """Return a summary of ratings in a few signs, e.g. the mean and comparisons won and lost."""
    parts = []
    if summary.mean is not None:
        parts.append(f":material/star: {summary.mean:.1f} ({summary.n_values})")
    if compared := summary.won + summary.tied + summary.lost:
        parts.append(t("explore.won", won=summary.won, n=compared))
    if summary.n_ok + summary.n_not_ok:
        parts.append(t("explore.ok_share", ok=summary.n_ok, n=summary.n_ok + summary.n_not_ok))
    return " · ".join(parts)


def _facts(cell: MatrixCell) -> Iterable[str]:
    yield f"**{cell.ref}**"
    if cell.kind == "answer":
        yield t("results.plain")
    elif cell.source != "model":
        yield word("source", cell.source)
    if cell.rating is not None:
        yield rating_words(cell.rating)
    if cell.n_answers:
        yield counted("answers", cell.n_answers)
    if cell.answers_rating is not None:
        yield t("explore.answers_rated", rating=rating_words(cell.answers_rating))
    for name in cell.flags:
        yield _badge(name, word("check", name))
    for name, n in cell.answer_flags:
        yield _badge(name, t("explore.answers_found", n=n, check=word("check", name)))


def _badge(name: str, said: str) -> str:
    colour = CHECK_LOOKS.get(name, ("orange", ""))[0]
    return f":{colour}[{escaped(said)}]"


def _tone(cell: MatrixCell, colouring: Colouring) -> str:
    """Return the colour of a cell; what nobody rated, or no check found, has none."""
    if colouring == "rating":
        rating = cell.rating or cell.answers_rating
        return rating.liking if rating else "plain"
    return _tone_of_findings([*cell.flags, *(name for name, _ in cell.answer_flags)])


def _tone_of_findings(names: Sequence[str]) -> str:
    if not names:
        return "plain"
    return "disliked" if any(name in BAD_FINDINGS for name in names) else "mixed"
