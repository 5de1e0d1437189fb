"""What was said of an item, what it came from, and what came of it."""

from collections.abc import Sequence

import streamlit as st

from db.identity import Ref
from db.lineage.nodes import LineageGroup, LineageNode
from db.lineage.read import Lineage
from db.rating.summaries import JudgementRow, judgements
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.labels import axis_label
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line
from workbench.ui.explore.matrix import open_item

LABEL_CHARACTERS = 70
DRAWN_ELSEWHERE = {
    "question": {"variants", "answers", "ratings", "comparisons"},
    "variant": {"ratings", "comparisons"},
    "answer": {"ratings", "comparisons"},
}
"""Relations that the page of such an item shows in a part of its own."""
DETAILS = ("source", "mode", "state", "explore.detail", "explore.model_kind", "move")
"""Where the catalogue may know the word of a detail."""
MOST = 100
RATED = ("question", "variant", "answer")
"""Kinds of items that people rate."""


def draw_lineage(found: Lineage) -> None:
    """Draw both directions side by side."""
    section(t("explore.lineage"), t("explore.lineage_help"))
    left = DRAWN_ELSEWHERE.get(found.ref.kind, set())
    up, down = st.columns(2)
    with up:
        _draw_side("up", found.up)
    with down:
        _draw_side("down", [group for group in found.down if group.relation not in left])


def _draw_side(side: str, groups: Sequence[LineageGroup]) -> None:
    with card(f"lineage_{side}", gap="xsmall"):
        st.markdown(f"**{t(f'explore.lineage.{side}')}**")
        if not groups:
            st.caption(t(f"explore.lineage.{side}_none"))
        for group in groups:
            name = word("explore.relation", group.relation)
            st.caption(f"{name} ({group.total:,})" if group.total > 1 else name)
            for node in group.nodes:
                _draw_node(f"{side}_{group.relation}", node)
            if group.total > len(group.nodes):
                st.caption(t("explore.more", n=group.total - len(group.nodes)))


def _draw_node(key: str, node: LineageNode) -> None:
    label = one_line(node.label, LABEL_CHARACTERS) or t("text.empty")
    if node.ref is not None:
        st.button(
            f"**{node.ref}** {escaped(label)}{_detail(node)}",
            key=f"{key}_{node.ref}",
            type="tertiary",
            wrap=True,
            on_click=open_item,
            args=(node.ref,),
        )
    elif node.kind == "sweep":
        page_link("sweeps", escaped(label), "grid_view", sweep=node.id)
    else:
        st.caption(escaped(label))


def _detail(node: LineageNode) -> str:
    steps = f" · {counted('steps', node.steps)}" if node.steps > 1 else ""
    if node.detail is None:
        return steps
    return f" :gray[· {escaped(_detail_text(node.detail))}]{steps}"


def _detail_text(detail: str) -> str:
    """Return a code of the store in the language of the visit."""
    for prefix in DETAILS:
        text = word(prefix, detail)
        if text != detail:
            return text
    return detail


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
            t("explore.rating.said"): _value_of(row),
            t("explore.rating.blind"): row.blind,
            t("explore.rating.note"): one_line(row.note or "", 200),
            t("how.when"): row.created_at,
        }
        for row in rows
    ]


def _rater(row: JudgementRow) -> str:
    name = one_line(row.rater, 60)
    kind = (
        "by_model"
        if row.rater_kind != "person"
        else "verdict"
        if row.is_adjudication
        else "overruled"
        if row.is_overruled
        else None
    )
    return t(f"explore.rating.{kind}", name=name) if kind else name


def _value_of(row: JudgementRow) -> str:
    if row.result is not None:
        return t(f"explore.result.{row.result}", other=row.other or "–")
    if row.axis == "ok":
        return t("rate.ok_yes") if row.value else t("rate.ok_no")
    return one_line(row.label or "", 60) if row.value is None else f"{row.value:g}"
