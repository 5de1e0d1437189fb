"""A question's reasonings side by side, each with its answers, its findings and its origin."""

from collections.abc import Sequence

import streamlit as st

from db.texts.cards import QuestionCard, VariantCard
from db.texts.rows import TextRow
from workbench.ui.components.how_panel import how_button
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card, check_badges
from workbench.ui.components.text import escaped, show_text

PER_ROW = 3
MOST_VARIANTS = 9
MOST_ANSWERS = 6
MOST_CHARACTERS = 6_000
"""Drawn of one text on a card; its panel shows more."""


def draw_texts(found: QuestionCard) -> None:
    """Draw all texts of a question; more than a few reasonings are left to the table."""
    shown = found.variants[:MOST_VARIANTS]
    if found.without_reasoning:
        with card("plain"):
            st.markdown(f"**{t('results.plain')}**")
            _draw_answers(found.without_reasoning)
    for start in range(0, len(shown), PER_ROW):
        row = shown[start : start + PER_ROW]
        columns = st.columns(min(PER_ROW, max(len(row), min(len(shown), PER_ROW))))
        for offset, (column, variant) in enumerate(zip(columns, row, strict=False)):
            with column:
                _draw_variant(start + offset + 1, variant)
    if found.n_variants > len(shown):
        st.caption(t("results.more_variants", n=found.n_variants - len(shown)))


def _draw_variant(number: int, variant: VariantCard) -> None:
    row = variant.variant
    with card(f"variant_{row.id}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown(f"**{t('results.reasoning', i=number)}**", width="content")
            st.space("stretch")
            how_button(row.ref)
        st.caption(_level(row))
        with st.container(key=f"reasoning_{row.id}"):
            show_text(row.text, most=MOST_CHARACTERS)
        check_badges([(name, None) for name in row.flags])
        _draw_answers(variant.answers, _level(row))


def _draw_answers(answers: Sequence[TextRow], known_level: str = "") -> None:
    """Draw answers; what they were made with is said only where it differs from the reasoning."""
    if not answers:
        st.caption(t("results.no_answers"))
    for number, answer in enumerate(answers[:MOST_ANSWERS], start=1):
        with st.container(key=f"answer_{answer.id}", gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
                level = _level(answer)
                name = t("results.answer", i=number)
                said = name if level == known_level else f"{name} · {level}"
                st.caption(said, width="content")
                st.space("stretch")
                how_button(answer.ref)
            show_text(answer.text, most=MOST_CHARACTERS)
            if answer.flags:
                check_badges([(name, None) for name in answer.flags])


def _level(row: TextRow) -> str:
    """Return in a few words what a text was made with."""
    parts = [escaped(row.model)] if row.model else [word("source", row.source)]
    if row.sampling and "temperature" in row.sampling:
        parts.append(f"{t('sampling.temperature')} {row.sampling['temperature']:g}")
    return " · ".join(parts)
