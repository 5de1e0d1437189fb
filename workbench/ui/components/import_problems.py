"""What is wrong with a file that is to be imported: a sentence for each row."""

from collections.abc import Sequence

import streamlit as st

from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card

MOST_PROBLEMS = 200


def draw_problems(title: str, sentences: Sequence[str], otherwise: str = "") -> None:
    """Draw the first sentences under the text of the catalogue called ``title``."""
    with card("problems"):
        st.markdown(f":red[:material/error:] **{t(title)}**")
        st.text("\n".join(sentences[:MOST_PROBLEMS]) or otherwise, width="stretch")
