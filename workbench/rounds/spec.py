"""What a person asks for in a round: one YAML file, checked as a whole; its files are read in.

The rules of the dataset are kept inside the config, so that a round knows them whatever becomes of
their file. Training settings are looked at by the training itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from db.identity import Precision
from db.input_text import Number, load_mapping, read_text
from db.spec_files import validated
from serving.sweeps.spec import QuestionSelection
from training.datasets.rules import load_rules, parse_rules

BASE = "base"
Share = Annotated[float, Field(ge=0, le=1)]


class _RoundPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Margin = Annotated[float, Field(gt=0)] | None


class Margins(_RoundPart):
    """How much worse a round to keep may be, at most, in the unit of each measure.

    A round is kept on evidence that it is no worse than that. None: no such evidence is asked for,
    and only a sure change for the worse speaks against the round.
    """

    people: Margin = 0.15
    """Of the share of points in blind comparisons, below ½."""
    correct: Margin = None
    """Of the share of correct answers; few sets of questions can be checked, so none is asked."""
    held_out_loss: Margin = 0.05
    """Nats a token."""
    well_formed: Margin = 0.1
    clean: Margin = 0.1
    dont_know_unanswerable: Margin = 0.2
    """Wider: there are few questions that nobody can answer."""
    dont_know_answerable: Margin = 0.1
    stopped: Margin = 0.1
    reasonings: Margin = 0.3
    """Different reasonings of a question."""
    answers: Margin = 0.3
    influence: Margin = None
    """Bits, which at most 24 questions tell of: too few to show that they did not fall."""


class Comparing(_RoundPart):
    """How the held-out questions are asked, alike of all models."""

    questions: QuestionSelection = QuestionSelection(held_out=True)
    """Which questions; by default all that are held out."""
    formats: tuple[str, ...] = Field(default=("tagged",), min_length=1)
    """Prompt formats."""
    precision: Precision | None = None
    """In which all models are served; None: the one that the server takes for the first of them."""
    rounds: tuple[str, ...] = ()
    """Earlier rounds that are compared as well; the model that it starts from always is."""
    variants: StrictInt = Field(default=3, ge=1, le=100)
    """Completions for each question, model and sampling."""
    temperature: Number = Field(default=0.8, ge=0, le=2)
    """Of the sampled completions, which tell the spread; the others are greedy. 0: greedy only."""
    max_tokens: StrictInt = Field(default=256, ge=8)
    """Of one completion, reasoning and answer together."""
    scores: StrictBool = True
    """Have the engine score influence and held-out loss too; ``workbench.rounds.scoring`` says
    how much that is at most."""
    well_formed: Share = 0.95
    """The least share of well-formed greedy completions that a round to keep has."""
    margins: Margins = Margins()
    """How much worse a round to keep may be, by measure."""


class RoundSpec(_RoundPart):
    """One round. docs/rounds.md explains the keys."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,60}$")
    """How lists call it; each round has its own."""
    dataset: str | dict[str, Any]
    """A file of rules beside this one, the rules themselves, or a frozen dataset by its name."""
    start: str = Field(default=BASE, alias="from")
    """``base``, with all data so far, or the name of an earlier round to go on from."""
    base: str = "default"
    """The base model; ``default`` is that of the settings."""
    train: dict[str, Any] = {}
    """Settings of the training, such as ``preset``."""
    merge: StrictBool = True
    """Merge the adapter and prove the merge; else it is served beside its base, which is quicker
    to have and slower in a sweep."""
    compare: Comparing = Comparing()
    """How it is compared."""

    @model_validator(mode="after")
    def _no_own_dataset(self) -> Self:
        taken = {"dataset", "base", "name"} & self.train.keys()
        if taken:
            raise ValueError(f"train: {sorted(taken)[0]} is the round's own key; move it up")
        return self

    def as_config(self) -> dict[str, Any]:
        """Return it as JSON values, for the store.

        Margins are left out where they are the usual ones, and the precision where there is none: a
        round that was begun before there were any is the same round by the same file.
        """
        config = self.model_dump(mode="json", by_alias=True)
        if self.compare.margins == Margins():
            del config["compare"]["margins"]
        if self.compare.precision is None:
            del config["compare"]["precision"]
        return config


def parse_round(mapping: Mapping[str, Any], *, where: str = "The round") -> RoundSpec:
    """Return the round in ``mapping``.

    Raises:
        UsageError: It is wrong; all mistakes at once.
    """
    spec = validated(RoundSpec, mapping, "{where} is wrong: {problems}.", where=where)
    if isinstance(spec.dataset, dict):
        parse_rules(spec.dataset, where=f"{where}: the rules under dataset")
    return spec


def load_round(path: Path) -> RoundSpec:
    """Return the round in the YAML file at ``path``; rules in a file beside it are read in.

    Raises:
        UsageError: The file or its rules cannot be read, or are wrong.
    """
    mapping = load_mapping(read_text(path), where=str(path))
    named = mapping.get("dataset")
    if isinstance(named, str) and named.endswith((".yaml", ".yml")):
        rules = load_rules((path.parent / named).resolve())
        mapping["dataset"] = rules.model_dump(mode="json", exclude_defaults=True) | {
            "name": rules.name,
            "kind": rules.kind,
        }
    return parse_round(mapping, where=str(path))
