"""A new rating queue: what is rated, how, and for how long; beside it, what that comes to."""

from typing import Any, get_args

import streamlit as st

from db.errors import Q2QError
from db.queues import Way
from db.ratings import Scope
from db.sweeps import list_sweeps
from serving.checks import CHECKS
from workbench.rating.building import (
    BAD_FLAGS,
    BuiltQueue,
    QueueSpec,
    build_queue,
    save_queue,
    seconds_per_card,
)
from workbench.rating.sampling import SAMPLERS
from workbench.ui import url
from workbench.ui.figures import count, duration
from workbench.ui.i18n import has, t, word
from workbench.ui.parts import back_link, card, heading
from workbench.ui.rater import draw_rater
from workbench.ui.store import database
from workbench.ui.text import escaped

MINUTES = (0, 10, 20, 40, 60)
"""Times to choose from; 0 is no limit."""
DECISIVE = 0.6
"""Share of comparisons that prefer one side, expected until there is a history."""


def draw_new() -> None:
    """Draw the form and its plan."""
    back_link(t("rate.back"), _leave)
    heading(t("rate.new"), t("rate.new_lead"))
    draw_rater()
    left, right = st.columns([3, 2], gap="large")
    with left:
        spec = _draw_form()
    with right, st.container(key="plan"):
        _draw_plan(spec)


def _leave() -> None:
    url.clear("new", "sweep")


def _draw_form() -> QueueSpec:
    with card("rate_what"):
        scopes = [scope for scope in get_args(Scope) if scope != "question"]
        scope: Scope = st.segmented_control(
            t("rate.what"),
            scopes,
            default=scopes[0],
            required=True,
            format_func=lambda name: t(f"rate.scope.{name}"),
            help=t("rate.what_help"),
        )
        ways: list[Way] = ["pair", "single"]
        way: Way = st.segmented_control(
            t("rate.how"),
            ways,
            default=ways[0],
            required=True,
            format_func=lambda name: t(f"rate.way.{name}"),
            help=t("rate.how_help"),
        )
        with database().read() as session:
            sweeps = {sweep.sweep_id: sweep.name for sweep in list_sweeps(session, 50)}
        sweep_ids = list(sweeps)
        wanted = url.number("sweep")
        sweep = st.selectbox(
            t("rate.from"),
            sweep_ids,
            sweep_ids.index(wanted) if wanted in sweep_ids else None,
            format_func=lambda sweep_id: f"{sweep_id} · {sweeps[sweep_id]}",
            placeholder=t("rate.from_all"),
        )
        search = st.text_input(t("rate.search"), type="search", icon=":material/search:")
    with card("rate_time"):
        minutes: int = st.segmented_control(
            t("rate.minutes"),
            MINUTES,
            default=20,
            required=True,
            format_func=lambda m: t("rate.minutes_n", n=m) if m else t("rate.minutes_all"),
            help=t("rate.minutes_help"),
        )
        leave_out = st.multiselect(
            t("rate.leave_out"),
            list(CHECKS),
            [flag for flag in BAD_FLAGS if flag in CHECKS],
            format_func=lambda name: word("check", name),
            help=t("rate.leave_out_help"),
        )
        with st.expander(t("rate.more")):
            overlap = st.number_input(t("rate.overlap"), 1, 20, 1, help=t("rate.overlap_help"))
            sampler = st.selectbox(
                t("rate.sampler"),
                SAMPLERS,
                format_func=lambda name: t(f"rate.sampler.{name}"),
                help=t("rate.sampler_help"),
            )
            repeats = st.toggle(t("rate.repeats"), True, help=t("rate.repeats_help"))
    with database().read() as session:
        per_card = seconds_per_card(session, way, scope)
    name = sweeps[sweep] if sweep else search.strip() or t("rate.all_texts")
    return QueueSpec(
        name=f"{name} · {t(f'rate.scope.{scope}')}"[:200],
        way=way,
        scope=scope,
        sweep=sweep,
        search=search,
        leave_out=tuple(leave_out),
        limit=max(1, round(minutes * 60 / per_card)) if minutes else None,
        overlap=int(overlap),
        sampler=sampler,
        repeat_share=0.1 if repeats else 0.0,
    )


def _draw_plan(spec: QueueSpec) -> None:
    with database().read() as session:
        built = build_queue(session, spec)
        per_card = seconds_per_card(session, spec.way, spec.scope)
    with card("plan"):
        st.markdown(f"**{t('new.plan')}**")
        for name, value in _numbers(built, per_card):
            with st.container(horizontal=True):
                st.markdown(f":gray[{t(name)}]", width="content")
                st.space("stretch")
                st.markdown(f"**{value}**", width="content")
        for reason, n in built.left_out.items():
            st.caption(t("rate.left_out", n=n, why=_why(reason)))
        if st.button(
            t("rate.start"),
            type="primary",
            icon=":material/play_arrow:",
            width="stretch",
            disabled=not built.items,
        ):
            _start(built)
        if not built.items:
            st.caption(t("rate.nothing"))


def _numbers(built: BuiltQueue, per_card: float) -> list[tuple[str, str]]:
    n = len(built.items)
    rows: list[tuple[str, Any]] = [
        ("rate.cards", count(n)),
        ("rate.possible", count(built.n_possible)),
        ("rate.texts", count(built.n_texts)),
        ("count.questions", count(built.n_questions)),
        ("rate.time", duration(n * per_card)),
    ]
    if built.spec.way == "pair":
        rows.append(("rate.rows", f"≈ {count(round(n * DECISIVE))}"))
    return rows


def _why(reason: str) -> str:
    own = f"rate.why.{reason}"
    return t(own) if has(own) else word("check", reason)


def _start(built: BuiltQueue) -> None:
    try:
        with database().write() as session:
            queue_id = save_queue(session, built)
    except Q2QError as error:
        st.error(escaped(str(error)))
        return
    _leave()
    url.put("queue", str(queue_id))
    st.rerun()
