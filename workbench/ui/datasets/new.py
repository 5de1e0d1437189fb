"""A new dataset: its rules as a form and as YAML, and beside them what each takes and drops."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.counts import background_count
from db.datasets import list_datasets
from db.errors import Q2QError
from db.questions import question_facets
from db.rating.columns import high_water
from db.rating.queues import list_queues
from db.tables import Answer, Dataset, Question, ReasoningVariant
from serving.checks import BAD_FINDINGS, CHECKS
from training.datasets.balance import Caution, balance_of, cautions
from training.datasets.build import BuiltRow, build
from training.datasets.freeze import consequences, freeze
from training.datasets.rules import (
    RULES,
    SCOPES,
    DemonstrationRules,
    Rules,
    parse_rules,
    parse_yaml,
)
from training.methods import ROW_KINDS, STORED_KINDS, RowKind, StoredKind
from workbench.i18n import nothing_trains
from workbench.ui.components import url
from workbench.ui.components.controls import back_link, download, errors_shown, trail
from workbench.ui.components.forms import Hint, Spec, SpecForm, value_at
from workbench.ui.components.i18n import current_language, t, translated, word
from workbench.ui.components.labels import count
from workbench.ui.components.parts import card, heading
from workbench.ui.components.spec_editor import SpecEditor, draw_invalid, to_yaml
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import free_name, told
from workbench.ui.datasets.dataset import PAGE_SIZE, draw_cautions, draw_counts, row_card

KINDS: tuple[StoredKind, ...] = ("sft", "dpo", "kto")
GOOD_ENOUGH = 4.0
"""The mean of ratings that a text is taken from, to begin with."""
LEARNED = ("both", "reasoning", "response")
ONLY_DEMONSTRATIONS = ("targets", "passes", "without_reasoning", "question_to_question")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What rules would come to."""

    counts: dict[str, Any]
    cautions: tuple[Caution, ...]
    rows: tuple[BuiltRow, ...]
    struck_out: tuple[BuiltRow, ...]


def draw_new() -> None:
    """Draw the rules of this visit and what they come to."""
    kind = wanted_kind()
    editor = SpecEditor(f"rules-{kind}", lambda: starting_rules(kind))
    trail(back_link(t("datasets.back"), _leave, editor.draft), t("dataset.new_title"))
    heading(t("dataset.new_title"), t("dataset.new_lead"))
    editor.draft.draw_notice()
    left, right = st.columns([1, 1], gap="large")
    with left:
        rules = editor.draw(
            t("dataset.new_title"),
            lambda base: draw_form(base, editor),
            _check,
            lambda: editor.draw_text(t("dataset.yaml"), height=460),
            t("dataset.invalid"),
        )
    with right, card("dataset_preview"):
        st.markdown(f"**{t('dataset.preview')}**", help=t("dataset.preview_help"))
        if rules is not None:
            _draw_preview(rules, editor)


def _check(rules: Spec) -> Rules:
    return parse_rules(rules, where=t("dataset.rules"))


def _leave() -> None:
    url.clear("new", "as", "kind", "rows", "page")


def _draw_preview(spec: Spec, editor: SpecEditor) -> None:
    text = to_yaml(spec)
    try:
        with st.spinner(t("dataset.counting"), show_time=True):
            rules = _check(spec)
            found = preview(text)
    except Q2QError as error:
        draw_invalid(t("dataset.invalid"), translated(error))
        return
    counts = found.counts
    draw_counts(counts, "preview", is_frozen=False)
    draw_cautions(found.cautions)
    if sentence := nothing_trains(counts, current_language()):
        st.info(sentence)
    with st.popover(
        t("dataset.freeze"),
        type="primary",
        icon=":material/ac_unit:",
        width="stretch",
        help=t("dataset.freeze_help"),
        disabled=not counts["rows"]["train"],
    ):
        _draw_confirm(counts, rules, editor)
    download(
        t("dataset.download_rules"),
        text,
        "dataset.yaml",
        type="tertiary",
    )
    _draw_rows(found, editor)


def _draw_confirm(counts: Mapping[str, Any], rules: Rules, editor: SpecEditor) -> None:
    """Say what freezing does for good, and do it once that is confirmed."""
    for sentence in consequences(counts):
        st.markdown(f"- {told(sentence)}")
    if st.button(t("dataset.freeze_now"), type="primary", icon=":material/ac_unit:"):
        with errors_shown():
            dataset_id = freeze_rules(rules)
            editor.draft.forget()
            _leave()
            url.put("dataset", str(dataset_id))
            st.toast(t("dataset.frozen"), icon=":material/check:")
            st.rerun()


def _draw_rows(found: Preview, editor: SpecEditor) -> None:
    """Draw the rows, each with the button that strikes it out, and those that are struck out."""
    by_split = {one: [r for r in found.rows if r.split == one] for one in ("train", "held_out")}
    kinds = {**by_split, "struck_out": list(found.struck_out)}
    kinds = {name: rows for name, rows in kinds.items() if rows}
    if not kinds:
        return
    shown = url.segments(
        "rows", t("dataset.rows"), list(kinds), lambda one: f"{_kind(one)} {count(len(kinds[one]))}"
    )
    rows = kinds[shown]
    page = url.page_of("page", len(rows), PAGE_SIZE)
    struck = [row.key for row in found.struck_out]
    for row in rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]:
        with row_card(row.key, row.texts, row.target, row.candidate.label):
            is_out = row.key in struck
            keys = [one for one in struck if one != row.key] if is_out else [*struck, row.key]
            name = "take_back" if is_out else "strike"
            st.button(
                t(f"dataset.{name}"),
                key=f"{name}_{row.key}",
                icon=":material/undo:" if is_out else ":material/strikethrough_s:",
                type="tertiary",
                help=t("dataset.strike_help"),
                on_click=editor.change,
                args=("struck_out", keys or None),
            )
    url.pages("page", len(rows), PAGE_SIZE)


def _kind(name: str) -> str:
    return t("dataset.struck" if name == "struck_out" else f"dataset.{name}")


def store_mark(session: Session) -> str:
    """Return a mark that changes whenever a preview might."""
    tables = (Question, ReasoningVariant, Answer, Dataset)
    newest = [session.scalar(select(func.max(table.id))) or 0 for table in tables]
    return "/".join(map(str, (high_water(session), *newest)))


def preview(rules_text: str) -> Preview:
    """Return what each rule takes and drops; the same text on the same store is computed once.

    Raises:
        UsageError: The rules are wrong, or name something that is not in the store.
    """
    store = database()
    with store.read() as session:
        mark = store_mark(session)
    return _preview(store.label, mark, rules_text)


@st.cache_resource(show_spinner=False, max_entries=8)
def _preview(label: str, mark: str, rules_text: str) -> Preview:
    with database().read() as session:
        built = build(session, parse_yaml(rules_text), registry())
        found = cautions(balance_of(session, built))
    counts = built.counts.as_json()
    return Preview(
        counts=counts, cautions=tuple(found), rows=built.rows, struck_out=built.struck_out
    )


def freeze_rules(rules: Rules) -> int:
    """Build the dataset as the store is now, freeze it and return its id.

    Raises:
        UsageError: Nothing to train on, or the name is taken.
    """
    with database().write() as session:
        return freeze(session, build(session, rules, registry()))


def wanted_kind() -> StoredKind:
    """Return the kind of the address, or else the first one that ratings give rows of."""
    named = url.parameter("kind")
    found = next((kind for kind in KINDS if kind == named), None)
    return found or best_kind(rows_by_kind() or {})


def best_kind(rows: Mapping[StoredKind, int]) -> StoredKind:
    """Return the kind to begin with: demonstrations where there are any, else what has rows."""
    return next((kind for kind, n in rows.items() if n), "sft")


def rows_by_kind() -> dict[StoredKind, int] | None:
    """Return how many rows to train on the starting rules of each kind give; None: counted soon."""
    known = registry()
    rules = {kind: parse_rules(starting_rules(kind), where="rules") for kind in KINDS}

    def counted_rows(own: Session) -> dict[StoredKind, int]:
        return {kind: build(own, one, known).counts.rows["train"] for kind, one in rules.items()}

    with database().read() as session:
        return background_count(session, "rows by kind", store_mark(session), counted_rows)


def rows_text(rows: Mapping[StoredKind, int]) -> str:
    """Return "SFT 0, DPO 8, KTO 3"."""
    return ", ".join(f"{kind.upper()} {count(n)}" for kind, n in rows.items())


def starting_rules(kind: StoredKind = "sft") -> Spec:
    """Return rules that take something: what was judged good, or at first what was imported."""
    with database().read() as session:
        is_rated = not high_water(session).startswith("0/")
        known = [*list_datasets(session), *list_datasets(session, archived=True)]
        findings = _findings_left_out(session)
    rules: Spec = {
        "name": free_name(t("dataset.new_name"), {one.name for one in known}),
        "kind": kind,
    }
    if findings is not None:
        rules["findings"] = findings
    if kind != "sft":
        return rules
    take: Spec = {"sources": ["imported", "human"]}
    if is_rated:
        take = {"rated": {"at_least": GOOD_ENOUGH}, "chosen": True, "ok": True, "edited": True}
    return rules | {"take": take}


def _findings_left_out(session: Session) -> list[str] | None:
    """Return what the newest queue left out, where raters wanted to see more than is usual."""
    own = (one for one in list_queues(session) if one.spec.get("round") is None)
    queue = next(own, None)
    left_out = queue.spec.get("leave_out") if queue is not None else None
    if left_out is None or set(left_out) >= set(BAD_FINDINGS):
        return None
    return [name for name in BAD_FINDINGS if name in left_out]


def draw_form(base: Spec, editor: SpecEditor) -> Spec:
    """Draw the form filled from ``base`` and return the rules that it holds now.

    Raises:
        ValueError: Fields cannot hold what ``base`` says.
    """
    named = base.get("kind", "sft")
    base = {**base, "kind": STORED_KINDS.get(named, named)}
    with database().read() as session:
        facets = question_facets(session)
    roles = list(dict.fromkeys(name.rpartition("@")[0] for name in registry().roles))
    questions = {"tags": facets.tags, "languages": facets.languages, "roles": roles}
    hints = {
        f"questions.{name}": Hint(
            options=list(options), show=name.removesuffix("s"), example=t("dataset.all_questions")
        )
        for name, options in questions.items()
    }
    hints["kind"] = Hint(widget="segments", options=tuple(RULES), show="dataset_kind")
    spec = RULES.get(base["kind"], DemonstrationRules)
    form = SpecForm(editor.draft, spec, base, "dataset", hints)
    with card("dataset_what"):
        form.draw("name")
        kind = form.draw("kind")
        if found := rows_by_kind():
            st.caption(t("dataset.rows_by_kind", kinds=rows_text(found)))
        form.draw("questions.tags", "questions.languages", "questions.roles")
    if kind != base["kind"]:
        form.put("take", None)
    rows = ROW_KINDS[kind]
    hints = _kind_hints(rows, roles)
    form = SpecForm(editor.draft, RULES[kind], form.spec, "dataset", hints, f"{kind}_")
    form.put("kind", kind)
    with card("dataset_take"):
        st.markdown(f"**{t('dataset.take')}**", help=t("dataset.take_help"))
        if rows == "demonstrations":
            _draw_rated(form)
            form.draw("take.chosen", "take.ok", "take.edited", "take.sources")
        elif rows == "pairs":
            form.draw("take.comparisons", "take.edits")
        else:
            form.draw("take.ok")
    with card("dataset_limits"):
        form.columns(("per_question",), ("held_out",))
        if rows == "demonstrations":
            form.draw("without_reasoning")
        form.draw("blind_only")
        if rows == "demonstrations":
            _draw_targets(form, roles)
        form.draw("findings")
    if rows != "demonstrations":
        for name in (*ONLY_DEMONSTRATIONS, "answers_per_reasoning"):
            form.put(name, None)
    return form.spec


def _kind_hints(rows: RowKind, roles: list[str]) -> dict[str, Hint]:
    scopes = Hint(options=SCOPES, show="rate.scope", text="dataset.scopes")
    return {
        "take.rated.at_least": Hint(
            widget="slider", start=GOOD_ENOUGH, step=0.5, text="dataset.at_least"
        ),
        "take.sources": Hint(show="dataset.source"),
        "take.comparisons": scopes,
        "take.ok": scopes if rows == "labelled" else Hint(),
        "held_out": Hint(step=0.05, text="dataset.held_out_share"),
        "findings": Hint(options=list(CHECKS), show="check"),
        "without_reasoning": Hint(widget="slider", step=0.05),
        **{
            f"targets.{role}": Hint(
                widget="segments",
                options=LEARNED,
                show="dataset.learned",
                label=word("role", role),
            )
            for role in roles
        },
    }


def _draw_rated(form: SpecForm) -> None:
    rated = value_at(form.base, "take.rated")
    key = form.draft.field("sft_by_rating", bool(rated))
    if st.checkbox(t("dataset.rated"), key=key, help=t("dataset.rated_help")):
        form.draw("take.rated.at_least")
    else:
        form.put("take.rated", None)


def _draw_targets(form: SpecForm, roles: list[str]) -> None:
    st.markdown(t("dataset.targets"), help=t("dataset.targets_help"))
    for role in roles:
        if form.draw(f"targets.{role}") == LEARNED[0]:
            form.put(f"targets.{role}", None)
