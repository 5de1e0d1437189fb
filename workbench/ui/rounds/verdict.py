"""The verdict of a round: what its figures say, what people decide, and blind comparisons."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import streamlit as st

from db.rating.queues import QueueRow, list_queues
from db.rounds import VERDICTS, RoundRow, Verdict, decide_round
from workbench.i18n import has
from workbench.rating.head_to_head import head_to_head_spec, opponents
from workbench.rating.queues import build_queue, save_queue
from workbench.rounds.comparison import Comparison
from workbench.rounds.head_to_head import HeadToHead
from workbench.rounds.text import (
    SettledLine,
    WinLine,
    figures_of,
    outcome,
    raters_of,
    settled_lines,
    verdict_reason,
    win_lines,
)
from workbench.rounds.verdict import MISSING_TEXTS, VerdictProposal, is_outdated, judge_again
from workbench.ui.components.controls import errors_shown, page_link, path_of
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import current_language, t, word
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, escaped_lines
from workbench.ui.insights.charts import Dot, draw_dots


def draw_verdict(found: RoundRow, now: VerdictProposal | None, comparison: Comparison) -> None:
    """Draw the verdict that the round bears, what its figures speak for now, and their counts.

    Args:
        found: A round that has ended.
        now: By the ratings that there are now; None where its model is not compared.
        comparison: Of its models.
    """
    with card("verdict"):
        section(t("rounds.verdict"))
        text = (
            verdict_reason(found.findings, current_language())
            if found.findings
            else found.reason or ""
        )
        st.markdown(escaped_lines(text))
        for kind in MISSING_TEXTS:
            for why in (found.findings or {}).get(kind, ()):
                st.caption(t(f"rounds.{kind}", why=escaped_lines(why)))
        if now is not None and is_outdated(found, now):
            _draw_now(found, now)
        _draw_wins(comparison, found.merged_model_version_id)
        if now is not None:
            _draw_settled(now)
        _draw_decision(found)


def _draw_now(found: RoundRow, now: VerdictProposal) -> None:
    text = escaped_lines(verdict_reason(now.findings, current_language()))
    st.info(t("rounds.figures_now", verdict=word("verdict", now.verdict), reason=text))
    if st.button(t("rounds.take_figures"), icon=":material/refresh:"):
        with errors_shown():
            with database().write() as session:
                judge_again(session, found)
            st.rerun()


def _draw_wins(comparison: Comparison, model_id: int | None) -> None:
    lines = win_lines(comparison, model_id, current_language())
    if lines:
        title = t("wins.title", first=escaped(comparison.models[0].model))
        _draw_lines("wins", title, lines)


def _draw_lines(key: str, title: str, lines: Sequence[WinLine | SettledLine]) -> None:
    """Draw a table that wraps: on a narrow screen its last columns must not be out of sight."""
    st.markdown(f"**{title}**")
    with st.container(key=f"settled_{key}"):
        st.table(
            [
                {t(f"{key}.{name}"): escaped(text) for name, text in asdict(line).items()}
                for line in lines
            ],
            hide_index=True,
        )
    st.caption(t(f"{key}.help"))


def _draw_settled(now: VerdictProposal) -> None:
    lines = settled_lines(now.findings, current_language())
    if lines:
        _draw_lines("settled", t("settled.title"), lines)


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
            with errors_shown():
                with database().write() as session:
                    decide_round(session, found.id, cast(Verdict, verdict), reason or "")
                draft.forget()
                st.rerun()


def draw_head_to_head(found: RoundRow, duels: Sequence[HeadToHead]) -> None:
    """Draw the results, links to the queues that there are, and the start of a new one."""
    with card("duels"):
        section(t("duel.title"), t("duel.lead"))
        if duels:
            _draw_results(duels)
        else:
            st.caption(t("duel.none"))
        with database().read() as session:
            known = opponents(session, found)
            queues = [one for one in list_queues(session) if one.spec.get("round") == found.id]
        for queue in queues:
            label = t("duel.go_on", name=escaped(queue.name), total=queue.n_items)
            page_link("rating", label, "play_arrow", queue=queue.id)
        if known:
            _draw_start(found, known, queues)


def _draw_results(duels: Sequence[HeadToHead]) -> None:
    dots = []
    for duel in duels:
        raters = raters_of(duel, current_language())
        row = t("duel.row", raters=raters, model=duel.model, against=duel.against)
        dots.append(Dot(row, duel.points, duel.n_judgements))
        dots += [
            Dot(f"{raters} · {t('duel.rater', n=place)}", one, duel.n_questions)
            for place, one in enumerate(duel.by_rater, 1)
        ]
    draw_dots(dots, t("duel.points"), reference=0.5)
    for duel in duels:
        st.markdown(escaped_lines(outcome(duel, current_language())))
        if duel.is_for_these_raters:
            st.caption(t("duel.these_raters"))
        st.caption(escaped_lines(figures_of(duel, current_language())))


def _draw_start(found: RoundRow, known: dict[int, str], queues: Sequence[QueueRow]) -> None:
    against = next(iter(known.values()))
    if len(known) > 1:
        against = st.selectbox(t("duel.against"), list(known.values()), width=320)
    icon = ":material/visibility_off:"
    if not st.button(t("duel.start"), icon=icon, type="secondary" if queues else "primary"):
        return
    queue_id = None
    with errors_shown():
        with database().write() as session:
            built = build_queue(session, head_to_head_spec(session, found.id, against))
            if built.items:
                queue_id = save_queue(session, built)
        if queue_id is not None:
            st.switch_page(path_of("rating"), query_params={"queue": str(queue_id)})
        st.info(t("duel.nothing"))
        for reason, n in built.left_out.items():
            own = f"rate.why.{reason}"
            why = t(own) if has(own) else word("check", reason)
            st.caption(t("rate.left_out", n=n, why=why))
