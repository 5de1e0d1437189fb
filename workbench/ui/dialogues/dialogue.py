"""One dialogue: its head, the question at hand in one of four views, and what runs meanwhile."""

import streamlit as st

from db.dialogues import ForkedFrom, list_dialogues, read_events
from db.errors import Q2QError
from db.jobs import get_job
from workbench.dialogue.auto import MAX_TURNS, queue_turns
from workbench.dialogue.cards import node_view
from workbench.dialogue.events import By, open_steps
from workbench.dialogue.export import read_export
from workbench.dialogue.finishing import stop
from workbench.dialogue.outcomes import words_of_reports
from workbench.dialogue.report import as_html, as_json, as_markdown, forked_words
from workbench.dialogue.tree import Tree, read_tree
from workbench.dialogue.turn import running_turns
from workbench.ui.components import url
from workbench.ui.components.archive import draw_archive
from workbench.ui.components.controls import back_link, download, trail
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.jobs import draw_progress
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import card, heading
from workbench.ui.components.rater import current_rater, draw_rater
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped
from workbench.ui.dialogues.acts import act, draw_problem, is_busy
from workbench.ui.dialogues.notes import draw_fork
from workbench.ui.dialogues.replay import draw_replay
from workbench.ui.dialogues.settings import draw_settings
from workbench.ui.dialogues.state import draw_state
from workbench.ui.dialogues.synopsis import draw_synopsis
from workbench.ui.dialogues.talk import draw_talk
from workbench.ui.dialogues.tree import draw_tree

POLL_S = 0.7
VIEWS = ("talk", "tree", "synopsis", "more")


def draw_dialogue(dialogue_id: int) -> None:
    """Draw one dialogue as the URL names its question and view."""
    busy = is_busy(dialogue_id)
    try:
        with database().read() as session:
            tree = read_tree(session, dialogue_id)
    except Q2QError:
        back_link(t("dlg.back"), _leave)
        st.error(t("dlg.missing", id=dialogue_id))
        return
    _draw_head(tree)
    rater = current_rater()
    by = By(rater_id=rater[0]) if rater else None
    here = tree.node(_node_of(tree)) if tree.nodes else None
    draw_state(tree, here, by)
    draw_problem()
    if busy:
        st.fragment(run_every=POLL_S)(_watch)(dialogue_id)
    view = url.segments("view", t("dlg.view"), VIEWS, lambda name: t(f"dlg.view.{name}"))
    if here is None:
        return
    node_id = here.id
    if view == "tree":
        draw_tree(tree, node_id, by)
    elif view == "synopsis":
        draw_synopsis(tree, by)
    elif view == "more":
        draw_more(tree, node_id, by)
    else:
        with database().read() as session:
            found = node_view(session, dialogue_id, node_id)
        draw_talk(tree, found, by)


def _leave() -> None:
    url.clear("session", "node", "view", "edit", "edited", "with", "replay", "lines")


def _node_of(tree: Tree) -> int:
    """Return the question of the URL, or where the dialogue is."""
    wanted = url.number("node")
    known = {node.id for node in tree.nodes}
    if wanted in known and wanted is not None:
        return wanted
    return tree.current_id or tree.nodes[0].id


def _draw_head(tree: Tree) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        row = back_link(t("dlg.back"), _leave)
        st.space("stretch")
        draw_archive("dialogue", tree.dialogue.id, tree.dialogue.archived_at)
        with st.container(width="content" if current_rater() else "stretch"):
            draw_rater("dlg.by")
    view = url.parameter("view")
    names = (t(f"dlg.view.{view}"),) if view in VIEWS else ()
    trail(row, tree.dialogue.name, *names)
    heading(escaped(tree.dialogue.name), escaped(tree.dialogue.theme.goal))
    if tree.dialogue.forked_from is not None:
        _draw_parent(tree.dialogue.forked_from)


def _draw_parent(parent: ForkedFrom) -> None:
    """Draw which dialogue this one was forked from, and at which question, with the way there."""

    def go() -> None:
        url.put("session", str(parent.dialogue_id))
        url.clear("view", "edit", "edited")
        url.put("node", str(parent.node_id))

    st.button(
        escaped(forked_words(parent, words_of_reports(current_language()))),
        key="forked_from",
        type="tertiary",
        icon=":material/fork_right:",
        on_click=go,
    )


def _watch(dialogue_id: int) -> None:
    """Draw what the model does now; the whole page again once anything has come."""
    with database().read() as session:
        n_before = len(read_events(session, dialogue_id))
        turns = running_turns(session, dialogue_id)
        steps = open_steps(read_events(session, dialogue_id))
        jobs = {step.payload["job_id"]: step.kind for step in steps}
        shown = [(get_job(session, job_id), kind) for job_id, kind in jobs.items()]
    if turns is not None and turns.id not in jobs:
        shown.append((turns, "turns"))
    known = st.session_state.setdefault(f"dialogue_seen_{dialogue_id}", n_before)
    if not is_busy(dialogue_id) or known != n_before:
        st.session_state.pop(f"dialogue_seen_{dialogue_id}", None)
        st.rerun()
    with st.container(border=True, key="dialogue_busy", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            kinds = dict.fromkeys(kind for _, kind in shown)
            what = " · ".join(t(f"dlg.doing.{kind}") for kind in kinds)
            st.markdown(f":material/hourglass_top: {what}", width="content")
            st.space("stretch")
            if st.button(
                t("dlg.stop"), icon=":material/stop_circle:", type="tertiary", shortcut=Key.STOP
            ):
                act(lambda session: stop(session, dialogue_id))
        for job, _ in shown[:3]:
            draw_progress(job)


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
