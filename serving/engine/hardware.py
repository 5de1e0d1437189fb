"""The GPUs a plan is made for: those of this machine, or ones that are only described."""

import csv
import os
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping
from functools import cache

from pydantic import BaseModel, ConfigDict, Field

from db.errors import UsageError

FP8_CAPABILITY = 8.9
"""The first compute capability whose matrix units take FP8."""
BF16_CAPABILITY = 8.0
"""The first with bf16; older cards serve in float16."""
MIN_CAPABILITY = 7.5
"""The first that the pinned PyTorch and vLLM have kernels for."""
_QUERY = "index,name,memory.total,memory.free,compute_cap"
_SPEC = re.compile(r"(?P<count>\d+)x(?P<gb>\d+(?:\.\d+)?)(?::(?P<capability>\d+\.\d))?")
MAX_DESCRIBED = 64
ECC_UP_TO_GB = 48
"""Cards up to this size have GDDR memory, a sixteenth of which error correction takes."""


class Gpu(BaseModel):
    """One GPU as ``nvidia-smi`` shows it; memory in GiB."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=0)
    """In the order of the PCI bus."""
    name: str
    total_gib: float = Field(gt=0)
    free_gib: float = Field(ge=0)
    capability: float
    """Compute capability, such as 9.0."""

    @property
    def used_gib(self) -> float:
        """What programs hold now."""
        return max(0.0, self.total_gib - self.free_gib)


def find_gpus(environ: Mapping[str, str] | None = None) -> tuple[Gpu, ...]:
    """Return the GPUs that a program started here may use; none where ``nvidia-smi`` tells none.

    ``CUDA_VISIBLE_DEVICES`` is honoured where it names indices; parts of a GPU (MIG) are not told
    apart.
    """
    environ = os.environ if environ is None else environ
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        gpus = read_gpus(listed.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not re.fullmatch(r"\s*(\d+\s*(,\s*\d+\s*)*)?", visible):
        return gpus
    wanted = {int(part) for part in visible.split(",") if part.strip()}
    return tuple(gpu for gpu in gpus if gpu.index in wanted)


@cache
def smallest_gpu() -> Gpu | None:
    """Return the visible GPU with the least memory, with the lowest capability of all."""
    gpus = find_gpus()
    if not gpus:
        return None
    smallest = min(gpus, key=lambda gpu: gpu.total_gib)
    return smallest.model_copy(update={"capability": min(gpu.capability for gpu in gpus)})


def read_gpus(listed: str) -> tuple[Gpu, ...]:
    """Return the GPUs in the answer of ``nvidia-smi`` to the query of this module.

    Raises:
        ValueError: A line is none of its.
    """
    found = []
    for line in csv.reader(listed.splitlines(), skipinitialspace=True):
        index, name, total, free, capability = line
        found.append(
            Gpu(
                index=int(index),
                name=name.removeprefix("NVIDIA ").strip(),
                total_gib=float(total) / 1024,
                free_gib=float(free) / 1024,
                capability=float(capability),
            )
        )
    return tuple(found)


def described_gpus(text: str) -> tuple[Gpu, ...]:
    """Return GPUs that are not there: ``2x24``, ``4x80:9.0``, ``1x16:7.5,1x24``.

    Each part is a count, the memory that the card is sold with in GB, and its compute capability,
    which is 8.9 where none is given.

    Raises:
        UsageError: ``text`` is written otherwise.
    """
    found: list[Gpu] = []
    for part in text.split(","):
        match = _SPEC.fullmatch(part.strip())
        count = int(match["count"]) if match else 0
        if match is None or not 1 <= count <= MAX_DESCRIBED or float(match["gb"]) == 0:
            raise UsageError(
                "{part!r} describes no GPUs (--gpus, ray_gpus); write count x memory in GB and,"
                " after a colon, the compute capability, such as 2x24, 4x80:9.0 or 1x16:7.5.",
                part=part.strip(),
            )
        size = float(match["gb"])
        usable = size * (15 / 16 if size <= ECC_UP_TO_GB else 0.99)
        found += [
            Gpu(
                index=len(found) + i,
                name=f"{match['gb']} GB",
                total_gib=usable,
                free_gib=usable,
                capability=float(match["capability"] or FP8_CAPABILITY),
            )
            for i in range(count)
        ]
    return tuple(found)


def names_of(gpus: Collection[Gpu]) -> str:
    """Return how people call these GPUs, e.g. ``2 x L4 + 1 x T4``."""
    counts: dict[str, int] = {}
    for name in (gpu.name for gpu in gpus):
        counts[name] = counts.get(name, 0) + 1
    return " + ".join(f"{n} x {name}" for name, n in counts.items())


def idle(gpus: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """Return ``gpus`` as they are while nothing uses them."""
    return tuple(gpu.model_copy(update={"free_gib": gpu.total_gib}) for gpu in gpus)


def with_freed(gpus: Iterable[Gpu], share: float, indices: Collection[int]) -> tuple[Gpu, ...]:
    """Return ``gpus`` as they will be once a server that holds ``share`` of ``indices`` ended.

    Args:
        gpus: As they are now.
        share: Of each GPU's memory.
        indices: Which; empty means all.
    """
    return tuple(
        gpu.model_copy(
            update={"free_gib": min(gpu.total_gib, gpu.free_gib + share * gpu.total_gib)}
        )
        if not indices or gpu.index in indices
        else gpu
        for gpu in gpus
    )
