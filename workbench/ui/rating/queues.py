"""The rating queues, and a new one: what is rated, how, for how long, and what that comes to."""

from typing import Any, get_args

import streamlit as st
from pydantic import ValidationError
from sqlalchemy.orm import Session

from db.counts import background_count
from db.identity import short_hash
from db.rating.queues import QueueRow, Way, list_queues, queue_progress
from db.rating.ratings import list_raters
from db.texts.facets import facets_version
from serving.checks import CHECKS
from workbench.i18n import has
from workbench.project import count_texts
from workbench.rating.power import PowerEstimate, power_estimate
from workbench.rating.queues import (
    BuiltQueue,
    QueueSpec,
    build_queue,
    save_queue,
    seconds_per_card,
)
from workbench.rating.sampling import SAMPLERS
from workbench.rating.sources import SOURCES, source_names
from workbench.ui.components import url
from workbench.ui.components.archive import (
    draw_nothing_archived,
    draw_picked,
    draw_switch,
    pick_box,
    shows_archived,
)
from workbench.ui.components.controls import (
    back_link,
    errors_shown,
    new_button,
    open_button,
    page_link,
    trail,
)
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.forms import Hint, SpecForm
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import ago, count, duration
from workbench.ui.components.live import wait_for
from workbench.ui.components.parts import (
    card,
    card_head,
    empty_state,
    heading,
    list_head,
    plan_rows,
)
from workbench.ui.components.rater import current_rater, draw_rater
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, one_line
from workbench.ui.rating.after import draw_after

MOST = 30
MINUTES = (0, 10, 20, 40, 60)
"""Times to choose from; 0 is no limit."""
MOST_SOURCES = 50
"""Sweeps, dialogues and datasets offered, the newest of each."""
MOST_SEPARABLE = 5


def draw_queues() -> None:
    """Draw the queues, or how to make the first one."""
    with database().read() as session:
        queues = list_queues(session, archived=shows_archived())[:MOST]
        n_texts = count_texts(session)
    with list_head("rate"):
        if queues:
            new_button(t("rate.new"))
    draw_rater()
    if queues or shows_archived():
        draw_picked("queue", lambda: [queue.id for queue in queues])
    else:
        draw_switch("queue")
    if not queues and shows_archived():
        draw_nothing_archived()
    elif not queues:
        which = "none" if n_texts else "no_texts"
        with empty_state("queues", "star", f"rate.{which}"):
            if n_texts:
                new_button(t("rate.new"))
            else:
                page_link("sweeps", t("nav.sweeps"), "grid_view")
    rater = current_rater()
    for queue in queues:
        _draw(queue, rater[0] if rater else None)
    if queues:
        draw_after()
    _draw_raters()


def _draw_raters() -> None:
    """Draw who rates, to be put away and brought back like all else."""
    with database().read() as session:
        raters = list_raters(session, archived=shows_archived())
    if not raters and not shows_archived():
        return
    with st.expander(t("rate.raters", n=count(len(raters))), icon=":material/group:"):
        draw_picked("rater", lambda: [one.id for one in raters])
        for one in raters:
            with st.container(horizontal=True, vertical_alignment="center", key=f"who_{one.id}"):
                pick_box("rater", one.id, one.name)
                st.markdown(escaped(one.name), width="content")
                st.badge(t(f"rate.rater.{one.kind}"), color="gray")


def _draw(queue: QueueRow, rater_id: int | None) -> None:
    done = 0
    total = queue.n_cards(rater_id)
    if rater_id is not None:
        with database().read() as session:
            done = queue_progress(session, queue, rater_id).done
    with card(f"queue_{queue.id}"):
        with card_head(f"queue_{queue.id}", escaped(queue.name)):
            pick_box("queue", queue.id, queue.name)
            st.badge(t(f"rate.way.{queue.way}"), icon=":material/style:", color="gray")
            st.badge(t(f"rate.scope.{queue.scope}"), color="blue")
            open_button(
                t("rate.open"), f"queue_{queue.id}", "queue", queue.id, disabled=rater_id is None
            )
        st.progress(
            min(1.0, done / total) if total else 0.0,
            text=t("rate.progress", done=done, total=total) if total else t("rate.not_yours"),
        )
        st.caption(ago(queue.created_at))


def draw_new() -> None:
    """Draw the form and its plan."""
    draft = FormDraft(f"queue-{_wanted().replace(':', '-') or 'all'}")
    trail(back_link(t("rate.back"), _leave, draft), t("rate.new"))
    heading(t("rate.new"), t("rate.new_lead"))
    draw_rater()
    draft.draw_notice()
    left, right = st.columns([3, 2], gap="large")
    with left:
        spec = _draw_form(draft)
    with right, st.container(key="plan"):
        _draw_plan(spec, draft)


def _leave() -> None:
    url.clear("new", "questions", *SOURCES)


def _draw_form(draft: FormDraft) -> QueueSpec:
    hints = {
        "scope": Hint(widget="segments", show="rate.scope"),
        "search": Hint(widget="search"),
        "leave_out": Hint(options=list(CHECKS), show="check"),
        "only_trainable": Hint(widget="toggle"),
        "reference": Hint(widget="segments", show="rate.reference"),
        "sampler": Hint(options=SAMPLERS, show="rate.sampler"),
        "guidelines": Hint(widget="area", height=160),
    }
    form = SpecForm(draft, QueueSpec, {}, "rate", hints)
    with card("rate_what"):
        is_alone = form.draw("scope") == "question"
        ways = ("single", "table") if is_alone else get_args(Way)
        hints["way"] = Hint(widget="segments", options=ways, show="rate.way")
        form.draw("way", name="way_alone" if is_alone else "way")
        source_name = _draw_source(draft, form)
        search = form.draw("search")
    with card("rate_time"):
        minutes: int | None = st.segmented_control(
            t("rate.minutes"),
            MINUTES,
            required=True,
            key=draft.field("minutes", 20, MINUTES),
            format_func=lambda m: t("rate.minutes_n", n=m) if m else t("rate.minutes_all"),
            help=t("rate.minutes_help"),
        )
        form.draw("leave_out", "only_trainable", "guidelines")
        with st.expander(t("rate.more")):
            form.draw("overlap")
            _draw_shares(draft, form)
            form.draw("sampler", "reference")
            repeats = st.toggle(
                t("rate.repeats"), help=t("rate.repeats_help"), key=draft.field("repeats", True)
            )
    scope = form.spec["scope"]
    name = source_name or search.strip() or t("rate.all_texts")
    form.put("name", f"{name} · {t(f'rate.scope.{scope}')}"[:200])
    if not repeats:
        form.put("repeat_share", 0.0)
    if minutes:
        with database().read() as session:
            per_card = seconds_per_card(session, form.spec["way"], scope)
        form.put("limit", max(1, round(minutes * 60 / per_card)))
    return QueueSpec.model_validate(form.spec)


def _draw_shares(draft: FormDraft, form: SpecForm) -> None:
    """Draw whose the cards are to be; what is no share is said, and left out of the plan."""
    given = st.text_input(
        t("rate.shares"),
        placeholder="Aki, Ben: 2",
        help=t("rate.shares_help"),
        key=draft.field("raters", ""),
    )
    try:
        shares = QueueSpec(name="-", raters=given).raters
    except ValidationError:
        st.error(t("rate.shares_wrong"))
        return
    if shares:
        form.put("raters", shares)


def _wanted() -> str:
    """Return the source that the address names, as a key of ``source_names``; empty: none."""
    if asked := url.parameter("questions"):
        return f"questions:{short_hash(asked)}"
    found = ((kind, url.number(kind)) for kind in SOURCES)
    return next((f"{kind}:{id}" for kind, id in found if id is not None), "")


def _draw_source(draft: FormDraft, form: SpecForm) -> str:
    """Draw the choice of a source, for the spec; return its name."""
    if asked := url.ids("questions"):
        st.markdown(f":material/checklist: {t('rate.from_questions', n=count(len(asked)))}")
        form.put("questions", asked)
        return t("rate.from_questions", n=count(len(asked)))
    with database().read() as session:
        named = source_names(session, MOST_SOURCES)
    wanted = _wanted()
    options = list(named)
    chosen = st.selectbox(
        t("rate.from"),
        options,
        None,
        key=draft.field("source", wanted if wanted in named else None, options),
        format_func=lambda key: _source_name(key, named[key]),
        placeholder=t("rate.from_all"),
        help=t("rate.from_help"),
    )
    if chosen is None:
        return ""
    kind, _, number = chosen.partition(":")
    form.put(kind, int(number))
    return named[chosen]


def _source_name(key: str, name: str) -> str:
    kind, _, number = key.partition(":")
    return t(f"rate.from.{kind}", id=number, name=one_line(name, 60))


def _planned(spec: QueueSpec) -> tuple[BuiltQueue, PowerEstimate] | None:
    """Return a queue before it is stored; None while very many texts are being looked through."""
    known = registry()

    def plan(own: Session) -> tuple[BuiltQueue, PowerEstimate]:
        built = build_queue(own, spec)
        return built, power_estimate(own, built, known)

    with database().read() as session:
        name = ("plan", spec.model_dump_json())
        return background_count(session, name, facets_version(session), plan)


def _draw_plan(spec: QueueSpec, draft: FormDraft) -> None:
    with database().read() as session:
        per_card = seconds_per_card(session, spec.way, spec.scope)
    planned = _planned(spec)
    with card("plan"):
        st.markdown(f"**{t('new.plan')}**")
        if planned is None:
            wait_for(t("rate.counting"), lambda: _planned(spec) is not None)
            return
        built, promised = planned
        plan_rows([(t(name), value, None) for name, value in _numbers(built, promised, per_card)])
        if built.n_looked_at < built.n_source:
            st.caption(t("rate.by_lot", n=built.n_looked_at, of=built.n_source))
        for reason, n in built.left_out.items():
            st.caption(t("rate.left_out", n=n, why=_why(reason)))
        if built.items:
            _draw_power(spec, promised)
        if st.button(
            t("rate.start"),
            type="primary",
            icon=":material/play_arrow:",
            width="stretch",
            disabled=not built.items,
        ):
            _start(built, draft)
        if not built.items:
            st.caption(t("rate.nothing" if built.left_out else "rate.nothing_found"))


def _draw_power(spec: QueueSpec, promised: PowerEstimate) -> None:
    """Say which levels the cards can tell apart, and what training gains from them."""
    if spec.way == "pair":
        st.markdown(f"**{t('rate.tells')}**")
        for one in promised.separable[:MOST_SEPARABLE]:
            percent = round(100 * one.shows)
            kind = "enough" if one.is_enough else "few" if percent < 100 else "none"
            st.caption(
                t(
                    f"rate.tells.{kind}",
                    factor=t(f"insights.factor.{one.factor}"),
                    a=escaped(one.a),
                    b=escaped(one.b),
                    n=one.n_cards,
                    share=percent,
                    rest=100 - percent,
                )
            )
        if not promised.separable:
            st.caption(t("rate.tells.nothing"))
    if promised.held_out:
        st.caption(t("rate.held_out", n=promised.held_out))
    if spec.scope != "question":
        if not any(promised.training_rows.values()):
            st.caption(t("rate.no_rows"))
        share = f"{100 * promised.share:.0f}"
        st.caption(
            t("rate.rows_counted" if promised.is_counted else "rate.rows_usual", share=share)
        )


def _numbers(built: BuiltQueue, promised: PowerEstimate, per_card: float) -> list[tuple[str, str]]:
    n = len(built.items)
    rows: list[tuple[str, Any]] = [
        ("rate.cards", count(n)),
        ("rate.possible", count(built.n_possible)),
        ("rate.texts", count(built.n_texts)),
        ("count.questions", count(built.n_questions)),
        ("rate.time", duration(n * per_card)),
    ]
    if built.spec.scope != "question":
        for kind, n_rows in promised.training_rows.items():
            rows.append((f"rate.rows.{kind}", f"≈ {count(n_rows)}"))
    return rows


def _why(reason: str) -> str:
    own = f"rate.why.{reason}"
    return t(own) if has(own) else word("check", reason)


def _start(built: BuiltQueue, draft: FormDraft) -> None:
    with errors_shown():
        with database().write() as session:
            queue_id = save_queue(session, built)
        draft.forget()
        _leave()
        url.put("queue", str(queue_id))
        st.rerun()
