"""Insights: filters, the computed statistics, what is drawn of them, and one question of them."""

from dataclasses import replace
from typing import cast, get_args

import streamlit as st
from pydantic import TypeAdapter

from db.questions import get_questions
from db.rating.columns import RaterKind, RatingFilter, high_water
from db.rating.queues import list_queues
from db.rating.ratings import Scope
from db.sweeps import sweep_names
from workbench.insights.diversity import Group
from workbench.insights.report import Insights, QuestionInsight, read_insights, read_question
from workbench.stats.diversity import GOOD_ENOUGH
from workbench.ui.components import url
from workbench.ui.components.controls import page_link
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import percent
from workbench.ui.components.live import read_figures
from workbench.ui.components.parts import card, empty_state, figures, heading, section
from workbench.ui.components.store import database
from workbench.ui.components.text import one_line, show_text
from workbench.ui.insights.charts import Dot, draw_dots
from workbench.ui.insights.correctness import draw_correctness
from workbench.ui.insights.figures import (
    draw_agreement,
    draw_bias,
    draw_diversity,
    draw_effects,
    draw_rankings,
    draw_work,
)
from workbench.ui.insights.reasoning import choose_sweep, draw_reasoning

SCOPES: tuple[Scope, ...] = ("reasoning", "answer", "whole")
LENGTHS = ("any", "equal")
# Comments, since Streamlit shows a string that stands alone in a page.
# Queues and sweeps offered as filters, the newest ones.
MOST_CHOICES = 100
# Reasonings whose answers are ranked, those with the most rated answers.
MOST_GROUPS = 5


def draw_insights() -> None:
    """Draw everything that the ratings say, or what to do where there are none."""
    heading(t("insights.title"), t("insights.lead"))
    with database().read() as session:
        mark = high_water(session)
    if mark.startswith("0/"):
        _draw_nothing()
        _draw_texts(choose_sweep())
        return
    wanted = _filters()
    shown = read_figures(
        "insights",
        TypeAdapter(RatingFilter).dump_json(wanted).decode(),
        mark,
        lambda: _of_filter(database().label, mark, wanted),
        n=int(mark.partition("/")[0]),
    )
    if shown is None:
        _draw_texts(wanted.sweep_id)
        return
    found = cast(Insights, shown.figures)
    mark = shown.mark or mark
    if not found.counts.judgements:
        empty_state("insights", "filter_alt_off", "insights.no_match")
        _draw_texts(wanted.sweep_id)
        return
    _draw_counts(found)
    draw_rankings(found)
    draw_effects(found)
    draw_agreement(found)
    draw_bias(found)
    draw_work(found)
    draw_diversity(found)
    draw_question(found, wanted, mark)
    _draw_texts(wanted.sweep_id)


def _draw_texts(sweep_id: int | None) -> None:
    """Draw what the answers themselves say, whoever rated them."""
    draw_correctness(sweep_id)
    draw_reasoning(sweep_id)


@st.cache_data(show_spinner=False, max_entries=24)
def _of_filter(store: str, mark: str, wanted: RatingFilter) -> Insights:
    """Return the statistics of one store as of ``mark``; the first two are for the cache."""
    with database().read() as session:
        return read_insights(session, wanted)


def _draw_nothing() -> None:
    with empty_state("insights", "insights", "insights.none"):
        page_link("rating", t("nav.rating"), "star")


def _filters() -> RatingFilter:
    """Draw the filters and return what they ask for."""
    with st.container(horizontal=True, vertical_alignment="center"):
        scope = url.segments("scope", t("rate.scope"), SCOPES, lambda s: t(f"rate.scope.{s}"))
        raters = url.segments(
            "by",
            t("insights.by"),
            get_args(RaterKind),
            lambda kind: t(f"insights.by.{kind}"),
        )
        length = url.segments(
            "length", t("insights.length"), LENGTHS, lambda one: t(f"insights.lengths.{one}")
        )
    with database().read() as session:
        queues = {str(q.id): q.name for q in list_queues(session)[:MOST_CHOICES]}
        sweeps = {str(id): name for id, name in sweep_names(session, MOST_CHOICES).items()}
    left, right = st.columns(2)
    with left:
        queue = url.choose(
            "queue",
            t("insights.queue"),
            list(queues),
            lambda id: f"{queues[id]} ({id})",
            any_label=t("insights.queue_any"),
        )
    with right:
        sweep = url.choose(
            "sweep",
            t("insights.sweep"),
            list(sweeps),
            lambda id: f"{sweeps[id]} ({id})",
            any_label=t("insights.sweep_any"),
        )
    return RatingFilter(
        scope=next(one for one in SCOPES if one == scope),
        raters="model" if raters == "model" else "person",
        queue_id=int(queue) if queue else None,
        sweep_id=int(sweep) if sweep else None,
        equal_length=length == "equal",
    )


def _draw_counts(found: Insights) -> None:
    counts = found.counts
    agreed = next((one for one in found.between_raters if one.axis == "preference"), None)
    alpha = agreed.alpha if agreed else None
    figures(
        "insights",
        [
            (t("insights.comparisons"), counts.comparisons, t("insights.comparisons_help")),
            (t("insights.ranked"), counts.ranked, t("insights.ranked_help")),
            (
                t("insights.both_bad"),
                percent(found.both_bad.value, 1) if found.both_bad else "–",
                t("insights.both_bad_help"),
            ),
            (
                t("insights.alpha"),
                f"{alpha.value:.2f}" if alpha else "–",
                t("insights.alpha_help"),
            ),
            (t("insights.questions"), counts.questions, t("insights.questions_help")),
            (
                t("insights.progress"),
                percent(counts.cards_rated, counts.cards_planned),
                t("insights.progress_help"),
            ),
        ],
    )
    if counts.not_blind:
        st.caption(t("insights.not_blind", n=counts.not_blind))


def draw_question(found: Insights, wanted: RatingFilter, mark: str) -> None:
    """Draw the question that is chosen, at first the one with the most ratings.

    Args:
        found: The statistics over questions.
        wanted: The filter that they are of.
        mark: The high water of the ratings that they are of.
    """
    rated = dict(found.questions)
    with database().read() as session:
        names = {str(row.id): one_line(row.text, 90) for row in get_questions(session, list(rated))}
    with card("insights_question"):
        section(t("insights.question"))
        chosen = url.choose(
            "question",
            t("insights.question_choose"),
            list(names),
            lambda id: f"q{id} · {names[id]} · {rated[int(id)]}",
            any_label=t("insights.question_most"),
        )
        question_id = int(chosen) if chosen else next(iter(rated))
        insight = _of_question(database().label, mark, replace(wanted, question_id=question_id))
        st.caption(t("insights.question_is", id=question_id))
        show_text(names[str(question_id)])
        for group in insight.groups[:MOST_GROUPS]:
            _draw_group(group, insight, wanted.scope == "reasoning")
        st.caption(t("insights.question_says"))


@st.cache_data(show_spinner=False, max_entries=200)
def _of_question(store: str, mark: str, wanted: RatingFilter) -> QuestionInsight:
    """Return what one question's ratings say as of ``mark``; the first two are for the cache."""
    with database().read() as session:
        return read_question(session, wanted)


def _draw_group(group: Group, insight: QuestionInsight, is_reasoning: bool) -> None:
    letter = "v" if is_reasoning else "a"
    if group.variant_id is not None:
        st.markdown(f"**{t('insights.under', id=group.variant_id)}**")
    if group.places:
        draw_dots(
            [
                Dot(
                    f"{letter}{place.name} · {one_line(insight.texts_by_id[int(place.name)], 40)}",
                    place.share,
                    place.n_comparisons,
                )
                for place in group.places
            ],
            t("insights.axis.share"),
            reference=0.5,
        )
    st.markdown(t(_about_the_set(group), n=group.n_texts, different=f"{group.n_different:.1f}"))
    if group.floor is not None:
        st.caption(t("insights.best_set_floor", floor=percent(group.floor, 1)))
    if group.unrated:
        st.caption(t("insights.best_set_unrated", n=len(group.unrated)))
    shares = {int(place.name): place.share.value for place in group.places}
    for column, text_id in zip(st.columns(max(1, len(group.best))), group.best, strict=False):
        with column:
            share = percent(shares[text_id], 1) if text_id in shares else "–"
            st.badge(f"{letter}{text_id} · {share}", color="blue")
            show_text(insight.texts_by_id[text_id])


def _about_the_set(group: Group) -> str:
    """Return the key of the sentence over the best set: whether what is in it is good."""
    if group.floor is None:
        return "insights.best_set_none"
    return "insights.best_set" if group.floor >= GOOD_ENOUGH else "insights.best_set_poor"


draw_insights()
