"""The settings of a training on a form: the usual ones in sight, the rest folded.

A round has the same fields. Fields left empty are the preset's to say: they show its value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import streamlit as st

from db.datasets import DatasetInfo, find_dataset
from db.errors import Q2QError
from db.settings import settings
from db.training import enqueue_training, list_runs
from training.datasets.balance import cautions, read_balance
from training.methods import METHODS, MethodName, methods_for
from training.runs.estimate import RowSizes, RunEstimate
from training.runs.prepare import Prepared, estimate_plan, plan_run, queue_run, sizes_of_plan
from training.runs.presets import PROJECTIONS, RunSettings
from training.runs.spec import TrainSpec, parse_spec
from workbench.i18n import estimate_sentences
from workbench.ui.components import url
from workbench.ui.components.controls import errors_shown
from workbench.ui.components.drafts import FormDraft
from workbench.ui.components.forms import Hint, SpecForm, field_type
from workbench.ui.components.i18n import current_language, t, word
from workbench.ui.components.parts import card, section
from workbench.ui.components.store import database, registry
from workbench.ui.components.text import escaped, told
from workbench.ui.datasets.dataset import draw_cautions

PRESETS: Final = ("auto", "laptop", "notebook", "fast", "24gb", "max")
USUAL: Final = ("epochs", "learning_rate", "r", "max_length")
FOLDED: Final[Mapping[str, tuple[str, ...]]] = {
    "length": ("max_steps", "batch", "accumulation", "warmup"),
    "adapter": ("alpha", "dropout", "targets", "prompt_format"),
    "learning": ("schedule", "optimizer", "weight_decay", "seed"),
    "method": ("loss_on", "beta", "desirable_weight", "undesirable_weight"),
    "memory": ("packing", "recomputation", "base_precision", "layers"),
    "machines": ("processes", "nodes", "rendezvous"),
    "looks": ("eval_every", "save_every", "samples", "report_to"),
}
"""Settings that are folded away, a row for each kind."""
ELSEWHERE: Final = ("dataset", "name", "base", "method", "preset", "load_in_4bit")
"""Fields of the spec above the settings; ``load_in_4bit`` is the older ``base_precision``."""
_ON_OFF: Final = {True: "on", False: "off"}
_HINTS: Final[Mapping[str, Hint]] = {
    "preset": Hint(options=PRESETS, show="preset", text="training.preset"),
    "epochs": Hint(step=1, format="%g"),
    "learning_rate": Hint(step=1e-4, format="%g"),
    "r": Hint(step=8),
    "max_length": Hint(step=128),
    "dropout": Hint(step=0.05),
    "weight_decay": Hint(step=0.01, format="%g"),
    "beta": Hint(step=0.05, format="%g"),
    "targets": Hint(options=PROJECTIONS),
    "packing": Hint(
        options=(True, False), show=lambda value: word("train_spec.packing", _ON_OFF[value])
    ),
    "recomputation": Hint(show="train_spec.recomputation"),
    "base_precision": Hint(show="train_spec.base_precision"),
    "loss_on": Hint(show="train_spec.loss_on"),
    "processes": Hint(options=("auto", 1, 2, 4, 8), example="auto"),
    "rendezvous": Hint(example="gpu1:29500"),
    "report_to": Hint(show="train_spec.report_to"),
}


def training_hints(preset: RunSettings | None) -> dict[str, Hint]:
    """Return the hints of all settings; those of a preset are what an empty field shows."""
    hints = dict(_HINTS)
    formats = [name for name, one in registry().current.formats.items() if one.tasks.whole]
    names = dict.fromkeys(name.partition("@")[0] for name in formats)
    hints["prompt_format"] = Hint(options=list(names), show=str)
    if preset is None:
        return hints
    for name in (*USUAL, *(one for names in FOLDED.values() for one in names)):
        value = getattr(preset, name, None)
        if value is not None and name not in ("processes", "rendezvous"):
            hints[name] = replace(hints.get(name, Hint()), example=_shown(name, value))
    return hints


def _shown(name: str, value: object) -> str:
    if isinstance(value, bool):
        return word(f"train_spec.{name}", _ON_OFF[value])
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else word(f"train_spec.{name}", str(value))


def first_asked(datasets: Sequence[DatasetInfo]) -> list[DatasetInfo]:
    """Return datasets, that of ``?dataset=`` first: forms begin with the first one."""
    return sorted(datasets, key=lambda one: one.id != url.number("dataset"))


def draw_form(kinds: Mapping[str, str], bases: list[str], default: str | None) -> None:
    """Draw the form of a new run, with what it will take.

    Args:
        kinds: Frozen datasets, each with the kind of its rows.
        bases: Models that can be trained.
        default: The model of the settings, where the store has it already.
    """
    with card("training_new"):
        section(t("training.new"), t("training.new_help"))
        draft = FormDraft("training")
        hints: dict[str, Hint] = {}
        form = SpecForm(draft, TrainSpec, {}, "train_spec", hints)
        hints |= {
            "dataset": Hint(options=list(kinds), text="training.dataset"),
            "base": Hint(
                options=bases, start=default, example=t("training.default_base"),
                text="training.base",
            ),
            "preset": _HINTS["preset"],
        }  # fmt: skip
        columns = st.columns(4)
        with columns[0]:
            kind = kinds[form.draw("dataset")]
        methods = methods_for(kind)
        with columns[1]:
            hints["method"] = _method_hint(methods)
            chosen = form.draw("method", name=f"method_{kind}") or methods[0]
        for column, name in zip(columns[2:], ("base", "preset"), strict=True):
            with column:
                form.draw(name)
        hints |= training_hints(_preset_of(form.spec))
        draw_usual(form, "name")
        draw_folded(form, [chosen])
        with errors_shown():
            _draw_start(parse_spec(form.spec), draft)


def _preset_of(spec: Mapping[str, object]) -> RunSettings | None:
    """Return the settings of what is chosen so far; None where its base is still to be made."""
    if not spec.get("base"):
        return None
    try:
        return plan_run(database(), settings(), parse_spec(spec)).resolved.settings
    except Q2QError:
        return None  # the same is said of the whole spec


def _draw_start(spec: TrainSpec, draft: FormDraft) -> None:
    if spec.base:  # the default model may have to be made first: not while a page is drawn
        draw_plan(spec, plan_run(database(), settings(), spec))
    with database().read() as session:
        balance = read_balance(session, find_dataset(session, spec.dataset))
    draw_cautions(cautions(balance))
    if st.button(t("training.start"), type="primary", icon=":material/play_arrow:"):
        with errors_shown():
            planned = plan_run(database(), settings(), spec)
            with database().write() as session:
                run = queue_run(session, spec, planned)
                enqueue_training(session, run.id)
            draft.forget()
            url.put("run", str(run.id))
            st.toast(t("training.queued"), icon=":material/check:")
            st.rerun()


def draw_plan(spec: TrainSpec, planned: Prepared) -> None:
    """Draw the preset with its reason, and what the run of a plan will take."""
    st.caption(told(planned.resolved.why))
    with database().read() as session:
        newest = next(iter(list_runs(session, 1)), None)
    mark = "" if newest is None else f"{newest.id} {newest.state}"
    found = _estimated(database().label, mark, spec.model_dump_json(), spec, planned)
    time, *rest = estimate_sentences(found, current_language())
    st.markdown(f":material/schedule: **{escaped(time)}**")
    if rest:
        st.caption(escaped(" ".join(rest)))


@st.cache_data(show_spinner=False, max_entries=32)
def _estimated(
    label: str, mark: str, asked: str, _spec: TrainSpec, _planned: Prepared
) -> RunEstimate | None:
    """Return what a run will take; all but the last two are for the cache."""
    key = (label, _planned.dataset.content_hash, _spec.prompt_format, _planned.base.digest)
    sizes = _sizes(*key, _spec, _planned)
    return estimate_plan(database(), settings(), _spec, _planned, sizes)


@st.cache_data(show_spinner=False, max_entries=16)
def _sizes(
    label: str,
    dataset: str | None,
    prompt_format: str,
    base: str | None,
    _spec: TrainSpec,
    _planned: Prepared,
) -> RowSizes:
    """Return the sizes of rows, which take reading a tokenizer."""
    with database().read() as session:
        return sizes_of_plan(session, settings(), _spec, _planned)


def _method_hint(methods: list[MethodName]) -> Hint:
    """Return the choice among the methods for the rows; nothing chosen means the first."""
    labels = {name: METHODS[name].label for name in methods}
    return Hint(
        options=methods,
        show=lambda name: labels[name],
        example=labels[methods[0]],
        text="training.method",
    )


def draw_usual(form: SpecForm, *before: str) -> None:
    """Draw the fields ``before`` and the usual settings in one row."""
    names = (*before, *USUAL)
    form.columns(*((name,) for name in names), vertical_alignment="bottom")


def draw_folded(form: SpecForm, methods: Sequence[MethodName]) -> None:
    """Draw the other settings, folded; of a method only what one of ``methods`` takes."""
    own = {name for method in METHODS.values() for name in method.settings}
    taken = {name for method in methods for name in METHODS[method].settings}
    with st.expander(t("training.more"), icon=":material/tune:"):
        for kind, names in FOLDED.items():
            shown = [name for name in names if name not in own or name in taken]
            st.caption(t(f"training.more.{kind}"))
            form.columns(*((name,) for name in shown), vertical_alignment="bottom")
    if form.spec.get("prompt_format") == field_type(form.type, "prompt_format").default:
        form.put("prompt_format", None)
