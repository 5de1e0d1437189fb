"""A question's texts as cards, and the panel that tells how one of them came to be."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

import streamlit as st

from db.questions import QuestionRow
from db.texts.cards import QuestionCard, VariantCard
from db.texts.grades import GradeRow, read_grades
from db.texts.provenance import Provenance, provenance
from db.texts.rows import TextRow
from workbench.ui.components.answer_check import check_label
from workbench.ui.components.controls import download, errors_shown, page_link
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.labels import count, duration
from workbench.ui.components.parts import card, check_badges
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, show_text

PER_ROW = 3
STEP_VARIANTS = 9
STEP_ANSWERS = 6
"""Drawn at first; a press shows so many more."""
MOST_CHARACTERS = 6_000
"""Drawn of one text on a card; its panel shows more."""
OPEN = "panel_open"
CLOSED = "panels_closed"
SHOWN_DIGITS = 23
"""Of a fingerprint; the download has all."""


def draw_texts(found: QuestionCard) -> None:
    """Draw the texts of a question, a few at first; those that one card can't hold have a link."""
    key = f"more_variants_{found.question.id}"
    shown = found.variants[: _most(key, STEP_VARIANTS)]
    if found.without_reasoning:
        with card("plain"):
            st.markdown(f"**{t('results.plain')}**")
            _draw_answers(found.without_reasoning, f"q{found.question.id}")
    for start in range(0, len(shown), PER_ROW):
        row = shown[start : start + PER_ROW]
        columns = st.columns(min(PER_ROW, max(len(row), min(len(shown), PER_ROW))))
        for offset, (column, variant) in enumerate(zip(columns, row, strict=False)):
            with column:
                _draw_variant(start + offset + 1, variant)
    _draw_more(key, STEP_VARIANTS, len(found.variants) - len(shown), "reasonings")
    if len(shown) == len(found.variants) < found.n_variants:
        n = counted("reasonings", found.n_variants)
        page_link("explore", t("results.all_texts", n=n), "travel_explore", id=found.question.ref)


def _most(key: str, step: int) -> int:
    return int(st.session_state.get(key, step))


def _draw_more(key: str, step: int, n_left: int, noun: str) -> None:
    """Draw the button that shows what is left of a list, a step at a time."""
    if n_left > 0:
        st.button(
            t("results.more", n=counted(noun, n_left)),
            key=f"button_{key}",
            icon=":material/expand_more:",
            type="tertiary",
            on_click=_show_more,
            args=(key, step),
        )


def _show_more(key: str, step: int) -> None:
    st.session_state[key] = _most(key, step) + step


def draw_reference(question: QuestionRow) -> None:
    """Draw the reference answer of a question, and how answers are compared with it."""
    if not question.reference_answer:
        return
    st.caption(t("question.reference"))
    with st.container(key=f"reference_{question.id}"):
        show_text(question.reference_answer)
    if question.answer_check:
        st.caption(t("question.check", check=escaped(check_label(question.answer_check))))


def draw_grade(grade: GradeRow) -> None:
    """Draw whether an answer is correct, and what of it was read."""
    name = {True: "correct", False: "incorrect", None: "ungradable"}[grade.correct]
    icon, colour = _GRADES[name]
    st.badge(
        t(f"grade.{name}"),
        icon=f":material/{icon}:",
        color=colour,
        help=escaped(t("grade.read", found=grade.found)),
    )


_GRADES: Final[dict[str, tuple[str, Literal["green", "red", "gray"]]]] = {
    "correct": ("check_circle", "green"),
    "incorrect": ("cancel", "red"),
    "ungradable": ("help", "gray"),
}


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
        _draw_answers(variant.answers, row.ref, _level(row))


def _draw_answers(answers: Sequence[TextRow], under: str, known_level: str = "") -> None:
    """Draw answers; what they were made with is said only where it differs from the reasoning."""
    if not answers:
        st.caption(t("results.no_answers"))
    key = f"more_answers_{under}"
    shown = answers[: _most(key, STEP_ANSWERS)]
    with database().read() as session:
        grades = read_grades(session, [one.id for one in shown])
    for number, answer in enumerate(shown, start=1):
        with st.container(key=f"answer_{answer.id}", gap="xsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
                level = _level(answer)
                name = t("results.answer", i=number)
                label = name if level == known_level else f"{name} · {level}"
                st.caption(label, width="content")
                st.space("stretch")
                how_button(answer.ref)
            show_text(answer.text, most=MOST_CHARACTERS)
            if answer.id in grades:
                draw_grade(grades[answer.id])
            if answer.flags:
                check_badges([(name, None) for name in answer.flags])
    _draw_more(key, STEP_ANSWERS, len(answers) - len(shown), "answers")


def _level(row: TextRow) -> str:
    """Return in a few words what a text was made with."""
    parts = [escaped(row.model)] if row.model else [word("source", row.source)]
    if row.sampling and "temperature" in row.sampling:
        parts.append(f"{t('sampling.temperature')} {row.sampling['temperature']:g}")
    return " · ".join(parts)


def how_button(ref: str, label: str | None = None) -> None:
    """Draw the button that opens the panel of the text ``ref``."""
    if st.button(
        label or t("results.how_short"),
        key=f"how_{ref}",
        icon=":material/info:",
        type="tertiary",
        help=t("results.how"),
    ):
        open_how(ref)


def open_how(ref: str) -> None:
    """Open the panel of the text ``ref``."""
    st.session_state[OPEN] = True
    panel = st.dialog(t("how.title"), width="large", icon=":material/info:", on_dismiss=_close)
    panel(_draw)(ref)


def _close() -> None:
    forget_panel()
    st.session_state[CLOSED] = panels_closed() + 1


def forget_panel() -> None:
    """Note that no panel is open, as at the begin of each run of a page."""
    st.session_state.pop(OPEN, None)


def is_panel_open() -> bool:
    """Tell whether a panel is open; to draw the page again would close it."""
    return OPEN in st.session_state


def panels_closed() -> int:
    """Return how many panels this visit has closed."""
    closed: int = st.session_state.get(CLOSED, 0)
    return closed


def _draw(ref: str) -> None:
    with errors_shown():
        with database().read() as session:
            found = provenance(session, ref)
        show_text(found.text or "")
        check_badges(found.checks)
        draw_lines(facts(found))
        made = found.generation
        if made is None:
            st.caption(t("how.imported" if found.source == "imported" else "how.by_person"))
        else:
            if made.prompt_text is not None:
                with st.expander(t("how.prompt"), icon=":material/send:"):
                    st.code(made.prompt_text, language=None, wrap_lines=True)
            if made.prompt_token_ids is not None:
                n_ids = len(made.prompt_token_ids)
                with st.expander(t("how.ids", n=n_ids), icon=":material/tag:"):
                    st.code(numbered_ids(made.prompt_token_ids), language=None, wrap_lines=True)
            if made.completion is not None:
                with st.expander(t("how.raw"), icon=":material/data_object:"):
                    st.code(made.completion, language=None, wrap_lines=True)
        download(
            t("how.download"),
            as_json(found),
            f"{ref}.json",
            mime="application/json",
        )


def draw_lines(lines: Sequence[tuple[str, str]]) -> None:
    """Draw names and values, each pair on a line."""
    for name, value in lines:
        left, right = st.columns([1, 2], gap="small")
        left.markdown(f":gray[{name}]")
        right.text(value, width="stretch")


def facts(found: Provenance) -> Sequence[tuple[str, str]]:
    """Return the lines of the panel: what is asked, and the answer as plain text."""
    lines = [(t("how.link"), str(found.ref)), (t("question.source"), _source(found))]
    made = found.generation
    if made is not None:
        lines += [
            (t("how.made_by"), made.model.name),
            (t("how.weights"), (made.model.digest or t("model.undigested"))[: SHOWN_DIGITS + 7]),
        ]
        if made.lineage:
            lines.append((t("how.from_base"), " ← ".join(model.name for model in made.lineage)))
        lines += [
            (
                t("how.mode"),
                f"{word('mode', made.mode)} · {t('how.replicate')} {made.replicate + 1}",
            ),
            (t("how.format"), f"{made.prompt_format} · {made.role}"),
            (t("how.sampling"), _sampling(made.sampling)),
            (t("how.seed"), t("how.seed_none") if made.seed is None else str(made.seed)),
            (t("how.tokens"), f"{count(made.prompt_tokens)} / {count(made.completion_tokens)}"),
            (
                t("how.finish"),
                word("finish", made.finish_reason or ("none" if made.error else "unknown")),
            ),
            (
                t("how.engine"),
                " · ".join(p for p in (made.engine, made.engine_version) if p) or "–",
            ),
            (t("how.request"), made.request_id or "–"),
            (
                t("how.time"),
                duration(made.latency_ms / 1000) if made.latency_ms is not None else "–",
            ),
        ]
    if found.parents:
        lines.append((t("how.parents"), ", ".join(str(ref) for ref in found.parents)))
    lines.append((t("how.when"), f"{found.created_at:%Y-%m-%d %H:%M:%S} UTC"))
    return lines


def _source(found: Provenance) -> str:
    source = word("source", found.source) if found.source else "–"
    return f"{source} · {found.author}" if found.author else source


def _sampling(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items() if value is not None)


def as_json(found: Provenance) -> str:
    """Return everything that the panel knows, for the download."""
    return json.dumps(asdict(found), ensure_ascii=False, indent=2, default=str)


def numbered_ids(ids: Iterable[int], most: int = 4_000) -> str:
    """Return token ids as people read them: separated by spaces, the first ``most`` of them."""
    listed = list(ids)
    tail = " …" if len(listed) > most else ""
    return " ".join(str(i) for i in listed[:most]) + tail
