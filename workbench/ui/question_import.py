"""Bringing a file of questions in: read, preview, confirm; nothing is written before that."""

from collections.abc import Sequence

import streamlit as st

from db.errors import Q2QError
from serving.imports import ImportPreview, Problem, import_questions, preview, read_rows
from serving.imports.readers import SUFFIXES
from workbench.ui import url
from workbench.ui.i18n import t, word
from workbench.ui.parts import back_link, card, figures, heading, section
from workbench.ui.store import database
from workbench.ui.text import one_line

MOST_PROBLEMS = 200


def draw_import() -> None:
    """Draw the upload and, for a file, what importing it would do."""
    back_link(t("questions.back"), _leave)
    heading(t("import.title"), t("import.lead"))
    upload = st.file_uploader(t("import.file"), type=[suffix[1:] for suffix in SUFFIXES])
    if upload is None:
        return
    try:
        result = read_rows(upload.getvalue(), name=upload.name)
        with database().read() as session:
            found = preview(session, result)
    except Q2QError as error:
        st.error(str(error))
        return
    _show(found)
    skip_errors = bool(found.errors) and st.checkbox(t("import.skip_errors"))
    to_write = found.added + found.updated
    if not to_write and not found.problems:
        st.info(t("import.nothing"), icon=":material/check:")
    if st.button(
        t("import.confirm", n=to_write),
        type="primary",
        icon=":material/download:",
        disabled=not to_write or (bool(found.problems) and not skip_errors),
    ):
        try:
            with database().write() as session:
                done = import_questions(session, result, skip_errors=skip_errors)
        except Q2QError as error:
            st.error(str(error))
            return
        st.toast(
            t(
                "import.done",
                added=done.added,
                updated=done.updated,
                variants=done.variants,
                answers=done.answers,
            ),
            icon=":material/check:",
        )
        _leave()
        st.rerun()


def _leave() -> None:
    url.clear("import")


def _show(found: ImportPreview) -> None:
    section(t("import.preview"))
    figures(
        "import",
        [
            (t(f"import.{name}"), getattr(found, name), t(f"import.{name}_help"))
            for name in ("added", "updated", "skipped", "errors")
        ],
    )
    for note in found.notes:
        st.caption(one_line(note, 300))
    if found.problems:
        _problems(found.problems)
    if found.sample:
        st.markdown(f"**{t('import.sample')}**")
        st.dataframe(
            [
                {
                    t("import.column.line"): row.line,
                    t("import.column.outcome"): word("import.outcome", outcome),
                    t("import.column.text"): one_line(row.text, 160),
                    t("import.column.role"): word("role", row.role),
                    t("import.column.reasoning"): one_line(row.reasoning or "", 100),
                    t("import.column.output"): one_line(row.output or "", 100),
                }
                for row, outcome in found.sample
            ],
            hide_index=True,
        )


def _problems(problems: Sequence[Problem]) -> None:
    with card("problems"):
        st.markdown(f":red[:material/error:] **{t('import.problems')}**")
        shown = "\n".join(problem.sentence for problem in problems[:MOST_PROBLEMS])
        st.text(shown, width="stretch")
