"""Rows of a list that are picked, what is done with them together, and what is archived."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime

import streamlit as st

from db.store.archive import ArchiveKind, archive, has_archived, restore
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import ago, count
from workbench.ui.components.store import database

ARCHIVED = "archived"
"""In the address of a list: what is archived is listed in place of what is in use."""


def shows_archived() -> bool:
    """Tell whether the list shows what is archived."""
    return url.parameter(ARCHIVED) == "1"


def picked_ids(kind: ArchiveKind) -> list[int]:
    """Return the ids of the rows that are picked, on whatever page of the list."""
    return sorted(_picked(kind))


def pick_box(kind: ArchiveKind, row_id: int, name: str) -> None:
    """Draw the box that picks a row; ``name`` is read out in place of a label."""
    key = f"pick_{kind}_{row_id}"
    st.session_state[key] = row_id in _picked(kind)
    st.checkbox(
        t("pick.one", name=name),
        key=key,
        label_visibility="collapsed",
        on_change=_turn,
        args=(kind, row_id),
    )


def draw_picked(
    kind: ArchiveKind,
    all_ids: Callable[[], Iterable[int]],
    draw_more: Callable[[list[int]], None] | None = None,
) -> None:
    """Draw the row over a list: what can be done with the picked rows, and the switch to others.

    Args:
        kind: What the list is of.
        all_ids: Reads the ids of all that the list shows, on all its pages.
        draw_more: Draws what else can be done with rows in use; called with their ids.
    """
    chosen = picked_ids(kind)
    with st.container(horizontal=True, vertical_alignment="center", key=f"picked_{kind}"):
        if not chosen:
            if st.button(
                t("pick.all"), key=f"all_{kind}", type="tertiary", icon=":material/select_all:"
            ):
                _picked(kind).update(all_ids())
                st.rerun()
        else:
            st.markdown(f"**{t('pick.n', n=count(len(chosen)))}**", width="content")
            if draw_more is not None and not shows_archived():
                draw_more(chosen)
            _draw_change(kind, chosen, restores=shows_archived())
            if st.button(
                t("pick.none"), key=f"none_{kind}", type="tertiary", icon=":material/close:"
            ):
                forget_picked(kind)
                st.rerun()
        if not chosen:
            st.space("stretch")
            draw_switch(kind)


def draw_switch(kind: ArchiveKind) -> None:
    """Draw the switch between what is in use and what is archived, where anything is."""
    with database().read() as session:
        if not shows_archived() and not has_archived(session, kind):
            return
    key = f"archived_{kind}"
    st.session_state[key] = shows_archived()
    st.toggle(t("archive.switch"), key=key, on_change=_switch, args=(kind,))


def draw_nothing_archived() -> None:
    """Say that a list of what is archived is empty."""
    st.caption(t("archive.nothing"))


def draw_archive(kind: ArchiveKind, row_id: int, archived_at: datetime | None) -> None:
    """Draw, at the head of a thing's own page, that it is archived and the way back; or the way in.

    Args:
        kind: What it is.
        row_id: Its id.
        archived_at: When it was archived; None while it is in use.
    """
    if archived_at is not None:
        st.badge(
            t("archive.since", ago=ago(archived_at)), icon=":material/inventory_2:", color="orange"
        )
    _draw_change(kind, [row_id], restores=archived_at is not None, shy=True)


def forget_picked(kind: ArchiveKind) -> None:
    """Let no row be picked."""
    _picked(kind).clear()


def _draw_change(
    kind: ArchiveKind, ids: Collection[int], *, restores: bool, shy: bool = False
) -> None:
    name, icon = ("restore", "unarchive") if restores else ("archive", "archive")
    if st.button(
        t(f"archive.{name}"),
        key=f"{name}_{kind}",
        icon=f":material/{icon}:",
        help=t(f"archive.{name}_help"),
        type="tertiary" if shy and not restores else "secondary",
    ):
        with errors_shown():
            with database().write() as session:
                n = (restore if restores else archive)(session, kind, ids)
            forget_picked(kind)
            st.toast(t(f"archive.{name}d", n=count(n)), icon=f":material/{icon}:")
            st.rerun()


def _picked(kind: ArchiveKind) -> set[int]:
    found: set[int] = st.session_state.setdefault(f"picked_rows_{kind}", set())
    return found


def _turn(kind: ArchiveKind, row_id: int) -> None:
    if st.session_state[f"pick_{kind}_{row_id}"]:
        _picked(kind).add(row_id)
    else:
        _picked(kind).discard(row_id)


def _switch(kind: ArchiveKind) -> None:
    url.put(ARCHIVED, "1" if st.session_state[f"archived_{kind}"] else None)
    url.clear("page")
    forget_picked(kind)
