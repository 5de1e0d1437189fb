"""Writing a question: a new one, or an edit, which becomes a child of the one it changes."""

import streamlit as st

from db.questions import NewQuestion, QuestionRow, add_question, edit_question, role_names
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t, word
from workbench.ui.components.store import database

LANGUAGE_CODES = (None, "en", "ja", "zh")


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
    with st.container():
        text = st.text_area(
            t("question.text"), key=draft.field("text", row.text if row else ""), height=140
        )
        context = st.text_area(
            t("question.context"),
            key=draft.field("context", row.context if row else ""),
            help=t("question.context_help"),
        )
        reference = st.text_area(
            t("question.reference"),
            key=draft.field("reference", (row.reference_answer or "") if row else ""),
            help=t("question.reference_help"),
        )
        left, right = st.columns(2)
        with left:
            role = st.selectbox(
                t("question.role"),
                roles,
                key=draft.field("role", row.role if row else roles[0], roles),
                format_func=lambda name: word("role", name),
            )
            category = st.text_input(
                t("question.category"),
                key=draft.field("category", (row.category or "") if row else ""),
            )
        with right:
            codes = tuple(dict.fromkeys([*LANGUAGE_CODES, *([row.language] if row else [])]))
            language = st.selectbox(
                t("question.language"),
                codes,
                key=draft.field("language", row.language if row else None, codes),
                format_func=lambda code: (
                    word("language", code) if code else t("question.language_unknown")
                ),
            )
            tags = st.text_input(
                t("question.tags"),
                key=draft.field("tags", ", ".join(row.tags) if row else ""),
                help=t("question.tags_help"),
            )
        label = t("question.save_edit") if row else t("question.save")
        if st.button(label, type="primary"):
            _save(
                row,
                draft,
                NewQuestion(
                    text=text or "",
                    context=context or "",
                    role=role,
                    reference_answer=(reference or "").strip() or None,
                    category=(category or "").strip() or None,
                    language=language,
                    tags=tags_of(tags or ""),
                ),
            )


def _save(row: QuestionRow | None, draft: FormDraft, new: NewQuestion) -> None:
    if not new.text.strip():
        st.error(t("question.needs_text"))
        return
    with errors_shown():
        with database().write() as session:
            if row is None:
                question_id, is_new = add_question(session, new)
            else:
                question_id, is_new = edit_question(session, row.id, new)
        draft.forget()
        done = is_new or (row is not None and question_id == row.id)
        st.toast(t("question.saved" if done else "question.known", id=question_id))
        url.put("question", str(question_id))
        st.rerun()


def tags_of(typed: str) -> tuple[str, ...]:
    """Return the tags in ``typed``, separated by commas of any script, each once."""
    parts = typed.replace("、", ",").replace("，", ",").split(",")
    return tuple(dict.fromkeys(tag for part in parts if (tag := part.strip())))
