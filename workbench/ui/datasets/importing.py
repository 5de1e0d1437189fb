"""Training data of other programs: read, preview what each row becomes, confirm."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from serving.importers.folders import read_examples
from serving.importers.readers import SUFFIXES
from serving.importers.source import ImportFile
from serving.importers.training_data import ExamplePreview, Judge, import_examples, preview_examples
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, trail
from workbench.ui.components.i18n import t
from workbench.ui.components.labels import count
from workbench.ui.components.parts import card, figures, heading, section
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import one_line
from workbench.ui.components.uploads import draw_confirm, draw_found, import_progress, in_utf8

SHAPES = {
    "alpaca": "instruction · input · output · reasoning · flag",
    "sharegpt": "conversations: [{from, value}]",
    "messages": "messages: [{role, content}]",
    "reasoning": "reasoning_content · thinking · <think>…</think>",
    "sft": "prompt · completion",
    "dpo": "prompt · chosen · rejected",
    "kto": "prompt · completion · label",
}
SHOWN = ("questions", "reasonings", "answers", "comparisons", "labels")


def draw_import() -> None:
    """Draw the upload and, for a file, what importing it would do; nothing is written before."""
    trail(back_link(t("datasets.back"), lambda: url.clear("import")), t("examples.title"))
    heading(t("examples.title"), t("examples.lead"))
    upload = st.file_uploader(t("examples.file"), type=[suffix[1:] for suffix in SUFFIXES])
    if upload is None:
        _draw_shapes()
        return
    judge = _draw_judge()
    data = in_utf8(upload.name, upload.getvalue())
    with _read(upload.name, data) as files, import_progress() as report:
        found = preview_examples(database(), files, judge, on_progress=report)
    _draw_preview(found)
    label = t("examples.confirm", n=count(found.counts.rows))
    skip_errors = draw_confirm(label, n_new=int(found.counts.brings), problems=found.problems)
    if skip_errors is not None:
        _import(upload.name, data, judge, skip_errors)


@contextmanager
def _read(name: str, data: bytes) -> Iterator[list[ImportFile]]:
    """Yield the files of an upload, whose rows are read meanwhile."""
    known = registry()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(data)
        yield read_examples(path, known)


def _draw_judge() -> Judge:
    with st.container(horizontal=True):
        name = st.text_input(t("examples.rater"), "imported", help=t("examples.rater_help"))
        kind = st.segmented_control(
            t("examples.judged_by"),
            ("person", "model"),
            default="person",
            required=True,
            format_func=lambda one: t(f"examples.by.{one}"),
        )
    return Judge(name=name.strip() or "imported", kind="model" if kind == "model" else "person")


def _draw_shapes() -> None:
    with card("shapes"):
        section(t("examples.shapes"))
        st.table(
            [
                {t("examples.shape"): t(f"examples.shape.{name}"), t("import.columns.name"): keys}
                for name, keys in SHAPES.items()
            ],
            border="horizontal",
            hide_index=True,
        )
        st.caption(t("examples.folders"))


def _draw_preview(found: ExamplePreview) -> None:
    section(t("import.preview"))
    counts = found.counts
    figures(
        "examples",
        [
            (t(f"examples.{name}"), getattr(counts, name), t(f"examples.{name}_help"))
            for name in SHOWN
        ],
    )
    st.caption(t("examples.rows", n=count(counts.rows), held_out=count(counts.held_out)))
    draw_found(
        found.notes,
        found.problems,
        [
            {
                t("import.column.line"): one.line,
                t("import.column.text"): one_line(one.text, 160),
                t("import.column.reasoning"): one_line(one.reasoning or "", 100),
                t("import.column.output"): one_line(one.output or "", 100),
                t("examples.worse"): one_line(_worse(one.rejected), 100),
                t("examples.label"): "" if one.label is None else "OK" if one.label else "✕",
            }
            for one in found.sample
        ],
    )


def _worse(row: object) -> str:
    texts = (getattr(row, "reasoning", None), getattr(row, "output", None))
    return " → ".join(text for text in texts if text)


def _import(name: str, data: bytes, judge: Judge, skip_errors: bool) -> None:
    with _read(name, data) as files, import_progress() as report:
        done = import_examples(
            database(), files, judge=judge, skip_errors=skip_errors, on_progress=report
        )
    st.toast(t("examples.done", n=count(done.counts.rows)), icon=":material/check:")
    url.clear("import")
    st.rerun()
