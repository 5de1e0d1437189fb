"""The figures of Insights, each with one sentence: what it shows, and when not to trust it."""

from collections.abc import Sequence

import streamlit as st

from workbench.insights.diversity import LevelDiversity
from workbench.insights.effects import Effects
from workbench.insights.ranking import Ranking
from workbench.insights.report import Insights
from workbench.stats.clustered import MIN_RATERS
from workbench.stats.comparisons import SAMPLING_FACTORS
from workbench.stats.intervals import MIN_QUESTIONS, Estimate
from workbench.ui.components import url
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import axis_label, percent
from workbench.ui.components.parts import card, section
from workbench.ui.components.text import escaped
from workbench.ui.insights.charts import (
    Dot,
    draw_days,
    draw_dots,
    draw_scatter,
    draw_win_chances,
)

LEVEL_TEXTS = ("mode", "source", "precision")
"""Factors whose levels have words of their own in the catalogue."""


def draw_rankings(found: Insights) -> None:
    """Draw the ranking of the levels of each factor."""
    with card("insights_rankings"):
        section(t("insights.rankings"))
        if not found.rankings:
            st.caption(t("insights.rankings_none"))
            return
        for ranking in found.rankings:
            _ranking(found, ranking)


def _ranking(found: Insights, ranking: Ranking) -> None:
    st.markdown(f"**{t(f'insights.factor.{ranking.factor}')}**")
    dots = [
        Dot(
            _level(ranking.factor, place.name),
            place.share,
            place.n_comparisons,
            tuple(
                (found.raters[own.rater_id], alone.share)
                for own in ranking.by_rater
                for alone in own.places
                if alone.name == place.name
            ),
        )
        for place in ranking.places
    ]
    draw_dots(dots, t("insights.axis.share"), reference=0.5)
    st.caption(t("insights.rankings_says", n=ranking.n_comparisons, questions=ranking.n_questions))
    _draw_raters(ranking.n_raters)
    if ranking.twice_as_long:
        st.caption(t("insights.twice_as_long", share=_span(ranking.twice_as_long)))
    _warn_small_sample(ranking.n_questions)
    if len(ranking.places) > 2:
        levels = [_level(ranking.factor, place.name) for place in ranking.places]
        rows = [
            (
                _level(ranking.factor, one.better),
                _level(ranking.factor, one.other),
                one.share,
                one.n_comparisons,
            )
            for one in ranking.win_chances
        ]
        draw_win_chances(levels, rows)
        st.caption(t("insights.win_chances_says"))
    else:
        for one in ranking.win_chances:
            st.caption(
                t(
                    "insights.win_chance",
                    better=escaped(_level(ranking.factor, one.better)),
                    other=escaped(_level(ranking.factor, one.other)),
                    share=_span(one.share),
                )
            )
    if ranking.apart:
        names = ", ".join(escaped(_level(ranking.factor, name)) for name in ranking.apart)
        st.caption(t("insights.apart", names=names))


def draw_effects(found: Insights) -> None:
    """Draw the main effects on comparisons, or on the axis that is chosen."""
    with card("insights_effects"):
        section(t("insights.effects"))
        if not found.effects:
            st.caption(t("insights.effects_none"))
            return
        shown = _one_axis(found.effects)
        by_choice = shown.axis == "preference"
        dots = [
            Dot(
                f"{t(f'insights.factor.{one.factor}')}: {_level(one.factor, one.level)}",
                one.change,
                shown.n,
                tuple(
                    (found.raters[own.rater_id], alone.change)
                    for own in shown.by_rater
                    for alone in own.effects
                    if (alone.factor, alone.level) == (one.factor, one.level)
                ),
            )
            for one in shown.effects
        ]
        title = t("insights.axis.change" if by_choice else "insights.axis.points")
        draw_dots(dots, title, reference=0.0, form="+.0%" if by_choice else "+.2f")
        st.caption(t("insights.effects_says", n=shown.n, questions=shown.n_questions))
        _draw_raters(shown.n_raters)
        if shown.twice_as_long:
            gain = _change(shown.twice_as_long, by_choice=by_choice)
            st.caption(t("insights.twice_as_long_adds", change=gain))
        _warn_small_sample(shown.n_questions)
        if shown.entangled:
            names = ", ".join(t(f"insights.factor.{name}") for name in shown.entangled)
            st.caption(t("insights.entangled", names=names))


def _one_axis(effects: Sequence[Effects]) -> Effects:
    by_axis = {one.axis: one for one in effects}
    if len(by_axis) == 1:
        return effects[0]
    axis = url.segments("axis", t("insights.effects"), list(by_axis), _axis)
    return by_axis[axis]


def draw_agreement(found: Insights) -> None:
    """Draw how far raters agree with each other and with themselves."""
    with card("insights_agreement"):
        section(t("insights.agreement"))
        rows = [(_axis(one.axis), one) for one in found.between_raters]
        if found.with_oneself:
            rows.append((t("insights.oneself"), found.with_oneself))
        if not rows:
            st.caption(t("insights.agreement_none"))
            return
        dots = [Dot(name, one.alpha, one.n_units) for name, one in rows if one.alpha]
        if dots:
            draw_dots(dots, t("insights.axis.alpha"), reference=0.0, form=".2f")
        if unanimous := ", ".join(escaped(name) for name, one in rows if not one.alpha):
            st.caption(t("insights.no_alpha", names=unanimous))
        same = [t("insights.same", name=escaped(name), same=_span(one.same)) for name, one in rows]
        st.caption(" ".join([t("insights.agreement_says"), *same]))
        _draw_raters(min(one.n_raters for _, one in rows), are_drawn=False)
        _warn_small_sample(min(one.n_questions for _, one in rows))


def draw_bias(found: Insights) -> None:
    """Draw how often the left text and the longer text won."""
    left, right = st.columns(2)
    with left, card("insights_position"):
        section(t("insights.position"))
        if found.position:
            dots = [Dot(_rater(found, one.name), one.share, one.n) for one in found.position]
            draw_dots(dots, t("insights.axis.left"), reference=0.5)
            st.caption(t("insights.position_says"))
            _draw_raters(found.position[0].n_raters, are_drawn=False)
        else:
            st.caption(t("insights.no_comparisons"))
    with right, card("insights_length"):
        section(t("insights.length"))
        if found.length:
            dots = [Dot(_times_longer(one.name), one.share, one.n) for one in found.length]
            draw_dots(dots, t("insights.axis.longer"), reference=0.5)
            st.caption(t("insights.length_says"))
            _draw_raters(found.length[0].n_raters, are_drawn=False)
        else:
            st.caption(t("insights.no_comparisons"))


def draw_work(found: Insights) -> None:
    """Draw the time that a card takes each rater, and the cards rated by day."""
    left, right = st.columns(2)
    with left, card("insights_times"):
        section(t("insights.times"))
        if found.times:
            dots = [
                Dot(
                    found.raters[one.rater_id],
                    Estimate(one.median, one.quarter, one.three_quarters),
                    one.n,
                )
                for one in found.times
            ]
            draw_dots(dots, t("insights.axis.seconds"), reference=None, form=".1f")
            st.caption(t("insights.times_says"))
        else:
            st.caption(t("insights.times_none"))
    with right, card("insights_days"):
        section(t("insights.days"))
        days = [(day, found.raters[rater], n) for day, rater, n in found.days]
        draw_days(days, t("insights.axis.cards"))
        counts = found.counts
        st.caption(t("insights.days_says", done=counts.cards_rated, planned=counts.cards_planned))


def draw_diversity(found: Insights) -> None:
    """Draw how different the texts of each level are, beside how good they are."""
    with card("insights_spread"):
        section(t("insights.spread"))
        if found.spread is None:
            st.caption(t("insights.spread_none"))
            return
        st.markdown(
            t(
                "insights.different",
                texts=f"{found.spread.texts.value:.1f}",
                different=f"{found.spread.different.value:.1f}",
                n=found.spread.n_questions,
            )
        )
        by_factor: dict[str, list[LevelDiversity]] = {}
        for level in found.spread.levels:
            by_factor.setdefault(level.factor, []).append(level)
        for factor, levels in by_factor.items():
            st.markdown(f"**{t(f'insights.factor.{factor}')}**")
            draw_scatter(
                [(_level(factor, one.level), one.difference, one.quality) for one in levels],
                t("insights.axis.difference"),
                t("insights.axis.quality"),
            )
        st.caption(t("insights.spread_says" if by_factor else "insights.spread_says_texts"))


def _draw_raters(n_raters: int, *, are_drawn: bool = True) -> None:
    """Say that figures are of few raters; ``are_drawn``: each of them has a mark of its own."""
    if n_raters == 1:
        st.caption(t("insights.this_rater"))
    elif n_raters < MIN_RATERS:
        key = "insights.these_raters" if are_drawn else "insights.these_raters_pooled"
        st.caption(t(key, n=n_raters))


def _change(found: Estimate, *, by_choice: bool) -> str:
    form = "+.0%" if by_choice else "+.2f"
    if found.low is None or found.high is None:
        return f"{found.value:{form}}"
    return f"{found.value:{form}} ({found.low:{form}} – {found.high:{form}})"


def _warn_small_sample(n_questions: int) -> None:
    if n_questions < MIN_QUESTIONS:
        st.caption(f":material/warning: {t('insights.few', n=n_questions)}")


def _level(factor: str, level: str) -> str:
    if factor in SAMPLING_FACTORS:
        return level.removeprefix(f"{factor} ")
    return word(factor, level) if factor in LEVEL_TEXTS else level


def _axis(axis: str) -> str:
    return axis_label(axis, "insights.on")


def _rater(found: Insights, name: str) -> str:
    return t("insights.all_raters") if name == "all" else found.raters[int(name)]


def _times_longer(name: str) -> str:
    return t("insights.all_lengths") if name == "all" else t("insights.times_longer", n=name)


def _span(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return percent(found.value, 1)
    return f"{percent(found.value, 1)} ({percent(found.low, 1)} – {percent(found.high, 1)})"
