"""One question in Insights: the ranking of its texts, and the best set of them."""

from dataclasses import replace

import streamlit as st

from db.questions import get_questions
from db.rating.columns import RatingFilter
from workbench.analysis.diversity import GOOD_ENOUGH
from workbench.analysis.insights import Insights, QuestionInsight, read_question
from workbench.analysis.spread import Group
from workbench.ui.components import url
from workbench.ui.components.i18n import t
from workbench.ui.components.numbers import percent
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.components.text import one_line, show_text
from workbench.ui.insights.charts import Dot, draw_dots

MOST_GROUPS = 5
"""Reasonings whose answers are ranked, those with the most rated answers."""


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
        told = _computed(database().label, mark, replace(wanted, question_id=question_id))
        st.caption(t("insights.question_is", id=question_id))
        show_text(names[str(question_id)])
        for group in told.groups[:MOST_GROUPS]:
            _draw_group(group, told, wanted.scope == "reasoning")
        st.caption(t("insights.question_says"))


@st.cache_data(show_spinner=False, max_entries=200)
def _computed(store: str, mark: str, wanted: RatingFilter) -> QuestionInsight:
    """Return what one question's ratings say as of ``mark``; the first two are for the cache."""
    with database().read() as session:
        return read_question(session, wanted)


def _draw_group(group: Group, told: QuestionInsight, is_reasoning: bool) -> None:
    letter = "v" if is_reasoning else "a"
    if group.variant_id is not None:
        st.markdown(f"**{t('insights.under', id=group.variant_id)}**")
    if group.places:
        draw_dots(
            [
                Dot(
                    f"{letter}{place.name} · {one_line(told.words[int(place.name)], 40)}",
                    place.share,
                    place.n_comparisons,
                )
                for place in group.places
            ],
            t("insights.axis.share"),
            neutral=0.5,
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
            show_text(told.words[text_id])


def _about_the_set(group: Group) -> str:
    """Return the key of the sentence over the best set: whether what is in it is good."""
    if group.floor is None:
        return "insights.best_set_none"
    return "insights.best_set" if group.floor >= GOOD_ENOUGH else "insights.best_set_poor"
