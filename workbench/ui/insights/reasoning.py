"""Does the reasoning move the answer? The scores of engines, level by level, in Insights."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import altair as alt
import streamlit as st

from db.jobs import JobRow, active_jobs, enqueue, recent_jobs
from db.sweeps import sweep_names
from db.texts.scores import score_mark
from serving.scoring.spec import ScoreSpec
from workbench.insights.reasoning import (
    LevelReport,
    ReasoningReport,
    read_reasoning_report,
)
from workbench.insights.reasoning_verdict import DIFFERENT, WORTH, WORTH_OF_TOKEN, Lack
from workbench.stats.influence import LEAK_BITS, OWN, Leaks
from workbench.stats.intervals import MIN_QUESTIONS, Estimate
from workbench.ui.components import url
from workbench.ui.components.i18n import t
from workbench.ui.components.jobs import draw_cancel, draw_progress
from workbench.ui.components.live import live, read_figures
from workbench.ui.components.parts import card, section
from workbench.ui.components.plots import NAMES, RULE, draw_plot, plot_of, tooltips
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line, told
from workbench.ui.insights.charts import AXIS_PX, ROW_PX

KINDS = (OWN, "shuffled", "truncated", "foreign")
MOST_CHOICES = 100
MOST_FLAGGED = 12
MOST_POINTS = 500
"""Questions drawn as points, the first ones; means are over all."""


def draw_reasoning(sweep_id: int | None) -> None:
    """Draw what the scores of a sweep's answers say (of all sweeps: None), and the button."""
    spec = ScoreSpec(sweep=sweep_id)
    with card("insights_reasoning"):
        section(t("moves.title"))
        st.caption(t("moves.lead"))
        with database().read() as session:
            mark = score_mark(session)
        if mark.endswith("/0"):
            st.caption(t("moves.no_answers"))
            return
        asked = spec.model_dump_json()
        shown = read_figures(
            "moves",
            asked,
            mark,
            lambda: _computed(database().label, mark, asked),
            n=int(mark.partition("/")[2]),
        )
        if shown is None:
            return
        found = cast(ReasoningReport, shown.figures)
        for level in found.levels:
            _draw_level(level)
        _draw_state(found)
        live(_active(), _active, bool, partial(_draw_job, spec, found.missing))


def choose_sweep() -> int | None:
    """Draw the choice of a sweep, for a page without the filters of ratings; return its id."""
    with database().read() as session:
        sweeps = {str(id): name for id, name in sweep_names(session, MOST_CHOICES).items()}
    chosen = url.choose(
        "sweep",
        t("insights.sweep"),
        list(sweeps),
        lambda id: f"{sweeps[id]} ({id})",
        any_label=t("insights.sweep_any"),
    )
    return int(chosen) if chosen else None


@st.cache_data(show_spinner=False, max_entries=24)
def _computed(store: str, mark: str, spec: str) -> ReasoningReport:
    """Return the report of one store as of ``mark``; the first two are for the cache."""
    with database().read() as session:
        return read_reasoning_report(session, ScoreSpec.model_validate_json(spec))


def _draw_level(level: LevelReport) -> None:
    if OWN not in level.scores and level.distance is None and level.leak is None:
        return
    name = t(
        "moves.level",
        model=level.model,
        role=level.role,
        format=level.format,
        sampling=level.sampling or t("moves.by_people"),
    )
    st.text(one_line(name, 200))
    if OWN in level.scores:
        _draw_bits(level)
    if level.leak is not None:
        _draw_leak(level.leak)
    if level.distance is not None:
        distance = level.distance
        st.caption(
            t(
                "moves.distance",
                between=_span(distance.between),
                within=_span(distance.within),
                p=f"{distance.p:.3f}",
                questions=distance.n_questions,
            )
        )


def _draw_bits(level: LevelReport) -> None:
    own = level.scores[OWN]
    st.markdown(t(f"moves.verdict.{level.verdict}", **_sizes(level)))
    _draw_missing(level.missing)
    st.markdown(t(f"moves.per_token.{level.per_token.verdict}", **_per_token_sizes(level)))
    if level.per_token.missing != level.missing:
        _draw_missing(level.per_token.missing)
    _plot(level)
    margins = [
        t("moves.margin", kind=t(f"moves.kind.{kind}"), bits=_span(found))
        for kind, found in level.margins.items()
    ]
    st.caption(
        t(
            "moves.says",
            bits=_span(own.bits),
            limit=f"{level.limit:.2f}",
            per_token=_span(own.per_token, 3),
            p=f"{own.p:.3f}",
            questions=level.n_scored,
        )
    )
    if margins:
        st.caption(t("moves.margins", list=" · ".join(margins)))
    st.caption(t("moves.doubt"))
    if level.n_scored < MIN_QUESTIONS:
        st.caption(f":material/warning: {t('insights.few', n=level.n_scored)}")


def _sizes(level: LevelReport) -> dict[str, str]:
    at_most = "–" if level.at_most is None else f"{level.at_most:.2f}"
    return {"at_most": at_most, "least": f"{WORTH * level.limit:.2f}"}


def _per_token_sizes(level: LevelReport) -> dict[str, str]:
    at_most = level.per_token.at_most
    return {
        "bits": _span(level.scores[OWN].per_token, 3),
        "at_most": "–" if at_most is None else f"{at_most:.3f}",
        "least": f"{WORTH_OF_TOKEN:g}",
    }


def _draw_missing(missing: Sequence[Lack]) -> None:
    """Say what would make it clear."""
    for one in missing:
        name = f"moves.missing.{one.what}" + ("" if one.needs is not None else "_some")
        st.caption(t(name, has=one.has, needs=one.needs or 0, different=f"{DIFFERENT:g}"))


def _plot(level: LevelReport) -> None:
    """Draw bits by kind: a point a question, the mean with its interval, and a bar at log2(k)."""
    names = {kind: t(f"moves.kind.{kind}") for kind in KINDS if kind in level.scores}
    points = [
        {"name": names[kind], "bits": value}
        for kind in names
        for value in level.scores[kind].by_question[:MOST_POINTS]
    ]
    means = []
    for kind, name in names.items():
        found = level.scores[kind].bits
        low, high = (found.value if end is None else end for end in (found.low, found.high))
        means.append({"name": name, "bits": found.value, "low": low, "high": high})
    y = alt.Y("name:N", title=None, sort=list(names.values()), axis=NAMES)
    x = alt.X("bits:Q", title=t("moves.axis"), axis=alt.Axis(format=".2f", tickCount=6))
    mean_marks = plot_of(means)
    tooltip = tooltips(
        ("name:N", ""),
        ("bits:Q", t("moves.axis"), ".3f"),
        ("low:Q", t("insights.low"), ".3f"),
        ("high:Q", t("insights.high"), ".3f"),
    )
    limit = plot_of([{"bits": level.limit, "name": t("moves.limit")}])
    zero = plot_of([{"bits": 0.0}])
    draw_plot(
        alt.layer(
            zero.mark_rule(color=RULE, strokeDash=[4, 4], opacity=0.6).encode(x=x),
            limit.mark_rule(color=RULE, strokeWidth=4, opacity=0.8).encode(
                x=x, tooltip=tooltips(("name:N", ""), ("bits:Q", t("moves.axis"), ".2f"))
            ),
            plot_of(points).mark_tick(thickness=1.5, size=14, opacity=0.35).encode(x=x, y=y),
            mean_marks.mark_rule(color=RULE, strokeWidth=3, opacity=0.55).encode(
                y=y, x=alt.X("low:Q", title=t("moves.axis")), x2="high:Q"
            ),
            mean_marks.mark_circle(size=110, opacity=1).encode(x=x, y=y, tooltip=tooltip),
        ),
        AXIS_PX + ROW_PX * len(names),
    )


def _draw_leak(leak: Leaks) -> None:
    st.caption(
        t(
            "moves.leak",
            own=_span(leak.own),
            foreign=_span(leak.foreign),
            least=f"{LEAK_BITS:g}",
            n=len(leak.flagged),
            all=len(leak.reasonings),
        )
    )
    shown = leak.flagged[:MOST_FLAGGED]
    if not shown:
        return
    with st.container(horizontal=True):
        for one in shown:
            st.badge(f"v{one.variant_id} · {one.above:+.1f}", color="orange")


def _draw_state(found: ReasoningReport) -> None:
    st.caption(t("moves.scored", scored=found.scored, pairs=found.pairs))
    for reason, n in found.errors[:2]:
        st.caption(t("moves.failed", n=n, reason=escaped(one_line(reason, 200))))


def _active() -> list[JobRow]:
    with database().read() as session:
        return active_jobs(session, kind="score")


def _draw_job(spec: ScoreSpec, missing: int, jobs: list[JobRow]) -> None:
    for job in jobs:
        draw_progress(job)
        draw_cancel(job)
    if not jobs:
        _draw_last_end()
    if st.button(
        t("moves.run", n=missing),
        key="score_run",
        icon=":material/balance:",
        disabled=bool(jobs) or not missing,
    ):
        with database().write() as session:
            enqueue(session, "score", payload=spec.model_dump(mode="json"))
        st.rerun()


def _draw_last_end() -> None:
    """Say why the last job did not score everything."""
    with database().read() as session:
        job = next((job for job in recent_jobs(session, 10) if job.kind == "score"), None)
    if job is None:
        return
    reasons = [job.error] if job.error else list((job.result or {}).get("unable", ()))
    for reason in reasons:
        st.caption(f":material/warning: {told(str(reason), 300)}")


def _span(found: Estimate, digits: int = 2) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} – {found.high:.{digits}f})"
