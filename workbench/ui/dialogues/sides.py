"""For and against: both sides argued on a key, and what the audience says of them."""

import streamlit as st

from workbench.dialogue.cards import NodeView
from workbench.dialogue.events import By
from workbench.dialogue.sides import argue, judge, verdicts
from workbench.dialogue.tree import Tree
from workbench.ui.components.i18n import t, translated
from workbench.ui.components.parts import card
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, show_text
from workbench.ui.dialogues.acts import button, later


def argue_button(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the button that has both sides argued, where the theme has an opposing goal."""
    if not tree.dialogue.theme.opposing_goal:
        return
    at, is_coming = (tree.dialogue.id, view.node.id), view.is_under_way("answer")
    start = later(lambda session: argue(session, registry(), *at, by))
    label, meaning = t("dlg.argue"), t("dlg.argue_help")
    button(label, "O", "balance", start, help=meaning, disabled=is_coming)


def judge_button(tree: Tree, view: NodeView, by: By) -> None:
    """Draw the button that has the audience judge the two sides, where both are there."""
    pair = sides_of(view)
    if pair is None or not tree.dialogue.theme.audience:
        return
    at = (tree.dialogue.id, view.node.id)
    start = later(lambda session: judge(session, registry(), *at, pair, by))
    label, meaning = t("dlg.judge"), t("dlg.judge_help")
    button(label, "J", "gavel", start, help=meaning, disabled=view.is_under_way("judge"))


def sides_of(view: NodeView) -> tuple[int, int] | None:
    """Return the latest answers for each goal; None unless both are there."""
    found: dict[str, int] = {}
    for one in (*view.folded, *view.shown):
        if one.side:
            found[one.side] = max(one.answer.id, found.get(one.side, 0))
    if "goal" in found and "opposing" in found:
        return found["goal"], found["opposing"]
    return None


def draw_verdicts(tree: Tree, view: NodeView) -> None:
    """Draw what the audience said of the latest pair, in each order, and whether they agree."""
    with database().read() as session:
        found = verdicts(session, tree.dialogue.id, view.node.id)
    events = found.get(sides_of(view) or (0, 0), [])
    if not events:
        return
    with card("verdict", gap="xsmall"):
        audience = escaped(tree.dialogue.theme.audience or "")
        st.markdown(f":material/gavel: **{t('dlg.verdict', audience=audience)}**")
        latest = {event.payload["is_swapped"]: event for event in events}
        for is_swapped, event in sorted(latest.items()):
            outcome = event.payload["outcome"] or "none"
            order = t("dlg.swapped" if is_swapped else "dlg.in_order")
            st.caption(f"{order}: **{t(f'dlg.verdict.{outcome}')}**")
            if event.payload["why"]:
                show_text(event.payload["why"])
            for problem in event.payload["problems"]:
                st.caption(f":material/info: {escaped(translated(problem))}")
        outcomes = {event.payload["outcome"] for event in latest.values()}
        if len(latest) == 2 and None not in outcomes:
            st.caption(t("dlg.verdict_agree" if len(outcomes) == 1 else "dlg.verdict_order"))
