"""Blind comparisons of a round's models: what raters said, and where to go on."""

from collections.abc import Sequence

import streamlit as st

from db.errors import Q2QError
from db.rating.queues import QueueRow, list_queues
from db.rounds import RoundRow
from workbench.analysis.duels import Duel
from workbench.rating.building import build_queue, save_queue
from workbench.rating.duels import duel_spec, opponents
from workbench.rounds.duel_text import figures_of, outcome, raters_of
from workbench.ui.components.i18n import current_language, has, t, word
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, escaped_lines
from workbench.ui.insights.charts import Dot, draw_dots

PAGE = "ui/rating/page.py"


def draw_duels(found: RoundRow, duels: Sequence[Duel]) -> None:
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
            st.page_link(
                PAGE,
                label=t("duel.go_on", name=escaped(queue.name), total=queue.n_items),
                icon=":material/play_arrow:",
                query_params={"queue": str(queue.id)},
            )
        if known:
            _draw_start(found, known, queues)


def _draw_results(duels: Sequence[Duel]) -> None:
    dots = []
    for duel in duels:
        raters = raters_of(duel, current_language())
        row = t("duel.row", raters=raters, model=duel.model, against=duel.against)
        dots.append(Dot(row, duel.points, duel.n_judgements))
        dots += [
            Dot(f"{raters} · {t('duel.rater', n=place)}", one, duel.n_questions)
            for place, one in enumerate(duel.by_rater, 1)
        ]
    draw_dots(dots, t("duel.points"), neutral=0.5)
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
    try:
        with database().write() as session:
            built = build_queue(session, duel_spec(session, found.id, against))
            if built.items:
                queue_id = save_queue(session, built)
    except Q2QError as error:
        st.error(escaped(str(error)))
        return
    if queue_id is not None:
        st.switch_page(PAGE, query_params={"queue": str(queue_id)})
    st.info(t("duel.nothing"))
    for reason, n in built.left_out.items():
        own = f"rate.why.{reason}"
        why = t(own) if has(own) else word("check", reason)
        st.caption(t("rate.left_out", n=n, why=why))
