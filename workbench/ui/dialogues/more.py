"""More of a dialogue: automatic turns, fork, report, settings, replay, another one beside it."""

import streamlit as st

from db.dialogues import list_dialogues
from workbench.dialogue.auto import MAX_TURNS, queue_turns
from workbench.dialogue.events import By
from workbench.dialogue.export import read_export
from workbench.dialogue.report import as_html, as_json, as_markdown
from workbench.dialogue.tree import Tree
from workbench.ui.components import url
from workbench.ui.components.controls import download
from workbench.ui.components.i18n import t
from workbench.ui.components.parts import card
from workbench.ui.components.store import database
from workbench.ui.dialogues.acts import act, draw_problem
from workbench.ui.dialogues.notes import draw_fork
from workbench.ui.dialogues.replay import draw_replay
from workbench.ui.dialogues.settings import draw_settings


def draw_more(tree: Tree, node_id: int, by: By | None) -> None:
    """Draw what concerns the dialogue as a whole."""
    left, right = st.columns(2, gap="medium")
    with left:
        if by is not None:
            _draw_turns(tree, by)
            draw_fork(tree, node_id, by, is_panel=False)
    with right:
        _draw_report(tree)
        _draw_comparison(tree)
        if by is not None:
            draw_settings(tree, by)
    draw_replay(tree)


def _draw_turns(tree: Tree, by: By) -> None:
    with card("turns"), st.form("turns", border=False):
        st.markdown(f"**{t('more.turns')}**")
        st.caption(t("more.turns_help"))
        n = st.number_input(t("more.turns_n"), 1, MAX_TURNS, 2)
        pressed = st.form_submit_button(
            t("more.turns_go"),
            icon=":material/fast_forward:",
            disabled=tree.dialogue.state != "open",
        )
    if pressed:
        if act(lambda session: queue_turns(session, tree.dialogue.id, int(n), by)) is None:
            draw_problem()
        else:
            url.clear("node", "view")
            st.rerun()


def _draw_report(tree: Tree) -> None:
    kinds = {"html": ("text/html", as_html), "md": ("text/markdown", as_markdown)}
    kinds["json"] = ("application/json", as_json)
    with card("report"):
        st.markdown(f"**{t('more.report')}**")
        st.caption(t("more.report_help"))
        with st.container(horizontal=True, gap="xsmall"):
            for kind, (mime, write) in kinds.items():

                def make(write=write) -> str:  # type: ignore[no-untyped-def]  # bound in the loop
                    with database().read() as session:
                        return str(write(read_export(session, tree.dialogue.id)))

                download(
                    t(f"more.{kind}"),
                    make,
                    f"dialogue-{tree.dialogue.id}.{kind}",
                    mime=mime,
                )


def _draw_comparison(tree: Tree) -> None:
    with database().read() as session:
        names = {one.id: one.name for one in list_dialogues(session)}
    names.pop(tree.dialogue.id, None)
    with card("beside"):
        st.markdown(f"**{t('more.beside')}**")
        if not names:
            st.caption(t("more.beside_none"))
            return
        other = st.selectbox(
            t("more.beside_which"), list(names), format_func=lambda one: f"{one} · {names[one]}"
        )
        st.button(
            t("more.beside_go"),
            icon=":material/compare_arrows:",
            on_click=url.put,
            args=("with", str(other)),
        )
