"""One round: its steps, the pause for approval, the comparison in plots, verdict and report."""

from collections.abc import Sequence
from typing import Final

import streamlit as st

from db.datasets import get_dataset
from db.errors import Q2QError
from db.jobs import JobRow, last_job
from db.models import get_model
from db.rating.columns import high_water
from db.rounds import STEPS, RoundRow, find_round, is_rejected, reject_round
from db.settings import settings
from db.texts.facets import facets_version
from db.training import run_curves
from training.datasets.balance import cautions, read_balance
from training.runs.prepare import plan_run
from workbench.rounds.comparison import (
    MEASURES,
    SHARES,
    Change,
    Comparison,
    Direction,
    compare_round,
)
from workbench.rounds.completions import OnePassOutput
from workbench.rounds.report import examples, round_page
from workbench.rounds.spec import parse_round
from workbench.rounds.start import queue_round, train_spec
from workbench.rounds.text import figure, measure_help, measure_label
from workbench.rounds.verdict import judge
from workbench.stats.intervals import MIN_QUESTIONS
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, download, errors_shown, page_link, trail
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import current_language, t, word
from workbench.ui.components.jobs import draw_cancel, draw_progress
from workbench.ui.components.live import live
from workbench.ui.components.parts import card, item_head, section
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, escaped_lines, show_text, told
from workbench.ui.datasets.dataset import draw_cautions, draw_counts
from workbench.ui.insights.charts import Dot, draw_dots
from workbench.ui.rounds.list import round_badge
from workbench.ui.rounds.verdict import draw_head_to_head, draw_verdict
from workbench.ui.training.curves import draw_loss
from workbench.ui.training.form import draw_plan

COLOURS: Final[dict[Direction, str]] = {
    "better": "green",
    "worse": "red",
    "moved": "gray",
    "open": "gray",
}
"""Of what a change says."""
MERGED = ("merge", "verify")
"""Steps of a round that merges."""
DONE, NOW, LATER = ":material/check_circle:", ":material/pending:", ":material/circle:"


def draw_round(round_id: int) -> None:
    """Draw the round, or say that there is none."""
    row = back_link(t("rounds.back"), lambda: url.clear("round"))
    found, job = _read(round_id)
    trail(row, found.name)
    live((found, job), lambda: _read(round_id), lambda now: _is_active(now[1]), _draw_head)
    _draw_products(found)
    if found.step == "approval" and not _is_active(job):
        _draw_approval(found)
    if found.step == "ended":
        _draw_comparison(found)


def _read(round_id: int) -> tuple[RoundRow, JobRow | None]:
    """Return the round and its last job, which tells how it goes on or why it stopped."""
    with database().read() as session:
        found = find_round(session, round_id)
        return found, last_job(session, "round", round_id=found.id)


def _is_active(job: JobRow | None) -> bool:
    return job is not None and job.is_active


def _draw_head(now: tuple[RoundRow, JobRow | None]) -> None:
    found, job = now
    with item_head("round", escaped(found.name)):
        round_badge(found)
        st.space("stretch")
        _draw_buttons(found, job)
    at = STEPS.index(found.step)
    steps = [step for step in STEPS[:-1] if found.config.get("merge", True) or step not in MERGED]
    with st.container(horizontal=True, gap="small"):
        for step in steps:
            place = STEPS.index(step)
            icon = DONE if place < at else NOW if place == at else LATER
            st.markdown(f"{icon} {t(f'rounds.step.{step}')}", width="content")
    if job is None:
        return
    if job.is_active:
        with card("round_progress"):
            if found.step in steps:
                st.markdown(f"**{_now(steps, found.step)}**")
            draw_progress(job)
            if found.step == "train":
                _draw_training(found)
    elif found.state == "failed" and job.error:
        st.error(told(job.error), icon=":material/error:")


def _now(steps: Sequence[str], step: str) -> str:
    """Return at which of its steps a round is, and which comes next."""
    place = steps.index(step) + 1
    values = {"place": place, "n": len(steps), "step": t(f"rounds.step.{step}")}
    if place == len(steps):
        return t("rounds.now_last", **values)
    return t("rounds.now", **values, next=t(f"rounds.step.{steps[place]}"))


def _draw_training(found: RoundRow) -> None:
    """Draw the curves of the loss so far; the run is known to the round once it is written."""
    with database().read() as session:
        run_id = find_round(session, found.id).training_run_id
        curves = run_curves(session, run_id, ("loss", "held_out_loss")) if run_id else {}
    draw_loss(curves)


def _draw_buttons(found: RoundRow, job: JobRow | None) -> None:
    if job is not None and job.is_active:
        draw_cancel(job)
        return
    if found.step == "ended":
        with database().read() as session:
            page = round_page(session, found.id, current_language())
        download(
            t("rounds.report"),
            page,
            f"round-{found.name}.html",
        )
        return
    if found.step == "approval":
        return  # asked for beside what is approved
    label = t("rounds.resume")
    if st.button(label, type="primary", icon=":material/play_arrow:"):
        with database().write() as session:
            queue_round(session, found.id, approved=found.step != "dataset")
        st.rerun()


def _draw_products(found: RoundRow) -> None:
    """Draw links to what the round made, both ways along its lineage."""
    with database().read() as session:
        starts = get_model(session, found.starts_from_id)
        made_id = found.merged_model_version_id
        made = get_model(session, made_id) if made_id is not None else None
    st.caption(t("rounds.starts_from", model=escaped(starts.name)))
    with st.container(horizontal=True, gap="small"):
        for page, name, value, label in (
            ("datasets", "dataset", found.dataset_id, t("training.dataset")),
            ("training", "run", found.training_run_id, t("nav.training")),
            ("sweeps", "sweep", found.sweep_id, t("rounds.sweep")),
        ):
            if value is not None:
                page_link(page, label, None, **{name: value})
        if made is not None:
            page_link("explore", escaped(made.name), "account_tree", id=f"m{made.id}")


def _draw_approval(found: RoundRow) -> None:
    """Draw what is approved, and both answers; of a rejected round the reason."""
    with card("round_approval"):
        section(t("rounds.approval"), t("rounds.approve_help"))
        if is_rejected(found):
            reason = escaped_lines(found.reason or "")
            st.error(t("rounds.rejected_because", reason=reason), icon=":material/block:")
        _draw_dataset(found)
        _draw_takes(found)
        label = "rounds.approve_after_all" if is_rejected(found) else "rounds.approve"
        if st.button(t(label), type="primary", icon=":material/play_arrow:"):
            with database().write() as session:
                queue_round(session, found.id, approved=True)
            st.rerun()
        if not is_rejected(found):
            _draw_rejection(found)


def _draw_dataset(found: RoundRow) -> None:
    if found.dataset_id is None:
        return
    with database().read() as session:
        dataset = get_dataset(session, found.dataset_id)
        balance = read_balance(session, dataset)
    page_link("datasets", t("rounds.open_dataset"), "dataset", dataset=dataset.id, view="rows")
    draw_counts(dataset.counts, "approval", is_frozen=True)
    draw_cautions(cautions(balance))


def _draw_takes(found: RoundRow) -> None:
    """Say what the training will take; a base that is still to be made again is left out."""
    if found.dataset_id is None:
        return
    with database().read() as session:
        base = get_model(session, found.starts_from_id)
        dataset = get_dataset(session, found.dataset_id)
    if base.state != "ready":
        return
    try:
        settings_of = parse_round(found.config).train
        spec = train_spec(found.name, settings_of, dataset=dataset.name, base=base.name)
        draw_plan(spec, plan_run(database(), settings(), spec))
    except Q2QError as error:
        st.caption(told(error))


def _draw_rejection(found: RoundRow) -> None:
    with st.expander(t("rounds.reject_title"), icon=":material/block:"):
        draft = FormDraft(f"round-{found.id}-rejection")
        label = t("rounds.reject_reason")
        reason = st.text_area(label, key=draft.field("reason", ""), max_chars=2_000)
        if st.button(t("rounds.reject"), disabled=not (reason or "").strip()):
            with errors_shown():
                with database().write() as session:
                    reject_round(session, found.id, reason or "")
                draft.forget()
                st.rerun()


def _draw_comparison(found: RoundRow) -> None:
    with database().read() as session:
        mark = f"{high_water(session)}/{facets_version(session)}"
    comparison = _computed(database().label, found.id, mark, found)
    draw_verdict(found, judge(found, comparison), comparison)
    section(t("rounds.comparison"), t("rounds.comparison_help"))
    st.caption(
        t(
            "rounds.asked",
            n=comparison.n_questions,
            unanswerable=comparison.n_unanswerable,
            formats=", ".join(comparison.formats),
        )
    )
    if comparison.n_questions < MIN_QUESTIONS:
        st.caption(t("rounds.few"))
    _draw_measures(comparison)
    _draw_languages(comparison)
    draw_head_to_head(found, comparison.duels)
    _draw_examples(comparison)


def _draw_examples(comparison: Comparison) -> None:
    """Draw what the models wrote for the same questions, beside one another, as the report does."""
    with database().read() as session:
        found = examples(session, comparison)
    section(t("round_report.texts"), t("rounds.texts_help", n=len(found)))
    for example in found:
        with card(f"example_{example.question_id}"):
            show_text(example.question)
            if example.reference:
                st.caption(t("round_report.reference", text=escaped_lines(example.reference)))
            columns = st.columns(len(example.texts))
            for column, (model, one) in zip(columns, example.texts, strict=True):
                with column:
                    _draw_output(model, one)


def _draw_output(model: str, one: OnePassOutput) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        st.markdown(f"**{escaped(model)}**", width="content")
        if one.problem:
            st.badge(escaped(one.problem), color="orange")
        if one.correct is not None:
            name = "correct" if one.correct else "incorrect"
            st.badge(t(f"grade.{name}"), color="green" if one.correct else "red")
    for key, text in (("reasoning", one.reasoning), ("answer", one.response)):
        if text:
            st.caption(t(f"rounds.texts.{key}"))
            show_text(text)


@st.cache_data(show_spinner=False, max_entries=16)
def _computed(label: str, round_id: int, mark: str, _found: RoundRow) -> Comparison:
    """Return the comparison; all but the round are for the cache."""
    with database().read() as session:
        return compare_round(session, _found)


def _draw_measures(comparison: Comparison) -> None:
    columns = st.columns(2)
    place = 0
    for measure in MEASURES:
        dots = [
            Dot(model.model, figure.found, figure.n_questions)
            for model in comparison.models
            for figure in model.figures
            if figure.measure == measure
        ]
        if not dots or all(dot.found.value == 0 for dot in dots):
            continue
        if place % 2 == 0:  # a row at a time: on a narrow screen the order stays
            columns = st.columns(2)
        with columns[place % 2], card(f"measure_{measure}", gap="xsmall"):
            language = current_language()
            label, help = measure_label(measure, language), measure_help(measure, language)
            st.markdown(f"**{label}**", help=help)
            form = ".0%" if measure in SHARES else ".2f"
            draw_dots(dots, "", reference=None, form=form)
            for model in comparison.models[1:]:
                _draw_change(comparison, model.model_id, measure)
        place += 1


def _draw_change(comparison: Comparison, model_id: int, measure: str) -> None:
    model = next(one for one in comparison.models if one.model_id == model_id)
    change = next((one for one in model.changes if one.measure == measure), None)
    if change is not None:
        st.markdown(_change_text(change))


def _change_text(change: Change) -> str:
    """Return a change with its interval and what that says, coloured where it is sure."""
    value = figure(change.found, change.measure, signed=True)
    text = t("rounds.change", value=value, n=change.n_questions)
    direction = change.direction
    return f":{COLOURS[direction]}[{text} · {t(f'rounds.change_{direction}')}]"


def _draw_languages(comparison: Comparison) -> None:
    dots = [
        Dot(f"{model.model} · {word('language', one.language)}", one.found, one.n_questions)
        for model in comparison.models
        for one in model.well_formed_by_language
    ]
    with card("languages"):
        section(t("rounds.by_language"))
        draw_dots(dots, "", reference=None)
        for model in comparison.models[1:]:
            for one in model.well_formed_by_language:
                if one.change is not None:
                    name = f"{escaped(model.model)} · {word('language', one.language)}"
                    st.markdown(f"{name}: {_change_text(one.change)}")
