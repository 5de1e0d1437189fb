"""The list of frozen datasets, newest first, or how to make the first one."""

import streamlit as st

from db.datasets import DatasetInfo, list_datasets
from workbench.ui.components import url
from workbench.ui.components.archive import (
    draw_nothing_archived,
    draw_picked,
    draw_switch,
    pick_box,
    shows_archived,
)
from workbench.ui.components.controls import new_button, open_button, page_link
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import ago, count
from workbench.ui.components.parts import card, card_head, empty_state, list_head
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped


def draw_list() -> None:
    """Draw all datasets."""
    with database().read() as session:
        datasets = list_datasets(session, archived=shows_archived())
    with list_head("datasets"):
        if datasets:
            _import_button()
            new_button(t("datasets.new"))
    if datasets or shows_archived():
        draw_picked("dataset", lambda: [dataset.id for dataset in datasets])
    else:
        draw_switch("dataset")
    if not datasets and shows_archived():
        draw_nothing_archived()
    elif not datasets:
        with empty_state("datasets", "dataset", "datasets.none"):
            new_button(t("datasets.new"))
            _import_button()
            page_link("rating", t("nav.rating"), "star")
    for dataset in datasets:
        _draw(dataset)


def _import_button() -> None:
    st.button(
        t("examples.import"), icon=":material/upload:", on_click=url.put, args=("import", "1")
    )


def _draw(dataset: DatasetInfo) -> None:
    with card(f"dataset_{dataset.id}", gap="xsmall"):
        with card_head(f"dataset_{dataset.id}", escaped(dataset.name)):
            pick_box("dataset", dataset.id, dataset.name)
            st.badge(word("dataset_kind", dataset.kind), color="blue")
            open_button(t("datasets.open"), f"open_{dataset.id}", "dataset", dataset.id)
        st.caption(
            t(
                "datasets.line",
                train=count(dataset.n_train),
                held_out=count(dataset.n_held_out),
                hash=(dataset.content_hash or "")[:12],
                when=ago(dataset.frozen_at),
            )
        )
