"""One frozen dataset, and what became of the candidates of one: figures, rows, rules, exports."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import make_archive
from typing import Any

import altair as alt
import streamlit as st

from db.datasets import DatasetInfo, Split, dataset_rows, find_dataset
from training.datasets.balance import Caution, cautions, read_balance
from training.datasets.export import FOLDER_FORMATS, FORMATS, default_prompt_format, export
from training.datasets.rows import RowTexts
from training.datasets.rules import as_yaml, parse_rules
from workbench.i18n import caution_sentences
from workbench.ui.components import url
from workbench.ui.components.archive import draw_archive
from workbench.ui.components.controls import back_link, download, errors_shown, page_link, trail
from workbench.ui.components.i18n import current_language, t, word
from workbench.ui.components.labels import ago, count
from workbench.ui.components.next_step import lead_on
from workbench.ui.components.parts import card, figures, item_head, section
from workbench.ui.components.plots import COUNTS, draw_plot, plot_of, tooltips
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, show_text

PAGE_SIZE = 10
VIEWS = ("counts", "rows", "rules", "export")
SUFFIXES = {"alpaca": "json", "sharegpt": "json", "parquet": "parquet"}
"""Of files; the others are JSON lines, and folders are zipped."""
SPLITS: tuple[Split, ...] = ("train", "held_out")
OUTCOMES = ("taken", "dropped", "not_taken")
COLOURS = ("#2f7d5b", "#c77d1e", "#8a949c")
"""Kept for good, taken and dropped after all, never taken."""
ROW_PX = 30


def draw_dataset(dataset_id: int) -> None:
    """Draw the dataset, or say that there is none."""
    row = back_link(t("datasets.back"), _leave)
    with database().read() as session:
        dataset = find_dataset(session, dataset_id)
    with item_head("dataset", escaped(dataset.name)):
        st.badge(word("dataset_kind", dataset.kind), color="blue")
        draw_archive("dataset", dataset.id, dataset.archived_at)
    st.caption(t("dataset.identity", hash=dataset.content_hash or "–", when=ago(dataset.frozen_at)))
    with database().read() as session:
        draw_cautions(cautions(read_balance(session, dataset)))
    view = url.segments("view", t("datasets.title"), VIEWS, lambda one: t(f"dataset.view.{one}"))
    trail(row, dataset.name, t(f"dataset.view.{view}"))
    if view == "counts":
        draw_counts(dataset.counts, "dataset", is_frozen=True)
    elif view == "rows":
        _draw_rows(dataset)
    elif view == "rules":
        _draw_rules(dataset)
    else:
        _draw_export(dataset)
    if dataset.n_train:
        lead_on("round", "rounds", values={"name": escaped(dataset.name)}, dataset=dataset.id)
        page_link("training", t("next.round.train"), "model_training", dataset=dataset.id)


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
        texts = RowTexts.from_payload(row.payload)
        with row_card(str(row.position), texts, row.target, row.label):
            _to_question(row.question_id)


def _to_question(question_id: int) -> None:
    page_link("explore", f"q{question_id}", "account_tree", id=f"q{question_id}")


@contextmanager
def row_card(name: str, texts: RowTexts, target: str, label: bool | None) -> Iterator[None]:
    """Draw a row with its texts; what the block draws stands at the end of its head."""
    with card(f"row_{name}", gap="xsmall"):
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            st.markdown(f"**{name}**", width="content")
            st.badge(word("role", texts.role), color="gray")
            st.badge(t(f"dataset_target.{target}"), color="violet")
            if label is not None:
                said = "ok" if label else "not_ok"
                st.badge(t(f"dataset_rule.{said}"), color="green" if label else "red")
            st.space("stretch")
            yield
        for name in (
            "question",
            "context",
            "reasoning",
            "answer",
            "rejected_reasoning",
            "rejected_answer",
            "questions",
            "rejected_questions",
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


def draw_counts(counts: Mapping[str, Any], key: str, *, is_frozen: bool) -> None:
    """Draw the figures of a dataset and the plot of what each rule took and why rows fell out."""
    rows = counts["rows"]
    figures(
        key,
        [
            (t("dataset.train"), rows["train"], t("dataset.train_help")),
            (t("dataset.held_out"), rows["held_out"], t("dataset.held_out_help")),
            (t("dataset.questions"), counts["questions"], t("dataset.questions_help")),
            (t("dataset.ratings"), counts["ratings"], t("dataset.ratings_help")),
        ],
    )
    if counts["newly_held_out"] and not is_frozen:
        st.caption(t("dataset.newly_held_out", n=counts["newly_held_out"]))
    if counts.get("off_scale"):
        st.caption(t("dataset.off_scale", n=counts["off_scale"]))
    if counts.get("answer_seen"):
        st.caption(t("dataset.answer_seen", n=counts["answer_seen"]))
    if counts.get("struck_out"):
        st.caption(t("dataset.struck_out", n=counts["struck_out"]))
    for row in counts.get("struck_out_rows", ()):
        texts = RowTexts.from_payload(row["payload"])
        with row_card(row["key"], texts, row["target"], row["label"]):
            _to_question(row["question_id"])
    bars = outcomes(counts)
    if not bars:
        return
    _draw_outcomes(bars)
    dropped = sum(counts["dropped"].values())
    st.caption(
        t(
            "dataset.adds_up",
            candidates=count(counts["candidates"]),
            kept=count(counts["kept"]),
            dropped=count(dropped),
            not_taken=count(sum(counts["not_taken"].values())),
        )
    )
    _draw_mix(counts)


def draw_cautions(found: Iterable[Caution]) -> None:
    """Draw what to know of the rows before they are trained."""
    for sentence in caution_sentences(found, current_language()):
        st.warning(escaped(sentence), icon=":material/balance:")


def outcomes(counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one bar for each rule and each reason: what took rows, what dropped them, what not."""
    bars = []
    for outcome in OUTCOMES:
        for name, n in counts[outcome].items():
            bars.append(
                {"fate": t(f"dataset.fate.{outcome}"), "name": _name(outcome, name), "rows": n}
            )
    return bars


def _name(outcome: str, name: str) -> str:
    if outcome == "taken":
        return word("dataset_rule", name)
    label = word("dataset_drop", name)
    return word("check", name) if label == name else label


def _draw_outcomes(bars: list[dict[str, Any]]) -> None:
    titles = [t(f"dataset.fate.{outcome}") for outcome in OUTCOMES]
    order = list(dict.fromkeys(bar["name"] for bar in bars))
    colour = alt.Color(
        "fate:N",
        title=None,
        scale=alt.Scale(domain=titles, range=list(COLOURS)),
        legend=alt.Legend(orient="top", labelLimit=240, columns=1),
    )
    chart = (
        plot_of(bars)
        .mark_bar(cornerRadiusEnd=3)
        .encode(
            y=alt.Y(
                "name:N",
                title=None,
                sort=order,
                axis=alt.Axis(
                    labelLimit=220, labelFontSize=12, ticks=False, domain=False, labelOverlap=False
                ),
            ),
            x=alt.X("rows:Q", title=t("dataset.axis.rows"), axis=COUNTS),
            color=colour,
            tooltip=tooltips(
                ("fate:N", ""), ("name:N", ""), ("rows:Q", t("dataset.axis.rows"), ",")
            ),
        )
    )
    draw_plot(chart, 170 + ROW_PX * len(order))


def _draw_mix(counts: Mapping[str, Any]) -> None:
    parts = []
    for key, prefix in (
        ("targets", "dataset_target"),
        ("roles", "role"),
        ("languages", "language"),
    ):
        shares = ", ".join(f"{word(prefix, name)} {n:,}" for name, n in counts[key].items())
        if shares:
            parts.append(f"{t(f'dataset.mix.{key}')} {shares}")
    if parts:
        st.caption("  \n".join(parts))
