"""The presets of a training run, as one table, and the choice among them by device."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.device import Device

PresetName = Literal["notebook", "fast", "24gb", "max", "laptop"]
Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup"]
Optimizer = Literal["adamw_8bit", "adamw_torch", "adamw_torch_fused", "paged_adamw_8bit"]
Recomputation = Literal["unsloth", "plain", "none"]
BasePrecision = Literal["bf16", "nf4", "nf4_fp8", "fp8"]
"""How the frozen base is kept: 16 bit, 4 bit, 4 bit with products in FP8, or FP8 altogether."""
IN_FP8: tuple[BasePrecision, ...] = ("nf4_fp8", "fp8")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MAX_FROM_GIB = 75
"""``max`` holds about 73 GiB with a 14B base in FP8."""
TWO_COPIES_FROM_GIB = 100
"""An FP8 base is stored twice where there is room: 14 GiB more, 2 % faster."""
FP8_FROM_GIB = 22
"""``24gb`` holds about 18 GiB with a 14B base in FP8, one copy; cards sold with 24 GB show 22.5."""
FAST_FROM_GIB = 14
"""``fast`` holds about 12 GiB with a 14B base in 4 bit."""


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


def choose_preset(device: Device, memory_gib: float) -> tuple[PresetName, str]:
    """Return the preset for a device with so much memory, and the reason in a sentence."""
    if device == "cpu":
        return "laptop", "laptop: there is no GPU, so a 16-bit adapter is trained on the CPU."
    has = f"the GPU has {memory_gib:.0f} GiB"
    if memory_gib >= MAX_FROM_GIB:
        return "max", f"max: {has}, enough to keep all activations (about 73 GiB for a 14B base)."
    if memory_gib >= FP8_FROM_GIB:
        return "24gb", f"24gb: {has}; rows are packed, activations recomputed (about 18 GiB)."
    if memory_gib >= FAST_FROM_GIB:
        return "fast", f"fast: {has}; rows are packed, activations recomputed (about 12 GiB)."
    return (
        "notebook",
        f"notebook: {has}, so small batches without packing (about 8.5 GiB for a 14B base).",
    )
