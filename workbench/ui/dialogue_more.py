"""More of a session: turns by themselves, fork, report, replay, and another session beside it."""

import streamlit as st

from db.dialogues import list_dialogues
from db.errors import Q2QError
from db.models import list_models
from workbench.dialogue.auto import MOST_TURNS, queue_turns
from workbench.dialogue.replay import read_replay, replays, start_replay
from workbench.dialogue.report import as_html, as_json, as_markdown
from workbench.dialogue.sessions import fork
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.story import read_story
from workbench.dialogue.tree import Tree
from workbench.dialogue.turn import By
from workbench.ui import url
from workbench.ui.dialogue_acts import act, draw_problem, show_node
from workbench.ui.i18n import t
from workbench.ui.parts import card, section
from workbench.ui.sentences import said
from workbench.ui.store import database, registry
from workbench.ui.text import escaped, show_text

POLL_S = 1.0


def draw_more(tree: Tree, node_id: int, by: By | None) -> None:
    """Draw what concerns the session as a whole."""
    left, right = st.columns(2, gap="medium")
    with left:
        if by is not None:
            _draw_turns(tree, by)
            _draw_fork(tree, node_id, by)
    with right:
        _draw_report(tree)
        _draw_beside(tree)
    _draw_replay(tree)


def _draw_turns(tree: Tree, by: By) -> None:
    with card("turns"), st.form("turns", border=False):
        st.markdown(f"**{t('more.turns')}**")
        st.caption(t("more.turns_help"))
        n = st.number_input(t("more.turns_n"), 1, MOST_TURNS, 2)
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


def _draw_fork(tree: Tree, node_id: int, by: By) -> None:
    node = tree.node(node_id)
    with card("fork"), st.form("fork", border=False):
        st.markdown(f"**{t('more.fork', n=node.position + 1)}**")
        show_text(node.question)
        name = st.text_input(t("more.fork_name"), max_chars=100)
        why = st.text_input(t("dlg.reason"), placeholder=t("dlg.reason_placeholder"))
        pressed = st.form_submit_button(t("more.fork_go"), icon=":material/fork_right:")
    if not pressed:
        return
    called, said_why = (name or "").strip() or None, (why or "").strip() or None
    new_id = act(
        lambda session: fork(session, tree.dialogue.id, node_id, by, name=called, reason=said_why)
    )
    if new_id is None:
        draw_problem()
        return
    url.put("session", str(new_id))
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
                        return str(write(read_story(session, tree.dialogue.id)))

                st.download_button(
                    t(f"more.{kind}"),
                    make,
                    f"dialogue-{tree.dialogue.id}.{kind}",
                    mime,
                    icon=":material/download:",
                    on_click="ignore",
                )


def _draw_beside(tree: Tree) -> None:
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


def _draw_replay(tree: Tree) -> None:
    section(t("more.replay"), help=t("more.replay_help"))
    with database().read() as session:
        models = [model.name for model in list_models(session)]
        before = {
            event.payload["replay_sweep_id"]: event for event in replays(session, tree.dialogue.id)
        }
    settings = parse_settings(tree.dialogue.settings)
    forms = [name for name, one in registry().formats.items() if one.definition.tasks.answer]
    with card("replay"), st.form("replay", border=False):
        a, b = st.columns(2)
        model = a.selectbox(t("more.model"), models, None, placeholder=settings.model)
        form = b.selectbox(t("more.format"), forms, None, placeholder=settings.prompt_format)
        pressed = st.form_submit_button(t("more.replay_go"), icon=":material/replay:")
    if pressed:
        changes = {k: v for k, v in (("model", model), ("prompt_format", form)) if v}
        step = act(lambda session: start_replay(session, registry(), tree.dialogue.id, changes))
        if step is None:
            draw_problem()
        else:
            url.put("replay", str(step.sweep_id))
            st.rerun()
    if before:
        wanted = url.number("replay")
        shown = wanted if wanted and wanted in before else int(next(reversed(before)))
        _watch_replay(tree.dialogue.id, shown)


def _watch_replay(dialogue_id: int, sweep_id: int) -> None:
    with database().read() as session:
        state = read_replay(session, dialogue_id, sweep_id).state
    is_moving = state in ("queued", "running")
    st.fragment(run_every=POLL_S if is_moving else None)(_draw_replayed)(dialogue_id, sweep_id)


def _draw_replayed(dialogue_id: int, sweep_id: int) -> None:
    try:
        with database().read() as session:
            found = read_replay(session, dialogue_id, sweep_id)
    except Q2QError as error:
        st.error(escaped(said(str(error))))
        return
    changes = ", ".join(str(value) for value in found.changes.values())
    st.caption(t("more.replayed", changes=escaped(changes)))
    for problem in found.problems:
        st.warning(escaped(said(problem)))
    for line in found.lines[:50]:
        with card(f"replay_{line.number}", gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(t("dlg.number", n=line.number), width="content")
                if line.likeness is not None:
                    alike = t("more.alike", n=round(100 * line.likeness))
                    st.caption(alike, width="content")
                st.space("stretch")
                st.button(
                    t("dlg.look"),
                    key=f"replay_look_{line.node_id}",
                    type="tertiary",
                    on_click=show_node,
                    args=(line.node_id,),
                )
            show_text(line.question)
            left, right = st.columns(2)
            with left:
                st.caption(t("more.was"))
                show_text(line.before or "")
            with right:
                st.caption(t("more.is"))
                for text in line.after or ("",):
                    show_text(text)
