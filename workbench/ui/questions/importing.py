"""Bringing a file of questions in: read, preview, confirm; nothing is written before that."""

from pathlib import Path

import streamlit as st

from db.identity import short_hash
from db.questions import question_facets, role_names
from serving.importers import ImportPreview, import_questions, preview
from serving.importers.fields import FIELDS, KEPT, field_of
from serving.importers.readers import SUFFIXES, columns_of, stream_rows
from workbench import EXAMPLES
from workbench.ui.components import url
from workbench.ui.components.answer_check import choose_answer_check
from workbench.ui.components.controls import back_link, download, trail
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import counted, t, word
from workbench.ui.components.parts import card, figures, heading, section
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import free_name, one_line
from workbench.ui.components.uploads import draw_confirm, draw_found, import_progress, in_utf8

MOST_COLUMNS = 40
MAPPED = (
    *("text", "context", "reference_answer", "answer_check", "reasoning", "output"),
    *("role", "category", "language", "tags", "external_id"),
)
"""Fields that a column can be said to stand for."""
ASKS = frozenset({"text", "messages", "body", "chosen"})
"""Fields that a question can be read from; a file with none of them needs to be told which."""
EXAMPLE = EXAMPLES / "questions" / "with_reasoning.jsonl"
COLUMNS = {
    "question": FIELDS["text"][:3],
    "context": FIELDS["context"],
    "reasoning": FIELDS["reasoning"][:3],
    "answer": FIELDS["output"][:3],
    "reference": FIELDS["reference_answer"][:3],
    "check": FIELDS["answer_check"],
    "role": FIELDS["role"],
    "category": ("category", "language", "tags"),
}
"""The columns that most files have; docs/import.md names all of them."""


def draw_import() -> None:
    """Draw the upload and, for a file, what importing it would do."""
    trail(back_link(t("questions.back"), lambda: url.clear("import")), t("import.title"))
    heading(t("import.title"), t("import.lead"))
    upload = st.file_uploader(t("import.file"), type=[suffix[1:] for suffix in SUFFIXES])
    if upload is None:
        _draw_columns()
        return
    registry()  # a role that the user added counts from here on
    data = in_utf8(upload.name, upload.getvalue())
    with database().read() as session:
        roles = role_names(session)
    draft = FormDraft("question-import")
    renamed = _choose_columns(draft, data, upload.name)
    with import_progress() as report:
        rows = stream_rows(data, name=upload.name, roles=roles, renamed=renamed)
        found = preview(database(), rows, on_progress=report)
    _show(found)
    with card("import_check"):
        tag = _choose_tag(draft, upload.name)
        st.caption(t("import.check"))
        answer_check, is_usable = choose_answer_check(draft)
    n_new = found.added + found.updated
    label = t("import.confirm", rows=counted("rows", n_new))
    skip_errors = draw_confirm(label, n_new=n_new, problems=found.problems)
    if skip_errors is not None and is_usable:
        with import_progress() as report:
            rows = stream_rows(data, name=upload.name, roles=roles, renamed=renamed)
            done = import_questions(
                database(),
                rows,
                extra_tags=[tag] if tag else (),
                answer_check=answer_check,
                skip_errors=skip_errors,
                on_progress=report,
            )
        draft.forget()
        names = ("added", "updated", "variants", "answers")
        counts = {name: getattr(done, name) for name in names}
        st.toast(t("import.done", **counts), icon=":material/check:")
        url.clear("import")
        url.put("tag", tag)
        st.rerun()


def _choose_columns(draft: FormDraft, data: bytes, name: str) -> dict[str, str]:
    """Draw what each column of a file stands for; return what is to differ from its own name."""
    columns = [one for one in columns_of(data, name) if one][:MOST_COLUMNS]
    if not columns:
        return {}
    meant = {one: field_of(one) for one in columns}
    # What only some shapes of rows have, such as turns of a chat, is read as it is.
    offered = {one: found for one, found in meant.items() if found in (None, *MAPPED)}
    renamed = {}
    must_choose = not ASKS.intersection(meant.values())
    label = t("import.columns_of", n=len(columns))
    with st.expander(label, expanded=must_choose, icon=":material/view_column:"):
        st.caption(t("import.columns_lead"))
        grid = st.container(horizontal=True)
        for column, found in offered.items():
            begins = found or KEPT
            chosen = grid.selectbox(
                one_line(column, 40),
                (*MAPPED, KEPT),
                key=draft.field(f"column_{short_hash(name + column)}", begins, (*MAPPED, KEPT)),
                format_func=lambda one: t(f"import.field.{one}"),
                width=220,
            )
            if chosen != begins:
                renamed[column] = chosen
    return renamed


def _choose_tag(draft: FormDraft, file_name: str) -> str:
    """Draw the tag that holds the questions of this file together; return it, empty for none."""
    with database().read() as session:
        taken = set(question_facets(session).tags)
    tag = st.text_input(
        t("import.tag"),
        key=draft.field(f"tag_{short_hash(file_name)}", free_name(Path(file_name).stem, taken)),
        help=t("import.tag_help"),
        max_chars=80,
        width=400,
    )
    return (tag or "").strip()


def _draw_columns() -> None:
    """Draw which columns a file may have, and an example to start from."""
    with card("columns"):
        section(t("import.columns"))
        st.table(
            [
                {
                    t("import.columns.name"): " · ".join(f"`{name}`" for name in names),
                    t("import.columns.meaning"): t(f"import.columns.{key}"),
                }
                for key, names in COLUMNS.items()
            ],
            border="horizontal",
            hide_index=True,
        )
        download(
            t("import.columns.example"),
            EXAMPLE.read_bytes(),
            EXAMPLE.name,
            type="tertiary",
        )


def _show(found: ImportPreview) -> None:
    section(t("import.preview"))
    figures(
        "import",
        [
            (t(f"import.{name}"), getattr(found, name), t(f"import.{name}_help"))
            for name in ("added", "updated", "skipped", "errors")
        ],
    )
    draw_found(
        found.notes,
        found.problems,
        [
            {
                t("import.column.line"): row.line,
                t("import.column.outcome"): word("import.outcome", outcome),
                t("import.column.text"): one_line(row.text, 160),
                t("import.column.role"): word("role", row.role),
                t("import.column.reference"): one_line(row.reference_answer or "", 80),
                t("import.column.category"): one_line(row.category or "", 40),
                t("import.column.reasoning"): one_line(row.reasoning or "", 100),
                t("import.column.output"): one_line(row.output or "", 100),
            }
            for row, outcome in found.sample
        ],
    )
