"""The presets of a training run, as one table, and the choice among them by device."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from db.identity import Precision
from db.messages import Message
from serving.device import Device
from serving.engine.memory import GIB, weight_bytes
from serving.engine.shape import DEFAULT_SHAPE, ModelShape

PresetName = Literal["notebook", "fast", "24gb", "max", "laptop"]
Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup"]
Optimizer = Literal["adamw_8bit", "adamw_torch", "adamw_torch_fused", "paged_adamw_8bit"]
Recomputation = Literal["unsloth", "plain", "none"]
BasePrecision = Literal["bf16", "nf4", "nf4_fp8", "fp8"]
"""How the frozen base is kept: 16 bit, 4 bit, 4 bit with products in FP8, or FP8 altogether."""
ReportTo = Literal["none", "tensorboard", "trackio"]
"""What else keeps the curves of a run, in its folder, as ``report_to`` of transformers names it."""
IN_FP8: tuple[BasePrecision, ...] = ("nf4_fp8", "fp8")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TWO_COPIES_FROM_GIB = 100
"""An FP8 base is stored twice where there is room: 14 GiB more, 2 % faster."""
MARGIN_GIB = 1.5
"""For the CUDA context and what is not counted."""
_KEPT_BYTES = 8.7
"""Of activations that are kept, for each token, layer and value of hidden and wide features."""
_PROCESS_GIB = 1.5
"""Of a process on the CPU that has loaded PyTorch and Unsloth."""
_SCORE_BYTES = 18.0
"""On the CPU, for each token and entry of the vocabulary: scores and their gradients."""
_RECOMPUTED_BYTES = 2.7
"""Of activations that are recomputed, for each token, layer and hidden value."""


class RunSettings(BaseModel):
    """All settings of a run, each with its value; what the child process is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: int = Field(ge=1, le=512)
    """Rank of the adapter."""
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    targets: tuple[str, ...] = Field(min_length=1)
    """Names of the projections that get an adapter."""
    learning_rate: float = Field(gt=0, le=1)
    schedule: Schedule
    warmup: int = Field(ge=0)
    """Steps."""
    max_steps: int | None = Field(ge=1)
    epochs: float | None = Field(gt=0)
    """Used where ``max_steps`` is None."""
    batch: int = Field(ge=1)
    """Rows, or packed sequences, that one process takes at once."""
    accumulation: int = Field(ge=1)
    max_length: int = Field(ge=16)
    """Tokens of a row; longer rows are left out. With packing, of a sequence of several rows."""
    packing: bool
    recomputation: Recomputation
    """How activations are saved: Unsloth's offloading, plain checkpointing, or all kept."""
    base_precision: BasePrecision
    layers: Literal["unsloth", "compiled"] = "unsloth"
    """Whose code runs the decoder layers; compiled ones also see no padding."""
    optimizer: Optimizer
    weight_decay: float = Field(ge=0)
    seed: int = Field(ge=0)
    eval_every: int = Field(ge=1)
    """Steps between two looks at the held-out rows."""
    save_every: int = Field(ge=1)
    """Steps between two checkpoints."""
    samples: int = Field(ge=0, le=20)
    """Held-out questions that are answered at each look."""
    loss_on: Literal["completion", "all"]
    beta: float = Field(gt=0)
    """How closely DPO and KTO hold to the base; how much the odds ratio of ORPO weighs."""
    desirable_weight: float = Field(default=1.0, gt=0, le=10_000)
    """How much the rows that are OK weigh in KTO."""
    undesirable_weight: float = Field(default=1.0, gt=0, le=10_000)
    """How much those that are not OK weigh."""
    processes: int = Field(ge=1, le=64)
    """Data-parallel processes of a node, one for each GPU."""
    nodes: int = Field(default=1, ge=1, le=64)
    """Machines that train together, each with as many processes."""
    rendezvous: str | None = None
    """``host:port`` of the first node, where the others find it."""
    report_to: ReportTo = "none"

    @property
    def world_size(self) -> int:
        """Processes of all nodes."""
        return self.processes * self.nodes

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        """Runs made before there was ``base_precision`` say ``load_in_4bit``."""
        if isinstance(values, dict) and "load_in_4bit" in values:
            values = dict(values)
            values.setdefault("base_precision", "nf4" if values.pop("load_in_4bit") else "bf16")
        return values

    @model_validator(mode="after")
    def _compiled_where_needed(self) -> Self:
        if self.base_precision in IN_FP8 and self.layers != "compiled":
            raise ValueError("base_precision: products in FP8 need layers: compiled")
        return self


_NOTEBOOK: dict[str, Any] = {
    "r": 16,
    "alpha": 16,
    "dropout": 0.0,
    "targets": PROJECTIONS,
    "learning_rate": 2e-4,
    "schedule": "linear",
    "warmup": 5,
    "max_steps": 100,
    "epochs": None,
    "batch": 2,
    "accumulation": 4,
    "max_length": 2048,
    "packing": False,
    "recomputation": "unsloth",
    "base_precision": "nf4",
    "layers": "unsloth",
    "optimizer": "adamw_8bit",
    "weight_decay": 0.01,
    "seed": 3407,
    "eval_every": 25,
    "save_every": 25,
    "samples": 3,
    "loss_on": "all",
    "beta": 0.1,
    "processes": 1,
}
_PACKED = {
    "packing": True,
    "batch": 4,
    "accumulation": 1,
    "loss_on": "completion",
    "layers": "compiled",
    "base_precision": "nf4_fp8",
    "eval_every": 50,
}

PRESETS: dict[PresetName, RunSettings] = {
    "notebook": RunSettings(**_NOTEBOOK),
    "fast": RunSettings(**{**_NOTEBOOK, **_PACKED}),
    "24gb": RunSettings(**{**_NOTEBOOK, **_PACKED, "base_precision": "fp8"}),
    "max": RunSettings(
        **{**_NOTEBOOK, **_PACKED, "recomputation": "none", "base_precision": "fp8"}
    ),
    "laptop": RunSettings(
        **{
            **_NOTEBOOK,
            "learning_rate": 1e-3,
            "max_steps": 40,
            "batch": 8,
            "accumulation": 1,
            "max_length": 512,
            "recomputation": "none",
            "base_precision": "bf16",
            "optimizer": "adamw_torch",
            "eval_every": 20,
            "save_every": 20,
            "samples": 2,
            "loss_on": "completion",
        }
    ),
}


def preset_gib(preset: PresetName, shape: ModelShape) -> float:
    """Return about how much GPU memory a preset takes for a base of this shape, in GiB.

    Weights by their precision, activations by the tokens of a step. Calibrated on one H200 with a
    14B base (``benchmarks/results/training_fast_h200.json``): 69.0 GiB with all activations and a
    base in NF4, 11.9 GiB with recomputed ones.
    """
    settings = PRESETS[preset]
    return run_gib(settings, shape, settings.batch * settings.max_length, "cuda")


def run_gib(settings: RunSettings, shape: ModelShape, tokens: int, device: Device) -> float:
    """Return about how much memory a run takes whose batches hold so many tokens, in GiB.

    On a CPU it is the whole process: the base in 16 bit, all activations, PyTorch itself.
    """
    precision: Precision = "nf4"
    if device == "cpu" or settings.base_precision == "bf16":
        precision = "bf16"
    elif settings.base_precision == "fp8":
        precision = "fp8"
    if settings.recomputation == "none":
        activations = _KEPT_BYTES * (shape.hidden + shape.intermediate)
    else:
        activations = _RECOMPUTED_BYTES * shape.hidden
    found = (weight_bytes(shape, precision) + activations * tokens * shape.layers) / GIB
    if device == "cpu":
        found += _PROCESS_GIB + _SCORE_BYTES * tokens * shape.vocabulary / GIB
    return found


def choose_preset(
    device: Device, memory_gib: float, shape: ModelShape = DEFAULT_SHAPE
) -> tuple[PresetName, Message]:
    """Return the preset for a base on a device with so much memory, and the reason in a sentence.

    Args:
        device: What trains.
        memory_gib: Of the smallest GPU.
        shape: Of the base; default: of the default model on CUDA, with 14 billion parameters.
    """
    if device == "cpu":
        why = "laptop: there is no GPU, so a 16-bit adapter is trained on the CPU."
        return "laptop", Message(why)
    room = memory_gib - MARGIN_GIB
    fitting = [one for one in _BY_SPEED if preset_gib(one[0], shape) <= room]
    preset, what = (fitting or _BY_SPEED[-1:])[0]
    needed = preset_gib(preset, shape)
    return preset, Message(
        "{preset}: the GPU has {memory:.0f} GiB; {what} (about {needed:.0f} GiB for a base of"
        " {size:.2g} billion parameters).",
        preset=preset,
        memory=memory_gib,
        what=Message(what),
        needed=needed,
        size=shape.parameters / 1e9,
    )


_BY_SPEED: Sequence[tuple[PresetName, str]] = (
    ("max", "enough to keep all activations"),
    ("24gb", "rows are packed, activations recomputed, the base is in FP8"),
    ("fast", "rows are packed, activations recomputed"),
    ("notebook", "so small batches without packing"),
)
"""Presets for GPUs, the fastest first, and what they do with the memory."""
