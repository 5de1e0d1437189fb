"""Accuracy by level in Insights: how often answers are correct, and who agrees about it."""

from typing import cast

import streamlit as st

from db.jobs import active_jobs, enqueue
from db.models import list_models
from db.rating.columns import high_water
from db.texts.grades import grades_mark
from serving.scoring.judge import JudgeSpec
from workbench.insights.correctness import AccuracyReport, read_accuracy
from workbench.stats.intervals import MIN_QUESTIONS
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import percent
from workbench.ui.components.live import read_figures
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.insights.charts import Dot, draw_dots

LEVEL_TEXTS = ("mode", "source", "role", "precision")
"""Factors whose levels have words of their own in the catalogue."""


def draw_correctness(sweep_id: int | None) -> None:
    """Draw how often the answers of a sweep (of all: None) are correct, level by level."""
    with card("insights_correctness"):
        section(t("accuracy.title"))
        st.caption(t("accuracy.lead"))
        with database().read() as session:
            n_grades, mark = grades_mark(session), high_water(session)
        if not n_grades:
            st.caption(t("accuracy.none"))
            page_link("questions", t("nav.questions"), "rule")
            return
        shown = read_figures(
            "accuracy",
            "null" if sweep_id is None else str(sweep_id),
            f"{n_grades}/{mark}",
            lambda: _computed(database().label, f"{n_grades}/{mark}", sweep_id),
            n=n_grades,
        )
        if shown is not None:
            _draw(cast(AccuracyReport, shown.figures))
        _draw_judge(sweep_id)


@st.cache_data(show_spinner=False, max_entries=24)
def _computed(store: str, mark: str, sweep_id: int | None) -> AccuracyReport:
    """Return the report of one store as of ``mark``; the first two are for the cache."""
    with database().read() as session:
        return read_accuracy(session, sweep_id)


def _draw(found: AccuracyReport) -> None:
    if found.overall is None:
        st.caption(t("accuracy.none_here"))
        return
    low, high = found.overall.low, found.overall.high
    span = "–" if low is None or high is None else f"{percent(low, 1)}–{percent(high, 1)}"
    st.markdown(
        t(
            "accuracy.overall",
            share=percent(found.overall.value, 1),
            span=span,
            n=found.n_answers,
            questions=found.n_questions,
        )
    )
    if found.n_ungradable:
        st.caption(t("accuracy.ungradable", n=found.n_ungradable))
    if found.levels:
        dots = [
            Dot(
                f"{t(f'insights.factor.{one.factor}')}: {_level(one.factor, one.level)}",
                one.accuracy,
                one.n_answers,
            )
            for one in found.levels
        ]
        draw_dots(dots, t("accuracy.axis"), reference=None)
    if found.n_questions < MIN_QUESTIONS:
        st.caption(t("rounds.few"))
    for pair in found.agreements:
        alpha = pair.found.alpha
        st.caption(
            t(
                "accuracy.agree",
                first=t(f"accuracy.by.{pair.first}"),
                second=t(f"accuracy.by.{pair.second}"),
                same=percent(pair.found.same.value, 1),
                alpha=f"{alpha.value:.2f}" if alpha else "–",
                n=pair.found.n_units,
            )
        )


def _draw_judge(sweep_id: int | None) -> None:
    """Draw the choice of a model that judges by the reference answers, and how far it is."""
    with database().read() as session:
        jobs = [job for job in active_jobs(session) if job.kind == "judge"]
        models = [one.name for one in list_models(session)]
    if jobs:
        st.caption(t("accuracy.judging", done=jobs[0].done, total=jobs[0].total or 0))
        return
    with st.expander(t("accuracy.judge"), icon=":material/gavel:"):
        st.caption(t("accuracy.judge_help"))
        model = st.selectbox(t("insights.factor.model"), models, None, placeholder=t("none"))
        if st.button(t("accuracy.judge_start"), disabled=model is None) and model is not None:
            payload = JudgeSpec(model=model, sweep=sweep_id).model_dump(mode="json")
            with database().write() as session:
                enqueue(session, "judge", payload=payload)
            st.toast(t("accuracy.judge_queued"), icon=":material/check:")
            st.rerun()


def _level(factor: str, level: str) -> str:
    return word(factor, level) if factor in LEVEL_TEXTS else level
