"""The verdict of a round: its reason, each measure that decides, and what people decide instead."""

from dataclasses import asdict
from typing import cast

import streamlit as st

from db.errors import Q2QError
from db.rounds import VERDICTS, RoundRow, Verdict, decide_round
from workbench.rounds.judging import MISSING_TEXTS, is_outdated, judge_again
from workbench.rounds.verdict import Proposal
from workbench.rounds.verdict_text import said, settled_lines
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import current_language, t, word
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, escaped_lines


def draw_verdict(found: RoundRow, now: Proposal | None) -> None:
    """Draw the verdict that the round bears, and what its figures speak for now.

    Args:
        found: A round that has ended.
        now: By the ratings that there are now; None where its model is not compared.
    """
    with card("verdict"):
        section(t("rounds.verdict"))
        told = said(found.findings, current_language()) if found.findings else found.reason or ""
        st.markdown(escaped_lines(told))
        for kind in MISSING_TEXTS:
            for why in (found.findings or {}).get(kind, ()):
                st.caption(t(f"rounds.{kind}", why=escaped_lines(why)))
        if now is not None and is_outdated(found, now):
            _draw_now(found, now)
        if now is not None:
            _draw_settled(now)
        _draw_decision(found)


def _draw_now(found: RoundRow, now: Proposal) -> None:
    told = escaped_lines(said(now.findings, current_language()))
    st.info(t("rounds.figures_now", verdict=word("verdict", now.verdict), reason=told))
    if st.button(t("rounds.take_figures"), icon=":material/refresh:"):
        try:
            with database().write() as session:
                judge_again(session, found)
        except Q2QError as error:
            st.error(escaped(str(error)))
            return
        st.rerun()


def _draw_settled(now: Proposal) -> None:
    lines = settled_lines(now.findings, current_language())
    if not lines:
        return
    st.markdown(f"**{t('settled.title')}**")
    with st.container(key="settled"):
        # A table that wraps: on a narrow screen its last columns must not be out of sight.
        st.table(
            [
                {t(f"settled.{name}"): escaped(told) for name, told in asdict(line).items()}
                for line in lines
            ],
            hide_index=True,
        )
    st.caption(t("settled.help"))


def _draw_decision(found: RoundRow) -> None:
    with st.expander(t("rounds.decide"), icon=":material/gavel:"):
        draft = FormDraft(f"round-{found.id}-decision")
        before = found.verdict if found.verdict in VERDICTS else None
        verdict = st.segmented_control(
            t("rounds.verdict"),
            VERDICTS,
            key=draft.field("verdict", before, (None, *VERDICTS)),
            format_func=lambda one: word("verdict", one),
        )
        reason = st.text_area(t("rounds.reason"), key=draft.field("reason", ""), max_chars=2_000)
        if st.button(t("rounds.save_decision"), disabled=not (verdict and reason)):
            try:
                with database().write() as session:
                    decide_round(session, found.id, cast(Verdict, verdict), reason or "")
            except Q2QError as error:
                st.error(escaped(str(error)))
                return
            draft.forget()
            st.rerun()
