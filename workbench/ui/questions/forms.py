"""Writing a question: a new one, or an edit, which becomes a child of the one it changes."""

import streamlit as st

from db.questions import NewQuestion, QuestionRow, add_question, edit_question, role_names
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.forms import Hint, Spec, SpecForm
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
    codes = tuple(dict.fromkeys([*LANGUAGE_CODES, *([row.language] if row else [])]))
    hints = {
        "text": Hint(widget="area", height=140),
        "context": Hint(widget="area"),
        "reference_answer": Hint(widget="area", text="question.reference"),
        "role": Hint(options=roles, show="role", start=roles[0]),
        "language": Hint(options=codes, show=_language_name),
    }
    form = SpecForm(draft, NewQuestion, _base(row) if row else {}, "question", hints)
    with st.container():
        form.draw("text", "context", "reference_answer")
        form.columns(("role", "category"), ("language", "tags"))
        label = t("question.save_edit") if row else t("question.save")
        if st.button(label, type="primary"):
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
        draft.forget()
        done = is_new or (row is not None and question_id == row.id)
        st.toast(t("question.saved" if done else "question.known", id=question_id))
        url.put("question", str(question_id))
        st.rerun()
