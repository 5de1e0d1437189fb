"""Earlier dialogues from a spreadsheet: read, preview what each row becomes, confirm."""

from collections.abc import Mapping, Sequence

import streamlit as st

from db.errors import Q2QError
from serving.importers.readers import SUFFIXES
from serving.importers.source import ImportRefused
from workbench import EXAMPLES
from workbench.dialogue.events import By
from workbench.dialogue.settings import LANGUAGES
from workbench.dialogue.sheet_trees import ImportedDialogue, import_sheet, stored_before
from workbench.dialogue.sheets import PlannedStep, SheetRow, n_nodes, plan_tree, read_sheet
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, download, trail
from workbench.ui.components.i18n import counted, current_language, t, translated
from workbench.ui.components.parts import card, heading, section
from workbench.ui.components.rater import current_rater
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped, one_line, told
from workbench.ui.components.uploads import draw_problems, in_utf8

EXAMPLE = EXAMPLES / "dialogues" / "earlier_sessions.csv"
COLUMNS = {
    "goal": "Goal",
    "step": "Step",
    "question": "QInitial",
    "answer": "AInitial · Reasoning",
    "note": "FBA",
    "proposed": "FBQ1 … FBQ5",
    "taken": "SEL1 … SEL5",
    "theme": "Concept · Audience",
}
MAX_ROWS = 500


def draw_import() -> None:
    """Draw the upload and, for a file, what importing it would do; nothing is written before."""
    trail(back_link(t("dlg.back"), _leave), t("sheet.title"))
    heading(t("sheet.title"), t("sheet.lead"))
    left, right = st.columns([3, 1])
    upload = left.file_uploader(t("sheet.file"), type=[suffix[1:] for suffix in SUFFIXES])
    codes = list(LANGUAGES)
    language = right.selectbox(
        t("sheet.language"),
        codes,
        codes.index(current_language()),
        format_func=lambda code: t(f"dlg.language.{code}"),
    )
    if upload is None:
        _draw_columns()
        return
    try:
        data = in_utf8(upload.name, upload.getvalue())
        goals = read_sheet(data, name=upload.name)
    except ImportRefused as refused:
        _draw_problems(refused)
        return
    except Q2QError as error:
        st.error(told(error))
        return
    _draw_preview(goals)
    if st.button(
        t("sheet.confirm", sessions=counted("dialogues", len(goals))),
        type="primary",
        icon=":material/download:",
    ):
        _import(data, upload.name, language)


def _leave() -> None:
    url.clear("import")


def _draw_columns() -> None:
    with card("columns"):
        section(t("sheet.columns"))
        st.table(
            [
                {t("sheet.column"): f"`{names}`", t("sheet.meaning"): t(f"sheet.columns.{key}")}
                for key, names in COLUMNS.items()
            ],
            border="horizontal",
            hide_index=True,
        )
        download(
            t("sheet.example"),
            EXAMPLE.read_bytes(),
            EXAMPLE.name,
            type="tertiary",
        )


def _draw_problems(refused: ImportRefused) -> None:
    sentences = [translated(problem.sentence) for problem in refused.problems]
    draw_problems("sheet.problems", sentences, str(refused))


def _draw_preview(goals: Mapping[str, Sequence[SheetRow]]) -> None:
    section(t("sheet.preview"))
    with database().read() as session:
        before = {goal: stored_before(session, goal, rows) for goal, rows in goals.items()}
    for number, (goal, rows) in enumerate(goals.items()):
        plan = plan_tree(rows)
        with card(f"sheet_{number}", gap="xsmall"):
            st.markdown(f"**{escaped(goal)}**")
            n_open = sum(step.n_waiting for step in plan)
            words = [counted("questions", n_nodes(plan))]
            words += [t("sheet.n_waiting", n=n_open)] if n_open else []
            if (known := before[goal]) is not None:
                words.append(t("sheet.known", id=known))
            st.caption(" · ".join(words))
            st.dataframe([_line(step) for step in plan[:MAX_ROWS]], hide_index=True)
            if len(plan) > MAX_ROWS:
                st.caption(t("sheet.more_rows", n=len(plan) - MAX_ROWS))


def _line(step: PlannedStep) -> dict[str, object]:
    row = step.row
    under = {} if step.under is None else {"line": step.under}
    return {
        t("sheet.row"): row.line,
        t("sheet.step"): row.step,
        t("sheet.question"): one_line(row.question, 160),
        t("sheet.becomes"): t(f"sheet.becomes.{step.becomes}", **under),
        t("sheet.answer"): one_line(row.answer, 80),
        t("sheet.proposed"): len(row.proposed),
        t("sheet.taken"): sum(row.taken),
        t("sheet.note"): one_line(row.note, 80),
    }


def _import(data: bytes, name: str, language: str) -> None:
    rater = current_rater()
    by = By(rater_id=rater[0] if rater else None)
    try:
        with database().write() as session:
            found = import_sheet(session, data, by, language=language, name=name)
    except Q2QError as error:
        st.error(told(error))
        return
    st.toast(_told(found), icon=":material/check:")
    _leave()
    if len(found) == 1:
        url.put("session", str(found[0].dialogue_id))
        url.put("view", "tree")
    st.rerun()


def _told(found: Sequence[ImportedDialogue]) -> str:
    new = sum(one.is_new for one in found)
    if new == len(found):
        return t("sheet.done", sessions=counted("dialogues", new))
    return t("sheet.done_some", sessions=counted("dialogues", new), known=len(found) - new)
