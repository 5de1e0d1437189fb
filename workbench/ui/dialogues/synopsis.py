"""The running synopsis: what is known now, what is open, each line with its questions."""

from collections.abc import Mapping, Sequence
from typing import get_args

import streamlit as st

from workbench.dialogue.events import By
from workbench.dialogue.reading import line_name
from workbench.dialogue.synopsis import (
    LineKind,
    Synopsis,
    SynopsisLine,
    edit_synopsis,
    read_synopsis,
    write_synopsis,
)
from workbench.dialogue.tree import Tree
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.i18n import t
from workbench.ui.components.keys import Key
from workbench.ui.components.parts import card, empty_state, section
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, show_text, told
from workbench.ui.dialogues.acts import (
    act,
    button,
    draw_problem,
    later,
    remember,
    remembered,
    show_node,
)
from workbench.ui.dialogues.reading import draw_reading, read_lines, reading_button


def draw_synopsis(tree: Tree, by: By | None) -> None:
    """Draw the synopsis as it stands, or its lines to edit."""
    with database().read() as session:
        found = read_synopsis(session, tree.dialogue.id)
    can_write = by is not None and tree.dialogue.state == "open"
    if found is None:
        with empty_state("synopsis", "summarize", "syn.none"):
            _write_button(tree, by if can_write else None)
        return
    for problem in found.problems:
        st.warning(told(problem), icon=":material/info:")
    read = read_lines(tree, found, by)
    if remembered("panel") == "synopsis" and by and can_write:
        _draw_form(tree, found, read, by)
        return
    for kind in get_args(LineKind):
        _draw_lines(tree, kind, _of_kind(found, kind), read)
    st.caption(t("syn.by_person") if found.is_edited else t("syn.by_model"))
    with st.container(horizontal=True, gap="xsmall"):
        _write_button(tree, by if can_write else None)
        edit = ("panel", "synopsis")
        label = t("syn.edit")
        button(label, Key.EDIT, "edit", remember, *edit, look="secondary", disabled=not can_write)
        reading_button(tree)


def _of_kind(found: Synopsis, kind: LineKind) -> list[tuple[str, SynopsisLine]]:
    """Return the lines of a kind, each with the name of its translation."""
    named = ((line_name(found.event.id, i), line) for i, line in enumerate(found.lines))
    return [(name, line) for name, line in named if line.kind == kind]


def _write_button(tree: Tree, by: By | None) -> None:
    dialogue_id, label = tree.dialogue.id, t("syn.write")
    start = later(lambda session: write_synopsis(session, registry(), dialogue_id, by or By()))
    button(label, Key.ADD, "auto_awesome", start, look="primary", disabled=by is None)


def _draw_lines(
    tree: Tree,
    kind: LineKind,
    lines: Sequence[tuple[str, SynopsisLine]],
    read: Mapping[str, str],
) -> None:
    section(t(f"syn.{kind}"))
    if not lines:
        st.caption(t("syn.no_line"))
    for number, (name, line) in enumerate(lines):
        with card(f"line_{kind}_{number}", gap="xsmall"):
            show_text(line.text)
            draw_reading(read, name)
            with st.container(horizontal=True, gap="xsmall"):
                for node_id in line.node_ids:
                    node = tree.node(node_id)
                    st.button(
                        t("dlg.number", n=node.position + 1),
                        key=f"line_{kind}_{number}_{node_id}",
                        type="tertiary",
                        icon=":material/link:",
                        help=escaped(node.question),
                        on_click=show_node,
                        args=(node_id,),
                    )


def _draw_form(tree: Tree, found: Synopsis, read: Mapping[str, str], by: By) -> None:
    kinds = get_args(LineKind)
    fields: dict[str, str] = {}
    draft = FormDraft(f"dialogue-{tree.dialogue.id}-synopsis")
    draft.draw_notice()
    with card("synopsis"), st.form("synopsis", border=False):
        st.caption(t("syn.form_help"))
        for kind in kinds:
            lines = _of_kind(found, kind)
            own = [_as_line(tree, line) for _, line in lines]
            fields[kind] = (
                st.text_area(t(f"syn.{kind}"), key=draft.field(kind, "\n".join(own)), height=160)
                or ""
            )
            for name, _ in lines:
                draw_reading(read, name)
        pressed = st.form_submit_button(t("syn.save"), type="primary", icon=":material/save:")
    if not pressed:
        return
    new = [_line(tree, kind, row) for kind in kinds for row in fields[kind].splitlines()]
    if act(lambda session: edit_synopsis(session, tree.dialogue.id, new, by)) is None:
        draw_problem()
        return
    draft.forget()
    remember("panel", None)
    st.rerun()


def _as_line(tree: Tree, line: SynopsisLine) -> str:
    numbers = ", ".join(str(tree.node(one).position + 1) for one in line.node_ids)
    return f"{line.text} [{numbers}]" if numbers else line.text


def _line(tree: Tree, kind: LineKind, row: str) -> SynopsisLine:
    """Return a line whose questions stand in brackets at its end; other brackets are its words."""
    text, sign, rest = row.strip().rpartition("[")
    numbers = [part.strip() for part in rest.rstrip("] ").split(",")] if sign else []
    if not numbers or not all(one.isascii() and one.isdigit() for one in numbers):
        return SynopsisLine(kind=kind, text=row, node_ids=())
    ids = {node.position + 1: node.id for node in tree.nodes}
    # A number that is not there reaches the core as 0, which refuses the line.
    return SynopsisLine(
        kind=kind, text=text.strip(), node_ids=tuple(ids.get(int(one), 0) for one in numbers)
    )
