"""Short names of what the store holds: a letter for the kind and the id, e.g. ``v12``."""

import re
from dataclasses import dataclass
from typing import Literal

from db.errors import UsageError

RefKind = Literal[
    "question", "variant", "answer", "generation", "model", "dataset", "training_run", "round"
]

LETTERS: dict[str, RefKind] = {
    "q": "question",
    "v": "variant",
    "a": "answer",
    "g": "generation",
    "m": "model",
    "d": "dataset",
    "t": "training_run",
    "r": "round",
}


@dataclass(frozen=True, slots=True)
class Ref:
    """What a short name stands for."""

    kind: RefKind
    id: int

    def __str__(self) -> str:
        return f"{self.kind[0]}{self.id}"


def parse_ref(value: str) -> Ref:
    """Return what ``value``, e.g. ``v12``, stands for.

    Raises:
        UsageError: It is no such name.
    """
    match = re.fullmatch(r"([qvagmdtr])([0-9]{1,18})", value.strip().lower())
    if match is None:
        raise UsageError(
            f"{value!r} is no id; ids are a letter and a number: q12 (question), v12 (reasoning),"
            " a12 (answer), g12 (generation), m12 (model), d12 (dataset), t12 (training run),"
            " r12 (round)."
        )
    return Ref(LETTERS[match[1]], int(match[2]))
