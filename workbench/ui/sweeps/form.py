"""The form of a new sweep: every factor of a spec, grouped as people think of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import streamlit as st

from db.tables import MODES
from serving.sweeps.spec import FROM_EXISTING, OWN_ROLE
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card
from workbench.ui.components.spec_draft import (
    FIRST_SAMPLING,
    MORE_SAMPLING,
    SAMPLING_COLUMNS,
    Draft,
    numbers,
    question_selection,
    reasoning_selection,
    sampling_levels,
    sampling_rows,
    without_empty,
)
from workbench.ui.components.text import escaped

MOST_TEXTS = 10_000
"""Reasonings of a question, or answers under one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the store offers for the form's lists."""

    tags: Sequence[str]
    languages: Sequence[str]
    roles: Sequence[str]
    formats: Sequence[str]
    models: Sequence[str]
    checks: Sequence[str]


def draw_form(draft: Mapping[str, Any], choices: Choices, key: str) -> Draft:
    """Draw the form filled from ``draft`` and return the mapping that it holds now.

    Args:
        draft: What to start from; keys that the form does not show are kept.
        choices: Entries of the lists.
        key: Changes whenever the fields are to be filled afresh.
    """
    with card("spec_what"):
        name = st.text_input(
            t("spec.name"), draft.get("name", ""), key=f"{key}_name", max_chars=200
        )
        st.markdown(f"**{t('spec.questions')}**", help=t("spec.questions_help"))
        questions = _questions(question_selection(draft), choices, key)
    with card("spec_how"):
        values = _how(draft, choices, key)
        modes = values["modes"]
        reasonings = (
            _reasonings(reasoning_selection(draft), choices, key)
            if FROM_EXISTING & set(modes)
            else {}
        )
    with card("spec_models"):
        values |= _models(draft, choices, key)
    with card("spec_sampling"):
        values |= _sampling(draft, key)
    return {
        "name": name,
        **without_empty({"questions": questions, "reasonings": reasonings, **values}),
    }


def _questions(selection: Mapping[str, Any], choices: Choices, key: str) -> Draft:
    left, right = st.columns(2)
    with left:
        tags = _many("tags", selection.get("tags"), choices.tags, key)
        languages = _many(
            "languages", selection.get("languages"), choices.languages, key, "language"
        )
    with right:
        roles = _many("question_roles", selection.get("roles"), choices.roles, key, "role")
        search = st.text_input(t("spec.search"), selection.get("search") or "", key=f"{key}_search")
    ids = st.text_input(
        t("spec.ids"),
        ", ".join(str(i) for i in selection.get("ids", ())),
        key=f"{key}_ids",
        placeholder="q12, q15",
        help=t("spec.ids_help"),
    )
    limit = st.number_input(
        t("spec.limit"),
        1,
        value=selection.get("limit"),
        key=f"{key}_limit",
        placeholder=t("spec.all"),
    )
    return without_empty(
        {
            "tags": tags,
            "ids": numbers(ids or ""),
            "file": selection.get("file"),
            "search": search,
            "languages": languages,
            "roles": roles,
            "limit": limit,
        }
    )


def _how(draft: Mapping[str, Any], choices: Choices, key: str) -> Draft:
    modes = st.pills(
        t("spec.modes"),
        MODES,
        selection_mode="multi",
        default=[mode for mode in draft.get("modes", ("reasoning",)) if mode in MODES],
        format_func=lambda mode: word("mode", mode),
        key=f"{key}_modes",
        help="\n\n".join([t("spec.modes_help"), *(_mode_line(mode) for mode in MODES)]),
    )
    for mode in modes:
        st.caption(_mode_line(mode))
    left, right = st.columns(2)
    with left:
        variants = st.number_input(
            t("spec.variants"),
            1,
            MOST_TEXTS,
            draft.get("variants", 4),
            key=f"{key}_variants",
            help=t("spec.variants_help"),
        )
        formats = _many("formats", draft.get("formats", ("chat@1",)), choices.formats, key)
    with right:
        answers = st.number_input(
            t("spec.answers"),
            0,
            MOST_TEXTS,
            draft.get("answers", 2),
            key=f"{key}_answers",
            help=t("spec.answers_help"),
        )
        roles = _many(
            "roles", draft.get("roles", (OWN_ROLE,)), [OWN_ROLE, *choices.roles], key, "role"
        )
    one_pass = list(modes) == ["reasoning"] and st.checkbox(
        t("spec.one_pass"),
        bool(draft.get("one_pass", False)),
        key=f"{key}_one_pass",
        help=t("spec.one_pass_help"),
    )
    return {
        **({"one_pass": True} if one_pass else {}),
        "formats": formats,
        "roles": roles,
        "modes": list(modes),
        "variants": int(variants),
        "answers": int(answers),
    }


def _mode_line(mode: str) -> str:
    return f"**{word('mode', mode)}** — {t(f'mode_help.{mode}')}"


def _models(draft: Mapping[str, Any], choices: Choices, key: str) -> Draft:
    left, right = st.columns(2)
    with left:
        models = _many(
            "models", draft.get("models", ("default",)), choices.models, key, "model_choice"
        )
    with right:
        answer_models = _many(
            "answer_models", draft.get("answer_models"), choices.models, key, "model_choice"
        )
    return {"models": models, "answer_models": answer_models}


def _sampling(draft: Mapping[str, Any], key: str) -> Draft:
    st.markdown(f"**{t('spec.sampling')}**", help=t("spec.sampling_help"))
    st.caption(t("spec.sampling_lead"))
    chosen = [*(draft.get("reasoning_sampling") or ()), *(draft.get("answer_sampling") or ())]
    uses_more = any(name in level for level in chosen for name in MORE_SAMPLING)
    shows_more = st.toggle(t("spec.sampling_more"), uses_more, key=f"{key}_more_sampling")
    levels = {}
    for name in ("reasoning_sampling", "answer_sampling"):
        st.markdown(t(f"spec.{name}"))
        rows = st.data_editor(
            sampling_rows(draft.get(name)),
            num_rows="dynamic",
            hide_index=True,
            key=f"{key}_{name}",
            column_order=SAMPLING_COLUMNS if shows_more else FIRST_SAMPLING,
            column_config={name: _sampling_column(name) for name in SAMPLING_COLUMNS},
        )
        levels[name] = sampling_levels(cast(list[dict[str, Any]], rows))
    seed = st.number_input(
        t("spec.seed"),
        0,
        value=draft.get("seed"),
        key=f"{key}_seed",
        placeholder=t("spec.seed_none"),
        help=t("spec.seed_help"),
    )
    return {**levels, "seed": seed}


def _sampling_column(name: str) -> Any:
    return st.column_config.NumberColumn(t(f"sampling.{name}"), help=t(f"sampling.{name}_help"))


def _reasonings(selection: Mapping[str, Any], choices: Choices, key: str) -> Draft:
    st.markdown(f"**{t('spec.reasonings')}**", help=t("spec.reasonings_help"))
    left, right = st.columns(2)
    with left:
        sweep = st.number_input(
            t("spec.reasonings_sweep"),
            1,
            value=selection.get("sweep"),
            key=f"{key}_from_sweep",
            placeholder=t("spec.any_sweep"),
        )
        search = st.text_input(
            t("spec.reasonings_search"), selection.get("search") or "", key=f"{key}_from_search"
        )
    with right:
        ids = st.text_input(
            t("spec.reasonings_ids"),
            ", ".join(str(i) for i in selection.get("ids", ())),
            key=f"{key}_from_ids",
            placeholder="v3, v8",
        )
        absent = _many(
            "checks_absent", selection.get("checks_absent"), choices.checks, key, "check"
        )
    rating = st.number_input(
        t("spec.min_rating"),
        value=selection.get("min_rating"),
        key=f"{key}_from_rating",
        placeholder=t("spec.any_rating"),
    )
    return without_empty(
        {
            "ids": numbers(ids or ""),
            "search": search,
            "min_rating": rating,
            "file": selection.get("file"),
            "sweep": sweep,
            "checks_absent": absent,
        }
    )


def _many(
    name: str,
    chosen: Sequence[str] | None,
    options: Sequence[str],
    key: str,
    words: str | None = None,
) -> list[str]:
    known = list(dict.fromkeys([*options, *(chosen or ())]))
    return st.multiselect(
        t(f"spec.{name}"),
        known,
        list(chosen or ()),
        format_func=(lambda value: word(words, value)) if words else escaped_name,
        key=f"{key}_{name}",
        help=t(f"spec.{name}_help"),
        placeholder=t(f"spec.{name}_any"),
    )


def escaped_name(value: str) -> str:
    """Return a name of the store's own for a list."""
    return escaped(value).replace("\\", "")
