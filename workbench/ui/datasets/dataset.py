"""One frozen dataset: what each rule took, its rows page by page, its rules, its exports."""

import tempfile
from pathlib import Path
from shutil import make_archive

import streamlit as st

from db.datasets import DatasetInfo, DatasetRowInfo, Split, dataset_rows, find_dataset
from training.datasets.balance import cautions, read_balance
from training.datasets.export import FOLDER_FORMATS, FORMATS, default_prompt_format, export
from training.datasets.payload import RowTexts
from training.datasets.spec import as_yaml, parse_rules
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, download, errors_shown, page_link
from workbench.ui.components.i18n import t, word
from workbench.ui.components.labels import ago
from workbench.ui.components.parts import card, item_head, section
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, show_text
from workbench.ui.datasets.counts import draw_cautions, draw_counts

PAGE_SIZE = 10
VIEWS = ("counts", "rows", "rules", "export")
SUFFIXES = {"alpaca": "json", "sharegpt": "json", "parquet": "parquet"}
"""Of files; the others are JSON lines, and folders are zipped."""
SPLITS: tuple[Split, ...] = ("train", "held_out")


def draw_dataset(dataset_id: int) -> None:
    """Draw the dataset, or say that there is none."""
    back_link(t("datasets.back"), _leave)
    with database().read() as session:
        dataset = find_dataset(session, dataset_id)
    with item_head("dataset", escaped(dataset.name)):
        st.badge(word("dataset_kind", dataset.kind), color="blue")
    st.caption(t("dataset.identity", hash=dataset.content_hash or "–", when=ago(dataset.frozen_at)))
    with database().read() as session:
        draw_cautions(cautions(read_balance(session, dataset)))
    view = url.segments("view", t("datasets.title"), VIEWS, lambda one: t(f"dataset.view.{one}"))
    if view == "counts":
        draw_counts(dataset.counts, "dataset", is_frozen=True)
    elif view == "rows":
        _draw_rows(dataset)
    elif view == "rules":
        _draw_rules(dataset)
    else:
        _draw_export(dataset)


def _leave() -> None:
    url.clear("dataset", "view", "split", "page", "as")


def _draw_rows(dataset: DatasetInfo) -> None:
    split = url.segments("split", t("dataset.split"), SPLITS, lambda one: t(f"dataset.{one}"))
    chosen: Split = "held_out" if split == "held_out" else "train"
    total = dataset.n_train if chosen == "train" else dataset.n_held_out
    at = url.pages("page", total, PAGE_SIZE)
    with database().read() as session:
        page = dataset_rows(session, dataset.id, at, PAGE_SIZE, split=chosen)
    if not page.rows:
        st.caption(t("dataset.no_rows"))
    for row in page.rows:
        _draw_row(row)


def _draw_row(row: DatasetRowInfo) -> None:
    texts = RowTexts.from_payload(row.payload)
    with card(f"row_{row.id}", gap="xsmall"):
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            st.markdown(f"**{row.position}**", width="content")
            st.badge(word("role", texts.role), color="gray")
            st.badge(t(f"dataset_target.{row.target}"), color="violet")
            if row.label is not None:
                name = "ok" if row.label else "not_ok"
                st.badge(t(f"dataset_rule.{name}"), color="green" if row.label else "red")
            st.space("stretch")
            page_link("explore", f"q{row.question_id}", "account_tree", id=f"q{row.question_id}")
        for name in (
            "question",
            "context",
            "reasoning",
            "answer",
            "rejected_reasoning",
            "rejected_answer",
        ):
            if text := getattr(texts, name):
                st.caption(t(f"dataset.text.{name}"))
                show_text(text)


def _draw_rules(dataset: DatasetInfo) -> None:
    text = as_yaml(parse_rules(dataset.rules))
    st.code(text, language="yaml", wrap_lines=True)
    download(
        t("dataset.download_rules"),
        text,
        f"dataset-{dataset.id}.yaml",
    )


def _draw_export(dataset: DatasetInfo) -> None:
    section(t("dataset.export"), t("dataset.export_help"))
    left, right = st.columns(2)
    with left:
        kind = st.selectbox(
            t("dataset.export_as"), FORMATS, format_func=lambda one: t(f"dataset.format.{one}")
        )
    with right:
        split: Split = st.selectbox(
            t("dataset.split"),
            SPLITS,
            format_func=lambda one: t(f"dataset.{one}"),
            disabled=kind in FOLDER_FORMATS or kind == "parquet",
        )
    if not st.button(t("dataset.make_file"), icon=":material/archive:"):
        return
    with errors_shown():
        with st.spinner(t("dataset.writing"), show_time=True):
            name, content = file_of(dataset, kind, split)
        download(
            t("dataset.download", name=name),
            content,
            name,
            type="primary",
        )


def file_of(dataset: DatasetInfo, kind: str, split: Split) -> tuple[str, bytes]:
    """Return name and content of the export of a dataset; a folder comes as a zip file."""
    form = registry().format(default_prompt_format(kind)).definition
    stem = f"dataset-{dataset.id}-{kind}"
    with tempfile.TemporaryDirectory() as folder, database().read() as session:
        if kind in FOLDER_FORMATS:
            target = Path(folder) / stem
            export(session, dataset, kind, target, form=form, split=split)
            packed = Path(make_archive(str(Path(folder) / "packed"), "zip", folder, stem))
            return f"{stem}.zip", packed.read_bytes()
        target = Path(folder) / f"{stem}.{SUFFIXES.get(kind, 'jsonl')}"
        export(session, dataset, kind, target, form=form, split=split)
        return target.name, target.read_bytes()
