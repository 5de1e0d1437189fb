"""The list of questions: search, filters, pages, export; and the form that writes one."""

from collections.abc import Iterable
from functools import partial

import streamlit as st

from db.questions import (
    NewQuestion,
    QuestionFacets,
    QuestionFilter,
    QuestionRow,
    add_question,
    edit_question,
    list_questions,
    question_facets,
    question_ids,
    role_names,
    tag_questions,
    take_into_pool,
)
from serving.correctness.store import grade_answers
from serving.importers.fields import question_line
from workbench.ui.components import url
from workbench.ui.components.answer_check import choose_answer_check
from workbench.ui.components.archive import (
    draw_nothing_archived,
    draw_picked,
    draw_switch,
    pick_box,
    shows_archived,
)
from workbench.ui.components.controls import download, errors_shown, path_of
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.forms import Hint, Spec, SpecForm
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.keys import Key
from workbench.ui.components.next_step import lead_on
from workbench.ui.components.parts import card, empty_state, list_head
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line
from workbench.ui.home.cards import examples_button

PAGE_SIZE = 12
CHUNK = 2_000
"""Questions that an export reads at once."""
FILTERS = ("find", "language", "role", "category", "tag", "results", "pool")
RESULTS = {"yes": True, "no": False}
POOL = {"in": True, "proposed": False}
MAX_ADDRESS = 1_500
"""Characters of ids that a link to a form may have; more are handed over by a tag."""
LANGUAGE_CODES = (None, "en", "ja", "zh")


def draw_list() -> None:
    """Draw the questions that the filters in the URL let through."""
    with database().read() as session:
        facets = question_facets(session)
    with list_head("questions"):
        if facets.total:
            _buttons()
    if not facets.total and not shows_archived():
        _draw_empty()
        draw_switch("question")
        return
    wanted = _draw_filters(facets)
    with database().read() as session:
        page = list_questions(session, wanted, url.number("page") or 1, PAGE_SIZE)
    if page.rows or shows_archived():
        draw_picked("question", partial(_ids, wanted), _draw_actions)
    if page.total and wanted == QuestionFilter(tags=wanted.tags) and wanted.tags:
        (tag,) = wanted.tags
        texts = {"tag": escaped(tag), "questions": counted("questions", page.total)}
        lead_on("sweep_these", "sweeps", values=texts, new=1, tag=tag)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(counted("questions", page.total, is_capped=page.is_capped), width="content")
        st.space("stretch")
        if page.total:
            download(
                t("questions.export"),
                partial(_export, wanted),
                "questions.jsonl",
                mime="application/jsonl",
                icon="upload",
                type="tertiary",
                help=t("questions.export_help"),
            )
    if not page.rows:
        draw_nothing_archived() if shows_archived() else _draw_nothing()
    for row in page.rows:
        _draw(row)
    url.pages("page", page.total, PAGE_SIZE)


def _ids(wanted: QuestionFilter) -> list[int]:
    with database().read() as session:
        return question_ids(session, wanted)


def _draw_actions(chosen: list[int]) -> None:
    """Draw what can be done with the picked questions."""
    with st.popover(t("pick.tag"), icon=":material/sell:"):
        tags = st.text_input(t("pick.tags"), key="pick_tags", help=t("pick.tags_help"))
        if st.button(t("pick.tag_them"), type="primary", disabled=not tags.strip()):
            with database().write() as session:
                tag_questions(session, chosen, tags.split(","))
            st.rerun()
    for page, label, icon in (("sweeps", "sweep", "grid_view"), ("rating", "queue", "star")):
        if st.button(t(f"pick.{label}"), icon=f":material/{icon}:"):
            # A range means questions of the pool; others are named one by one.
            ids = ",".join(map(str, chosen)) if _waiting(chosen) else url.id_ranges(chosen)
            if len(ids) <= MAX_ADDRESS:
                st.switch_page(path_of(page), query_params={"new": "1", "questions": ids})
            st.error(t("pick.too_many"))
    download(
        t("pick.export"),
        partial(_export, QuestionFilter(ids=tuple(chosen))),
        "questions.jsonl",
        mime="application/jsonl",
        icon="upload",
    )
    draw_take(chosen)


def _waiting(chosen: list[int]) -> list[int]:
    """Return those that are not in the pool yet."""
    with database().read() as session:
        outside = question_ids(session, QuestionFilter(in_pool=False))
    return sorted(set(chosen).intersection(outside))


def draw_take(chosen: list[int]) -> None:
    """Draw the button that takes questions into the pool, where one of them is not in it."""
    waiting = _waiting(chosen)
    if waiting and st.button(t("pick.take"), icon=":material/input:", help=t("pick.take_help")):
        with database().write() as session:
            take_into_pool(session, waiting)
        st.rerun()


def _export(wanted: QuestionFilter) -> bytes:
    with database().read() as session:
        ids = question_ids(session, wanted)
        chunks = [tuple(ids[i : i + CHUNK]) for i in range(0, len(ids), CHUNK)]
        pages = [list_questions(session, QuestionFilter(ids=one), 1, CHUNK) for one in chunks]
    return b"".join(as_jsonl(page.rows) for page in pages)


def _buttons() -> None:
    st.button(
        t("questions.import"), icon=":material/download:", on_click=url.put, args=("import", "1")
    )
    if st.button(t("questions.add"), type="primary", icon=":material/add:", shortcut=Key.ADD):
        add_dialog()


def _draw_empty() -> None:
    with empty_state("questions", "help_center", "questions.none"):
        examples_button()
        _buttons()


def _draw_nothing() -> None:
    with empty_state("nothing", "filter_alt_off", "questions.nothing"):
        st.button(t("questions.reset"), on_click=url.clear, args=(*FILTERS, "page"))


def _draw_filters(facets: QuestionFacets) -> QuestionFilter:
    search = url.search_box(
        "find", t("questions.search"), t("questions.search_hint"), resets=("page",)
    )
    with st.container(horizontal=True, key="filters"):
        draw = partial(url.filter_by, texts="questions")
        languages = draw("language", values=facets.languages, show="language")
        roles = draw("role", values=facets.roles, show="role")
        categories = draw("category", values=facets.categories)
        tags = draw("tag", values=facets.tags)
        results = draw("results", values=tuple(RESULTS), show="questions.results")
        pool = draw("pool", values=tuple(POOL), show="questions.pool")
    return QuestionFilter(
        search=search,
        languages=languages,
        roles=roles,
        categories=categories,
        tags=tags,
        has_answers=RESULTS[results[0]] if results else None,
        in_pool=POOL[pool[0]] if pool else None,
        archived=shows_archived(),
    )


def _draw(row: QuestionRow) -> None:
    with card(f"question_{row.id}"), st.container(horizontal=True, vertical_alignment="center"):
        pick_box("question", row.id, row.ref)
        with st.container(width="stretch", gap="xsmall"):
            st.text(one_line(row.text, 220), width="stretch")
            draw_facts(row)
        st.button(
            t("questions.open"),
            key=f"open_{row.id}",
            icon=":material/arrow_forward:",
            icon_position="right",
            type="tertiary",
            on_click=url.put,
            args=("question", str(row.id)),
        )


def draw_facts(row: QuestionRow) -> None:
    """Draw what is known of a question besides its text, in one row of small badges."""
    with st.container(horizontal=True, gap="xsmall"):
        st.badge(row.ref, color="gray")
        if not row.in_pool:
            st.badge(
                t("questions.proposed"),
                icon=":material/forum:",
                color="orange",
                help=t("questions.proposed_help"),
            )
        st.badge(word("role", row.role), icon=":material/theater_comedy:", color="blue")
        if row.language:
            st.badge(word("language", row.language), icon=":material/language:", color="gray")
        if row.category:
            st.badge(escaped(row.category), color="violet")
        for tag in row.tags[:4]:
            st.badge(escaped(tag), icon=":material/sell:", color="gray")
        if row.n_variants or row.n_answers:
            st.badge(
                f"{counted('reasonings', row.n_variants)} · {counted('answers', row.n_answers)}",
                icon=":material/forum:",
                color="green",
            )


def as_jsonl(rows: Iterable[QuestionRow]) -> bytes:
    """Return questions as JSON lines in the keys that the import reads."""
    return "".join(f"{question_line(row)}\n" for row in rows).encode()


def add_dialog() -> None:
    """Open the form for a new question."""
    st.dialog(t("question.add_title"), width="medium", icon=":material/add:")(_draw_form)(None)


def edit_dialog(row: QuestionRow) -> None:
    """Open the form that makes a child of ``row``."""
    st.dialog(t("question.edit"), width="medium", icon=":material/edit:")(_draw_form)(row)


def _draw_form(row: QuestionRow | None) -> None:
    if row is not None:
        st.caption(t("question.edit_lead"))
    with database().read() as session:
        roles = tuple(dict.fromkeys([*role_names(session), *([row.role] if row else [])]))
    draft = FormDraft(f"question-{row.id}" if row else "question")
    draft.draw_notice()
    codes = tuple(dict.fromkeys([*LANGUAGE_CODES, *([row.language] if row else [])]))
    hints = {
        "text": Hint(widget="area", height=140),
        "context": Hint(widget="area"),
        "reference_answer": Hint(widget="area", text="question.reference"),
        "role": Hint(options=roles, show="role", start=roles[0]),
        "language": Hint(options=codes, show=_language_name, example=_language_name(None)),
    }
    form = SpecForm(draft, NewQuestion, _base(row) if row else {}, "question", hints)
    with st.container():
        form.draw("text", "context", "reference_answer")
        answer_check, is_usable = choose_answer_check(draft, row.answer_check if row else None)
        form.put("answer_check", answer_check)
        form.columns(("role", "category"), ("language", "tags"))
        label = t("question.save_edit") if row else t("question.save")
        if st.button(label, type="primary", disabled=not is_usable):
            _save(row, draft, form.spec)


def _base(row: QuestionRow) -> Spec:
    names = ("text", "context", "reference_answer", "role", "category", "language")
    return {name: getattr(row, name) for name in names} | {"tags": list(row.tags)}


def _language_name(code: str | None) -> str:
    return word("language", code) if code else t("question.language_unknown")


def _save(row: QuestionRow | None, draft: FormDraft, written: Spec) -> None:
    for name in ("reference_answer", "category"):
        written[name] = written.get(name, "").strip() or None
    tags = tuple(written.pop("tags", ()))
    new = NewQuestion(**{"text": "", **written}, tags=tags)
    if not new.text.strip():
        st.error(t("question.needs_text"))
        return
    with errors_shown():
        with database().write() as session:
            if row is None:
                question_id, is_new = add_question(session, new)
            else:
                question_id, is_new = edit_question(session, row.id, new)
        grade_answers(database(), [question_id])
        draft.forget()
        done = is_new or (row is not None and question_id == row.id)
        st.toast(t("question.saved" if done else "question.known", id=question_id))
        url.put("question", str(question_id))
        st.rerun()
