"""The ratings and comparisons of one item, as a table of those that hold."""

from collections.abc import Sequence

import streamlit as st

from db.identity import Ref
from db.rating.summaries import JudgementRow, judgements
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import axis_label
from workbench.ui.components.parts import section
from workbench.ui.components.store import database
from workbench.ui.components.text import one_line

MOST = 100
RATED = ("question", "variant", "answer")
"""Kinds of items that people rate."""


def draw_judgements(ref: Ref) -> None:
    """Draw what was said of the item; nothing for what is never rated."""
    if ref.kind not in RATED:
        return
    with database().read() as session:
        ratings, n_ratings = judgements(session, ref, MOST, compared=False)
        comparisons, n_comparisons = judgements(session, ref, MOST, compared=True)
    section(t("explore.ratings"))
    if not n_ratings and not n_comparisons:
        st.caption(t("explore.no_ratings"))
        return
    shown = [*ratings, *comparisons]
    st.dataframe(
        rows_of(shown),
        hide_index=True,
        height="content" if len(shown) <= 10 else 380,
        column_config={
            t("how.when"): st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm [UTC]")
        },
    )
    if n_ratings + n_comparisons > len(shown):
        st.caption(t("explore.newest_ratings", shown=len(shown), total=n_ratings + n_comparisons))


def rows_of(rows: Sequence[JudgementRow]) -> list[dict[str, object]]:
    """Return the lines of the table, in the language of the visit."""
    axes = {axis: axis_label(axis, "explore.axis") for axis in {row.axis for row in rows}}
    return [
        {
            t("explore.rating.rater"): _rater(row),
            t("explore.rating.axis"): axes[row.axis],
            t("explore.rating.said"): _said(row),
            t("explore.rating.blind"): row.blind,
            t("explore.rating.note"): one_line(row.note or "", 200),
            t("how.when"): row.created_at,
        }
        for row in rows
    ]


def _rater(row: JudgementRow) -> str:
    name = one_line(row.rater, 60)
    return name if row.rater_kind == "person" else t("explore.rating.by_model", name=name)


def _said(row: JudgementRow) -> str:
    if row.result is not None:
        return t(f"explore.result.{row.result}", other=row.other or "–")
    if row.axis == "ok":
        return t("rate.ok_yes") if row.value else t("rate.ok_no")
    return one_line(row.label or "", 60) if row.value is None else f"{row.value:g}"
