"""What a person asks for in a training run, from YAML or options; and what it resolves to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SkipValidation,
    StrictBool,
    StrictInt,
    model_validator,
)

from db.errors import UsageError
from db.input_text import Number, load_mapping, read_text
from db.messages import Message
from db.spec_files import validated
from serving.device import Device
from serving.engine.shape import DEFAULT_SHAPE, ModelShape
from training.datasets.balance import class_weights
from training.methods import METHODS, ROW_KINDS, Method, MethodName, RowKind, methods_for
from training.runs.presets import (
    IN_FP8,
    PRESETS,
    BasePrecision,
    Optimizer,
    PresetName,
    Recomputation,
    ReportTo,
    RunSettings,
    Schedule,
    choose_preset,
)

WEIGHTS = ("desirable_weight", "undesirable_weight")
FP8_CAPABILITY = 8.9
"""The first compute capability whose matrix units take FP8."""
COMPILED_CAPABILITY = 8.0
"""The first with bf16 and PyTorch's attention for packed rows."""


TYPICAL_ROW = 320
"""Tokens of a row with a reasoning and an answer, as far as many fill a packed sequence."""
STEPS_AN_EPOCH = 15
"""More processes make fewer steps of the same rows; below this the adapter learns too few times."""


class TrainSpec(BaseModel):
    """A training run as asked for; what is not told, the preset decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(min_length=1)
    """Name or number of a frozen dataset."""
    method: MethodName | None = None
    """How it trains; default is the first of the methods for its kind of rows."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,80}$")
    """How the adapter will be called; default is made of the dataset and the run's number."""
    base: str | None = None
    """Name of the model to train; default is the model of the settings."""
    prompt_format: str = "tagged"
    """The format in which the model learns to read and write."""
    preset: Literal["auto", "notebook", "fast", "24gb", "max", "laptop"] = "auto"

    r: StrictInt | None = Field(default=None, ge=1, le=512)
    alpha: StrictInt | None = Field(default=None, ge=1)
    dropout: Number | None = Field(default=None, ge=0, lt=1)
    targets: tuple[str, ...] | None = Field(default=None, min_length=1)
    learning_rate: Number | None = Field(default=None, gt=0, le=1)
    schedule: Schedule | None = None
    warmup: StrictInt | None = Field(default=None, ge=0)
    max_steps: StrictInt | None = Field(default=None, ge=1)
    epochs: Number | None = Field(default=None, gt=0)
    batch: StrictInt | None = Field(default=None, ge=1)
    accumulation: StrictInt | None = Field(default=None, ge=1)
    max_length: StrictInt | None = Field(default=None, ge=16)
    packing: StrictBool | None = None
    recomputation: Recomputation | None = None
    base_precision: BasePrecision | None = None
    load_in_4bit: StrictBool | None = None
    """The older way to say ``base_precision: nf4`` or ``bf16``."""
    layers: Literal["unsloth", "compiled"] | None = None
    optimizer: Optimizer | None = None
    weight_decay: Number | None = Field(default=None, ge=0)
    seed: StrictInt | None = Field(default=None, ge=0)
    eval_every: StrictInt | None = Field(default=None, ge=1)
    save_every: StrictInt | None = Field(default=None, ge=1)
    samples: StrictInt | None = Field(default=None, ge=0, le=20)
    loss_on: Literal["completion", "all"] | None = None
    beta: Number | None = Field(default=None, gt=0)
    desirable_weight: Number | None = Field(default=None, gt=0, le=10_000)
    undesirable_weight: Number | None = Field(default=None, gt=0, le=10_000)
    """Of OK and not OK rows in KTO; neither told: by their numbers; one told: the other is 1."""
    processes: Literal["auto"] | Annotated[StrictInt, Field(ge=1, le=64)] | None = None
    """Of each node; ``auto``, as by default: one for each visible GPU if there are rows enough."""
    nodes: StrictInt | None = Field(default=None, ge=1, le=64)
    rendezvous: str | None = Field(default=None, pattern=r"^[^:\s]+:[0-9]{1,5}$")
    """``host:port`` on the first node; the others join there."""
    report_to: ReportTo | None = None
    """Keep the curves for TensorBoard or Trackio as well, on this machine."""

    @model_validator(mode="before")
    @classmethod
    def _number_is_a_name(cls, values: Any) -> Any:
        """YAML reads ``dataset: 3`` as a number."""
        if isinstance(values, dict) and type(values.get("dataset")) is int:
            return values | {"dataset": str(values["dataset"])}
        return values

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.max_steps is not None and self.epochs is not None:
            raise ValueError("give max_steps or epochs, not both")
        return self

    @model_validator(mode="after")
    def _nodes_meet(self) -> Self:
        if ((self.nodes or 1) > 1) != (self.rendezvous is not None):
            raise ValueError("give nodes and rendezvous (host:port of the first node) together")
        return self

    @model_validator(mode="after")
    def _one_precision(self) -> Self:
        if self.base_precision is not None and self.load_in_4bit is not None:
            raise ValueError("give base_precision or load_in_4bit, not both")
        return self


class Resolved(BaseModel):
    """The settings of a run, and which preset they came from."""

    model_config = ConfigDict(frozen=True)

    preset: PresetName
    why: Annotated[str, SkipValidation]
    """In sentences, as messages that can be translated."""
    settings: RunSettings


def resolve(
    spec: TrainSpec,
    kind: str,
    device: Device,
    memory_gib: float,
    *,
    n_ok: int = 0,
    n_not_ok: int = 0,
    capability: float = FP8_CAPABILITY,
    shape: ModelShape = DEFAULT_SHAPE,
) -> Resolved:
    """Return all settings of ``spec`` for a dataset of ``kind`` on this device.

    Args:
        spec: What is asked for.
        kind: Of the dataset, as it is stored.
        device: What trains.
        memory_gib: Of the GPU.
        n_ok: Rows to train on that are OK, where rows are labelled.
        n_not_ok: Those that are not.
        capability: The compute capability of the GPU, such as 9.0.
        shape: Of the base.

    Raises:
        UsageError: A setting does not go with the device or the method.
    """
    if spec.preset == "auto":
        preset, why = choose_preset(device, memory_gib, shape)
    else:
        preset, why = spec.preset, Message("{preset}: it was asked for.", preset=spec.preset)
    given = {
        name: value
        for name in RunSettings.model_fields
        if (value := getattr(spec, name)) is not None and value != "auto"
    }
    if spec.epochs is not None:
        given["max_steps"] = None
    if spec.load_in_4bit is not None:
        given["base_precision"] = "nf4" if spec.load_in_4bit else "bf16"
    method = METHODS[choose_method(spec, kind)]
    values = PRESETS[preset].model_dump() | given
    for name, value, reason in _forced(method, device, capability, values):
        if values[name] == value:
            continue
        if given.get(name) is not None:
            older = name == "base_precision" and spec.load_in_4bit is not None
            asked = "load_in_4bit" if older else name
            raise UsageError(
                "{asked}: {reason}; take it out of the spec.", asked=asked, reason=reason
            )
        values[name] = value
        why = _also(why, name, value, reason)
    if method.pairs_prompts and values["batch"] < 2:
        raise UsageError(
            "batch: {method_label} compares the rows of a batch; give at least 2.",
            method_label=method.label,
        )
    weighed = _weighed(given, method, n_ok, n_not_ok)
    if weighed:
        values |= weighed
        weights = " and ".join(f"{name} {value:g}" for name, value in weighed.items())
        weighed_why = Message(
            "Rows are weighed with {weights}: {n_ok} are OK and {n_not_ok} are not, and {method}"
            " learns best where their weighted numbers stand between 1:1 and 4:3.",
            weights=weights,
            n_ok=n_ok,
            n_not_ok=n_not_ok,
            method=method.label,
        )
        why = Message("{first} {more}", first=why, more=weighed_why)
    if values["base_precision"] in IN_FP8 and values["layers"] != "compiled":
        raise UsageError("layers: products in FP8 need compiled layers; set layers: compiled.")
    return Resolved(preset=preset, why=why, settings=RunSettings(**values))


def on_gpus(resolved: Resolved, spec: TrainSpec, gpus: int, n_rows: int) -> Resolved:
    """Return the same with a process for each GPU, as far as ``n_rows`` make steps enough.

    What the spec says of ``processes`` wins.
    """
    settings = resolved.settings
    if gpus < 2 or spec.processes not in (None, "auto"):
        return resolved
    rows = settings.batch * settings.accumulation * settings.nodes
    if settings.packing:
        rows *= max(1, settings.max_length // TYPICAL_ROW)
    count = max(1, min(gpus, n_rows // (rows * STEPS_AN_EPOCH)))
    reason = Message("one for each GPU")
    if count != gpus:
        reason = Message("{n_rows} rows are few for {gpus} GPUs", n_rows=n_rows, gpus=gpus)
    return Resolved(
        preset=resolved.preset,
        why=_also(resolved.why, "processes", count, reason),
        settings=settings.model_copy(update={"processes": count}),
    )


def choose_method(spec: TrainSpec, kind: str) -> MethodName:
    """Return the method of a run on a dataset of a stored ``kind``.

    Raises:
        UsageError: The one that is asked for trains on other rows.
    """
    fitting = methods_for(kind)
    if spec.method is None:
        return fitting[0]
    if spec.method not in fitting:
        asked = METHODS[spec.method]
        raise UsageError(
            "method: {asked_label} trains on {rows}, and the dataset"
            " {dataset} holds {held}; choose one of {fitting}.",
            asked_label=asked.label,
            rows=_ROWS[asked.rows],
            dataset=spec.dataset,
            held=_ROWS[ROW_KINDS[kind]],
            fitting=", ".join(fitting),
        )
    return spec.method


_ROWS: Mapping[RowKind, str] = {
    "demonstrations": "texts to imitate",
    "pairs": "pairs of a better and a worse text",
    "labelled": "texts that are OK or not OK",
}


def _forced(
    method: Method, device: Device, capability: float, values: Mapping[str, Any]
) -> list[tuple[str, object, str]]:
    """Return settings that the device or the method leaves no choice about."""
    forced: list[tuple[str, object, str]] = []
    if device == "cpu":
        forced += [
            ("packing", False, "packed rows need a GPU"),
            ("base_precision", "bf16", "a base in 4 bit or FP8 needs a GPU"),
            ("layers", "unsloth", "compiled layers need a GPU"),
        ]
    elif values["base_precision"] in IN_FP8 and capability < FP8_CAPABILITY:
        reason = "this GPU does not multiply in FP8, which takes compute capability 8.9"
        forced.append(("base_precision", "nf4", reason))
    if device == "cuda" and capability < COMPILED_CAPABILITY:
        forced.append(("layers", "unsloth", "compiled layers take compute capability 8.0"))
    if "packing" not in method.settings:
        forced.append(("packing", False, "preference rows are not packed"))
    return forced


def _weighed(
    given: Mapping[str, Any], method: Method, n_ok: int, n_not_ok: int
) -> dict[str, float]:
    """Return weights that follow from the numbers of rows; none where they are given or even."""
    own = next((name for name in WEIGHTS if name in given), None)
    is_taken = WEIGHTS[0] in method.settings
    if not is_taken and own is not None:
        raise UsageError(
            "{own}: only KTO weighs OK and not OK rows; take it out of the spec.", own=own
        )
    weights = class_weights(n_ok, n_not_ok)
    if not is_taken or own is not None or weights == (1.0, 1.0):
        return {}
    return dict(zip(WEIGHTS, weights, strict=True))


def _also(why: str, name: str, value: object, reason: str) -> Message:
    """Return the reasons with that of one more setting."""
    more = Message(
        "{name} is {value}: {reason}.", name=name, value=_said(value), reason=Message(reason)
    )
    return Message("{first} {more}", first=why, more=more)


def _said(value: object) -> str:
    return "off" if value is False else str(value)


def parse_spec(mapping: Mapping[str, Any], *, where: str = "The training settings") -> TrainSpec:
    """Return the spec in ``mapping``.

    Raises:
        UsageError: It is wrong; one sentence for each mistake, all of them at once.
    """
    return validated(TrainSpec, mapping, "{where} are wrong: {problems}.", where=where)


def load_spec(path: Path) -> TrainSpec:
    """Return the spec in the YAML file at ``path``.

    Raises:
        UsageError: The file cannot be read, is no YAML, or its settings are wrong.
    """
    where = f"The training settings in {path}"
    return parse_spec(load_mapping(read_text(path), where=where), where=where)
