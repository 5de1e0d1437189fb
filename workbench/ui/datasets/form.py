"""The form of a dataset's rules; what it does not show stays as the YAML says."""

import streamlit as st

from db.questions import question_facets
from db.rating.columns import high_water
from training.datasets.rules import SCOPES, DpoRules, KtoRules, SftRules
from workbench.ui.components.forms import Hint, Spec, SpecForm, value_at
from workbench.ui.components.i18n import t, word
from workbench.ui.components.parts import card
from workbench.ui.components.spec_editor import SpecEditor
from workbench.ui.components.store import database, registry

KINDS = {"sft": SftRules, "dpo": DpoRules, "kto": KtoRules}
GOOD_ENOUGH = 4.0
"""The mean of ratings that a text is taken from, to begin with."""
LEARNED = ("both", "reasoning", "response")
ONLY_SFT = ("targets", "passes", "without_reasoning", "question_to_question")


def starting_rules() -> Spec:
    """Return rules that take something: what was judged good, or at first what was imported."""
    with database().read() as session:
        is_rated = not high_water(session).startswith("0/")
    if is_rated:
        take: Spec = {"rated": {"at_least": GOOD_ENOUGH}, "chosen": True, "ok": True}
        take["edited"] = True
    else:
        take = {"sources": ["imported", "human"]}
    return {"name": t("dataset.new_name"), "kind": "sft", "take": take}


def draw_form(base: Spec, editor: SpecEditor) -> Spec:
    """Draw the form filled from ``base`` and return the rules that it holds now.

    Raises:
        ValueError: Fields cannot hold what ``base`` says.
    """
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
    hints["kind"] = Hint(widget="segments", options=tuple(KINDS), show="dataset_kind")
    spec = KINDS.get(base.get("kind", "sft"), SftRules)
    form = SpecForm(editor.draft, spec, base, "dataset", hints)
    with card("dataset_what"):
        form.draw("name")
        kind = form.draw("kind")
        form.draw("questions.tags", "questions.languages", "questions.roles")
    if kind != base.get("kind", "sft"):
        form.put("take", None)
    hints = _kind_hints(kind, roles)
    form = SpecForm(editor.draft, KINDS[kind], form.spec, "dataset", hints, f"{kind}_")
    form.put("kind", kind)
    with card("dataset_take"):
        st.markdown(f"**{t('dataset.take')}**", help=t("dataset.take_help"))
        if kind == "sft":
            _draw_rated(form)
            form.draw("take.chosen", "take.ok", "take.edited", "take.sources")
        elif kind == "dpo":
            form.draw("take.comparisons", "take.edits")
        else:
            form.draw("take.ok")
    with card("dataset_limits"):
        form.columns(("per_question",), ("held_out",))
        if kind == "sft":
            form.draw("without_reasoning")
        form.draw("blind_only")
        if kind == "sft":
            _draw_targets(form, roles)
    if kind != "sft":
        for name in (*ONLY_SFT, "answers_per_reasoning"):
            form.put(name, None)
    return form.spec


def _kind_hints(kind: str, roles: list[str]) -> dict[str, Hint]:
    scopes = Hint(options=SCOPES, show="rate.scope", text="dataset.scopes")
    return {
        "take.rated.at_least": Hint(
            widget="slider", start=GOOD_ENOUGH, step=0.5, text="dataset.at_least"
        ),
        "take.sources": Hint(show="dataset.source"),
        "take.comparisons": scopes,
        "take.ok": scopes if kind == "kto" else Hint(),
        "held_out": Hint(step=0.05, text="dataset.held_out_share"),
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
