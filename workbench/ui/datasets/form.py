"""The form of a dataset's rules; what it does not show stays as the YAML says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from training.datasets.rules import SCOPES
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card
from workbench.ui.components.spec_draft import Draft, question_selection, without_empty

KINDS = ("sft", "dpo", "kto")
LEARNED = ("both", "reasoning", "response")
SOURCES = ("human", "imported")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetChoices:
    """What the store offers for the form's lists."""

    tags: Sequence[str]
    languages: Sequence[str]
    roles: Sequence[str]


def starting_rules(*, is_rated: bool) -> Draft:
    """Return rules that take something: what was judged good, or at first what was imported."""
    if is_rated:
        take: Draft = {"rated": {"at_least": 4.0}, "chosen": True, "ok": True, "edited": True}
    else:
        take = {"sources": ["imported", "human"]}
    return {"name": t("dataset.new_name"), "kind": "sft", "take": take}


def draw_form(draft: Mapping[str, Any], choices: DatasetChoices, key: str) -> Draft:
    """Draw the form filled from ``draft`` and return the rules that it holds now."""
    rules = dict(draft)
    with card("dataset_what"):
        rules["name"] = st.text_input(
            t("dataset.name"), str(draft.get("name", "")), key=f"{key}_name", max_chars=100
        )
        kind = st.segmented_control(
            t("dataset.kind"),
            KINDS,
            default=draft.get("kind") if draft.get("kind") in KINDS else "sft",
            format_func=lambda one: word("dataset_kind", one),
            key=f"{key}_kind",
            required=True,
            help=t("dataset.kind_help"),
        )
        rules["kind"] = kind
        rules["questions"] = _questions(question_selection(draft), choices, key)
    with card("dataset_take"):
        st.markdown(f"**{t('dataset.take')}**", help=t("dataset.take_help"))
        taken = draft.get("take") if draft.get("kind", "sft") == kind else {}
        taken = taken if isinstance(taken, Mapping) else {}
        rules["take"] = {"sft": _sft, "dpo": _dpo, "kto": _kto}[str(kind)](taken, f"{key}_{kind}")
    with card("dataset_limits"):
        rules |= _limits(draft, str(kind), f"{key}_{kind}")
        if kind == "sft":
            rules["targets"] = _targets(draft, choices.roles, key)
    if kind != "sft":
        for name in ("targets", "passes", "without_reasoning", "question_to_question"):
            rules.pop(name, None)
        rules.pop("answers_per_reasoning", None)
    return without_empty(rules)


def _questions(selection: Mapping[str, Any], choices: DatasetChoices, key: str) -> Draft:
    chosen = dict(selection)
    for name, options, prefix in (
        ("tags", choices.tags, "tag"),
        ("languages", choices.languages, "language"),
        ("roles", choices.roles, "role"),
    ):
        given = [str(one) for one in selection.get(name, ()) or ()]
        chosen[name] = st.multiselect(
            t(f"dataset.{name}"),
            list(dict.fromkeys([*options, *given])),
            given,
            format_func=partial(word, prefix),
            placeholder=t("dataset.all_questions"),
            key=f"{key}_{name}",
        )
    return without_empty(chosen)


def _sft(take: Mapping[str, Any], key: str) -> Draft:
    rated = take.get("rated")
    by_rating = st.checkbox(
        t("dataset.rated"), bool(rated), key=f"{key}_rated", help=t("dataset.rated_help")
    )
    found = dict(take)
    found.pop("rated", None)
    if by_rating:
        at_least = rated.get("at_least", 4.0) if isinstance(rated, Mapping) else 4.0
        least = st.slider(t("dataset.at_least"), 1.0, 5.0, float(at_least), 0.5, key=f"{key}_least")
        found["rated"] = {**(rated if isinstance(rated, Mapping) else {}), "at_least": least}
    for name in ("chosen", "ok", "edited"):
        found[name] = st.checkbox(t(f"dataset.{name}"), bool(take.get(name)), key=f"{key}_{name}")
    found["sources"] = st.multiselect(
        t("dataset.sources"),
        SOURCES,
        [one for one in take.get("sources", ()) if one in SOURCES],
        format_func=lambda one: t(f"dataset.source.{one}"),
        placeholder=t("dataset.sources_none"),
        key=f"{key}_sources",
    )
    return {name: value for name, value in found.items() if value not in (False, [], None)}


def _dpo(take: Mapping[str, Any], key: str) -> Draft:
    scopes = _scopes("comparisons", take, key)
    edits = st.checkbox(t("dataset.edits"), bool(take.get("edits", True)), key=f"{key}_edits")
    return {"comparisons": scopes, "edits": edits}


def _kto(take: Mapping[str, Any], key: str) -> Draft:
    return {"ok": _scopes("ok", take, key)}


def _scopes(name: str, take: Mapping[str, Any], key: str) -> list[str]:
    given = take.get(name, SCOPES)
    return st.multiselect(
        t("dataset.scopes"),
        SCOPES,
        [one for one in given if one in SCOPES] if isinstance(given, (list, tuple)) else SCOPES,
        format_func=lambda one: t(f"rate.scope.{one}"),
        key=f"{key}_scopes",
    )


def _limits(draft: Mapping[str, Any], kind: str, key: str) -> Draft:
    left, right = st.columns(2)
    default = 3 if kind == "sft" else 10
    with left:
        per_question = st.number_input(
            t("dataset.per_question"),
            1,
            value=int(draft.get("per_question", default)),
            key=f"{key}_per_question",
            help=t("dataset.per_question_help"),
        )
    with right:
        held_out = st.number_input(
            t("dataset.held_out_share"),
            0.0,
            0.5,
            float(draft.get("held_out", 0.1)),
            0.05,
            key=f"{key}_held_out",
            help=t("dataset.held_out_share_help"),
        )
    found: Draft = {"per_question": int(per_question), "held_out": float(held_out)}
    if kind == "sft":
        found["without_reasoning"] = st.slider(
            t("dataset.without_reasoning"),
            0.0,
            0.9,
            float(draft.get("without_reasoning", 0.1)),
            0.05,
            key=f"{key}_without",
            help=t("dataset.without_reasoning_help"),
        )
    found["blind_only"] = st.checkbox(
        t("dataset.blind_only"), bool(draft.get("blind_only", False)), key=f"{key}_blind"
    )
    return found


def _targets(draft: Mapping[str, Any], roles: Sequence[str], key: str) -> Draft:
    given = draft.get("targets")
    given = given if isinstance(given, Mapping) else {}
    st.markdown(t("dataset.targets"), help=t("dataset.targets_help"))
    chosen = {}
    for role in roles:
        current = given.get(role, "both")
        chosen[role] = st.segmented_control(
            word("role", role),
            LEARNED,
            default=current if current in LEARNED else "both",
            format_func=lambda one: t(f"dataset.learned.{one}"),
            key=f"{key}_target_{role}",
            required=True,
        )
    return {role: what for role, what in chosen.items() if what and what != "both"}
