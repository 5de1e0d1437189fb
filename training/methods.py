"""The training methods in one table: what trains, on which kind of rows, by which settings.

To add a method that TRL has: an entry here, and a line in docs/training.md. Forms, checks, options
of the command line and the child process read this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

RowKind = Literal["demonstrations", "pairs", "labelled"]
"""Texts to imitate; a better and a worse text; texts that are OK or not OK."""
StoredKind = Literal["sft", "dpo", "kto"]
MethodName = Literal["sft", "dpo", "orpo", "kto"]

ROW_KINDS: Mapping[str, RowKind] = {"sft": "demonstrations", "dpo": "pairs", "kto": "labelled"}
"""How the store, its hashes and files of rules call a kind of rows: by the method that trains on it
unless another one is asked for."""
STORED_KINDS: Mapping[str, StoredKind] = {
    "demonstrations": "sft",
    "pairs": "dpo",
    "labelled": "kto",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to train."""

    label: str
    rows: RowKind
    trainer: str
    """Module and class; ``Trainer`` at its end is ``Config`` in the name of its arguments."""
    settings: tuple[str, ...] = ()
    """Settings of a run that it takes besides those that all methods share."""
    pairs_prompts: bool = False
    """It compares each row with the text of another prompt in its batch."""
    means_tokens: bool = False
    """A part of its loss is a mean over the tokens of a batch, whatever their number."""


METHODS: Mapping[MethodName, Method] = {
    "sft": Method(
        label="SFT", rows="demonstrations", trainer="trl.SFTTrainer", settings=("packing",)
    ),
    "dpo": Method(label="DPO", rows="pairs", trainer="trl.DPOTrainer", settings=("beta",)),
    "orpo": Method(
        label="ORPO",
        rows="pairs",
        trainer="trl.experimental.orpo.ORPOTrainer",
        settings=("beta",),
        means_tokens=True,
    ),
    "kto": Method(
        label="KTO",
        rows="labelled",
        trainer="trl.KTOTrainer",
        settings=("beta", "desirable_weight", "undesirable_weight"),
        pairs_prompts=True,
    ),
}


def methods_for(kind: str) -> list[MethodName]:
    """Return what can train a dataset of a stored kind, first what does unless told otherwise."""
    rows = ROW_KINDS[kind]
    found = [name for name, method in METHODS.items() if method.rows == rows]
    return sorted(found, key=lambda name: name != kind)
