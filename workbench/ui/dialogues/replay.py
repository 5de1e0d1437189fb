"""Replay: the questions of a dialogue answered anew by another model, adapter, format or role."""

import streamlit as st

from db.errors import Q2QError
from db.jobs import get_job
from db.models import ModelRow, list_models
from db.questions import role_names
from workbench.dialogue.replay import Replay, ReplayLine, read_replay, replays, start_replay
from workbench.dialogue.settings import parse_settings
from workbench.dialogue.tree import Tree
from workbench.ui.components import url
from workbench.ui.components.i18n import t, word
from workbench.ui.components.jobs import draw_cancel, draw_progress
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, show_text, told
from workbench.ui.dialogues.acts import act, draw_problem, show_node

POLL_S = 1.0
MAX_SHOWN = 25
"""Questions of a replay on one page."""


def draw_replay(tree: Tree) -> None:
    """Draw the form, and a replay as far as it has come."""
    section(t("more.replay"), help=t("more.replay_help"))
    _draw_form(tree)
    with database().read() as session:
        before = {
            event.payload["replay_sweep_id"]: event for event in replays(session, tree.dialogue.id)
        }
    if not before:
        return
    wanted = url.number("replay")
    shown = wanted if wanted and wanted in before else int(next(reversed(before)))
    if len(before) > 1:
        names = {
            str(one): f"{number}. {_changes(event.payload['changes'])}"
            for number, (one, event) in enumerate(before.items(), start=1)
        }
        url.put("replay", str(shown))
        url.choose("replay", t("replay.which"), list(names), names.__getitem__, any_label="")
    job_id = before[shown].payload["replay_job_id"]
    with database().read() as session:
        is_moving = get_job(session, job_id).is_active
    if is_moving:
        st.fragment(run_every=POLL_S)(_watch)(job_id)
    _draw_replayed(tree.dialogue.id, shown)


def _draw_form(tree: Tree) -> None:
    with database().read() as session:
        models = {model.name: model for model in list_models(session)}
        roles = role_names(session)
    settings = parse_settings(tree.dialogue.settings)
    forms = [name for name, one in registry().formats.items() if one.definition.tasks.answer]
    with card("replay"), st.form("replay", border=False):
        a, b, c = st.columns(3)
        model = a.selectbox(
            t("more.model"),
            list(models),
            None,
            format_func=lambda name: _model_name(models[name]),
            placeholder=t("replay.as_before", name=settings.model),
        )
        form = b.selectbox(
            t("more.format"),
            forms,
            None,
            placeholder=t("replay.as_before", name=settings.prompt_format),
        )
        role = c.selectbox(
            t("replay.role"),
            roles,
            None,
            format_func=lambda name: word("role", name),
            placeholder=t("replay.as_before", name=word("role", settings.role)),
        )
        pressed = st.form_submit_button(t("more.replay_go"), icon=":material/replay:")
    if not pressed:
        return
    given = (("model", model), ("prompt_format", form), ("role", role))
    changes = {name: value for name, value in given if value}
    step = act(lambda session: start_replay(session, registry(), tree.dialogue.id, changes))
    if step is None:
        draw_problem()
        return
    url.put("replay", str(step.sweep_id))
    st.rerun()


def _model_name(model: ModelRow) -> str:
    return f"{model.name} · {t(f'replay.kind.{model.kind}')}"


def _changes(changes: dict[str, str]) -> str:
    return escaped(", ".join(str(value) for value in changes.values()))


def _watch(job_id: int) -> None:
    """Draw how far the replay is; the page again once it has ended, and polling with it."""
    with database().read() as session:
        job = get_job(session, job_id)
    if not job.is_active:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        draw_progress(job)
        draw_cancel(job)


def _draw_replayed(dialogue_id: int, sweep_id: int) -> None:
    try:
        with database().read() as session:
            found = read_replay(session, dialogue_id, sweep_id)
    except Q2QError as error:
        st.error(told(error))
        return
    st.caption(t("more.replayed", changes=_changes(dict(found.changes))))
    for problem in found.problems:
        st.warning(told(problem))
    page = url.page_of("lines", len(found.lines), MAX_SHOWN)
    for line in found.lines[(page - 1) * MAX_SHOWN : page * MAX_SHOWN]:
        _draw_line(line, found)
    url.pages("lines", len(found.lines), MAX_SHOWN)


def _draw_line(line: ReplayLine, found: Replay) -> None:
    with card(f"replay_{line.number}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(t("dlg.number", n=line.number), width="content")
            if line.likeness is not None:
                similarity = t("more.alike", n=round(100 * line.likeness))
                st.caption(similarity, width="content")
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
            if line.before is None:
                st.caption(t("replay.not_chosen"))
            else:
                show_text(line.before)
        with right:
            st.caption(t("more.is"))
            for text in line.after:
                show_text(text)
            if not line.after:
                is_coming = found.state in ("queued", "running")
                st.caption(t("replay.coming" if is_coming else "replay.missing"))
