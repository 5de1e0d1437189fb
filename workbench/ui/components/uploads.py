"""Uploaded files: their encoding, how far an import is, and what is wrong with a file."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from serving.importers.encoding import EncodingGuessed, encoding_of, recoded
from serving.importers.questions import OnProgress, Phase
from serving.importers.readers import TEXT_SUFFIXES
from serving.importers.source import ImportFile, Problem
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.text import escaped, one_line

MOST_PROBLEMS = 200
_SOON_S = 1.0
"""An import that is done sooner needs no bar."""
_EVERY_S = 0.3


def in_utf8(name: str, data: bytes) -> bytes:
    """Return an uploaded file as it is, or a text in UTF-8 once it is known what else it is in.

    Where that can only be guessed, the guess is drawn with a sample of the file, to be changed.

    Raises:
        UsageError: The file is a damaged text.
    """
    if Path(name).suffix.lower() not in TEXT_SUFFIXES:
        return data
    try:
        encoding_of(ImportFile(name, data, total=len(data)))
    except EncodingGuessed as guessed:
        return recoded(data, name, _chosen(guessed))
    return data


def _chosen(guessed: EncodingGuessed) -> str:
    samples = {one.encoding: one.sample for one in guessed.candidates}
    encoding = st.selectbox(
        t("import.encoding"), list(samples), help=t("import.encoding_help"), width=400
    )
    st.info(t("import.encoding_sample", sample=escaped(samples[encoding])))
    return encoding


def draw_problems(title: str, sentences: Sequence[str], otherwise: str = "") -> None:
    """Draw the first sentences under the text of the catalogue called ``title``."""
    with card("problems"):
        st.markdown(f":red[:material/error:] **{t(title)}**")
        st.text("\n".join(sentences[:MOST_PROBLEMS]) or otherwise, width="stretch")


def draw_found(
    notes: Sequence[str], problems: Sequence[Problem], sample: Sequence[Mapping[str, object]]
) -> None:
    """Draw what reading a file has found: notes, rows that cannot be taken, and the first rows.

    Args:
        notes: Sentences on the file as a whole.
        problems: Rows that cannot be taken.
        sample: Column → value of each of the first rows.
    """
    for note in notes:
        st.caption(escaped(one_line(note, 300)))
    if problems:
        draw_problems("import.problems", [one.sentence for one in problems])
    if sample:
        st.markdown(f"**{t('import.sample')}**")
        st.dataframe(list(sample), hide_index=True)


def draw_confirm(label: str, *, n_new: int, problems: Sequence[object]) -> bool | None:
    """Draw the button that imports a file; return whether rows with problems are left out.

    Args:
        label: Of the button.
        n_new: How many rows bring something.
        problems: What is wrong with others.

    Returns:
        None until the button is pressed.
    """
    skip_errors = bool(problems) and st.checkbox(t("import.skip_errors"))
    if not n_new and not problems:
        st.info(t("import.nothing"), icon=":material/check:")
    is_pressed = st.button(
        label,
        type="primary",
        icon=":material/download:",
        disabled=not n_new or (bool(problems) and not skip_errors),
    )
    return skip_errors if is_pressed else None


@contextmanager
def import_progress() -> Iterator[OnProgress]:
    """Yield what an import tells its progress to; the bar goes when it is done."""
    place = st.empty()
    due = time.monotonic() + _SOON_S

    def report(phase: Phase, done: int, total: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _EVERY_S
            share = min(done / total, 1.0) if total else 0.0
            place.progress(share, t(f"import.phase.{phase}", percent=round(100 * share)))

    try:
        yield report
    finally:
        place.empty()
