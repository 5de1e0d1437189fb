"""How far a model is from its 16-bit weights where it is served in another precision."""

import streamlit as st

from db.identity import AS_STORED, WHEN_LOADED
from db.models import ModelRow
from workbench.precision.spec import CompareSpec
from workbench.precision.store import ComparisonRow, comparisons_of, queue_comparison, span
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import ago, count
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database, registry


def draw_precisions(model: ModelRow, *, can_start: bool) -> None:
    """Draw the newest comparison in each precision, and start another one.

    Args:
        model: A version as it is stored, or as it is served.
        can_start: No job is at it.
    """
    with database().read() as session:
        found = comparisons_of(session, model.stored_id or model.id)
    can_ask = model.stored_id is None and model.precision == AS_STORED and model.kind != "declared"
    if model.stored_id is not None:
        found = [one for one in found if one.model == model.name]
    if not found and not can_ask:
        return
    with card("precisions"):
        section(t("precisions.title"), t("precisions.help"))
        for one in found:
            _draw(one)
        if can_ask and can_start:
            _draw_start(model)


def _draw(one: ComparisonRow) -> None:
    result = one.result
    figures = {
        "kl": span(result["kl"], ".2g"),
        "same_top": span(result["same_top"], ".1%"),
        "identical": span(result["identical"], ".0%"),
        "prefix": f"{span(result['prefix'], '.0f')} / {result['length']:.0f}",
    }
    with st.container(gap="xsmall", key=f"precision_{one.precision}"):
        st.markdown(f"**{word('precision', one.precision)}**")
        for name, value in figures.items():
            label, hint = t(f"precisions.{name}"), t(f"precisions.{name}_help")
            st.markdown(f":gray[{label}] {value}", help=hint)
        questions, tokens = count(result["n_questions"]), count(result["n_tokens"])
        rest = f"{result['rest']:.1%}"
        line = t("precisions.from", questions=questions, tokens=tokens, rest=rest)
        st.caption(f"{line} · {ago(one.created_at)}")


def _draw_start(model: ModelRow) -> None:
    with st.popover(t("precisions.start"), icon=":material/compare_arrows:"):
        st.markdown(t("precisions.start_help"))
        chosen = st.pills(
            t("precisions.which"),
            WHEN_LOADED,
            default=[WHEN_LOADED[0]],
            selection_mode="multi",
            format_func=lambda one: word("precision", one),
        )
        n = st.number_input(t("precisions.questions"), 2, 10_000, 100, 10)
        if st.button(t("precisions.run"), type="primary", disabled=not chosen):
            spec = CompareSpec(model=model.name, precisions=tuple(chosen), questions=int(n))
            with errors_shown():
                known = registry()
                with database().write() as session:
                    queue_comparison(session, known, spec)
                st.rerun()
