"""The list of frozen datasets, newest first, or how to make the first one."""

import streamlit as st

from db.datasets import DatasetInfo, list_datasets
from workbench.ui.components import url
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import ago, count
from workbench.ui.components.parts import card, empty_state, head_row, heading
from workbench.ui.components.store import database
from workbench.ui.components.text import escaped


def draw_list() -> None:
    """Draw all datasets."""
    with database().read() as session:
        datasets = list_datasets(session)
    with head_row("datasets"):
        with st.container(width="stretch", gap="xsmall"):
            heading(t("datasets.title"), t("datasets.lead"))
        if datasets:
            _import_button()
            _new_button()
    if not datasets:
        with empty_state(
            "datasets", ":material/dataset:", t("datasets.none.title"), t("datasets.none.text")
        ):
            _new_button()
            _import_button()
            st.page_link("ui/rating/page.py", label=t("nav.rating"), icon=":material/star:")
    for dataset in datasets:
        _draw(dataset)


def _import_button() -> None:
    st.button(
        t("examples.import"), icon=":material/upload:", on_click=url.put, args=("import", "1")
    )


def _new_button() -> None:
    st.button(
        t("datasets.new"),
        type="primary",
        icon=":material/add:",
        shortcut="N",
        on_click=url.put,
        args=("new", "1"),
    )


def _draw(dataset: DatasetInfo) -> None:
    with card(f"dataset_{dataset.id}", gap="xsmall"):
        with head_row(f"dataset_{dataset.id}"):
            st.markdown(f"**{escaped(dataset.name)}**", width="content")
            st.badge(word("dataset_kind", dataset.kind), color="blue")
            st.space("stretch")
            st.button(
                t("datasets.open"),
                icon=":material/arrow_forward:",
                icon_position="right",
                type="tertiary",
                key=f"open_{dataset.id}",
                on_click=url.put,
                args=("dataset", str(dataset.id)),
            )
        st.caption(
            t(
                "datasets.line",
                train=count(dataset.n_train),
                held_out=count(dataset.n_held_out),
                hash=(dataset.content_hash or "")[:12],
                when=ago(dataset.frozen_at),
            )
        )
