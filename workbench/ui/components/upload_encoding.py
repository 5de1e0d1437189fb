"""Uploaded texts that are not UTF-8: the guess, how the file then reads, and the choice."""

from pathlib import Path

import streamlit as st

from serving.importers.encoding import EncodingGuessed, encoding_of, recoded
from serving.importers.readers import TEXT_SUFFIXES
from serving.importers.source import Content
from workbench.ui.components.i18n import t
from workbench.ui.components.text import escaped


def in_utf8(name: str, data: bytes) -> bytes:
    """Return an uploaded file as it is, or a text in UTF-8 once it is known what else it is in.

    Where that can only be guessed, the guess is drawn with a sample of the file, to be changed.

    Raises:
        UsageError: The file is a damaged text.
    """
    if Path(name).suffix.lower() not in TEXT_SUFFIXES:
        return data
    try:
        encoding_of(Content(name, data, len(data)))
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
