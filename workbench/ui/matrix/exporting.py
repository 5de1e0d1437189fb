"""The files that come out of a matrix: CSV, Parquet, and one page to share."""

from collections.abc import Callable, Sequence

import streamlit as st

from workbench.matrix.export import (
    MatrixSource,
    matrix_csv,
    matrix_html,
    matrix_parquet,
)
from workbench.matrix.rows import MatrixQuery, counted_levels, matrix_design
from workbench.matrix.totals import totals
from workbench.ui.components.controls import download
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.store import database

MOST_ROWS = 2_000
"""Questions of one file; the command line writes more."""


def draw_exports(query: MatrixQuery, rows: Sequence[int]) -> None:
    """Draw the button under which the files are; each is made when it is asked for."""
    with st.popover(t("matrix.export"), icon=":material/download:", type="tertiary"):
        st.caption(t("matrix.export_help", most=MOST_ROWS))
        files = (
            ("csv", "matrix.csv", "text/csv", "table_view"),
            ("parquet", "matrix.parquet", "application/vnd.apache.parquet", "dataset"),
            ("html", "matrix.html", "text/html", "public"),
        )
        language = current_language()
        for kind, name, mime, icon in files:
            download(
                t(f"matrix.export.{kind}"),
                _maker(kind, query, rows[:MOST_ROWS], t("matrix.title"), language),
                name,
                mime=mime,
                icon=icon,
                type="tertiary",
            )


def _maker(
    kind: str, query: MatrixQuery, rows: Sequence[int], title: str, language: str
) -> Callable[[], bytes]:
    def make() -> bytes:
        with database().read() as session:
            levels = counted_levels(session, query.sweep_ids)
            design = matrix_design(session, query, rows, levels, rows[:200])
        source = MatrixSource(
            database=database(), design=design, rows=rows, sweep_ids=query.sweep_ids
        )
        if kind == "csv":
            return matrix_csv(source)
        if kind == "parquet":
            return matrix_parquet(source)
        counted = None
        if levels is not None:
            counted = totals(levels, design, rows)
        return matrix_html(source, counted, title, "ja" if language == "ja" else "en")

    return make
