"""What a person asks for in a dataset: written rules, from a YAML file or a form.

Knows nothing of the store: names stay names here; ``training.datasets.build`` applies them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    field_validator,
    model_validator,
)

from db.errors import UsageError
from db.input_text import Number, load_mapping, read_text
from db.spec_files import validated
from serving.checks import BAD_FINDINGS, CHECKS
from serving.sweeps.spec import QuestionSelection
from training.methods import STORED_KINDS, RowKind

Learned = Literal["reasoning", "response", "both"]
Scope = Literal["reasoning", "answer", "whole"]
SCOPES: tuple[Scope, ...] = ("reasoning", "answer", "whole")
MOST_OTHER_SHARE = 0.9
Share = Annotated[Number, Field(ge=0, le=MOST_OTHER_SHARE)]


class Part(BaseModel):
    """A part of the rules; a key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RatedRule(Part):
    """Takes a text by the mean of its values from 1 to 5."""

    at_least: Number = Field(ge=1, le=5)
    """The lowest mean that is good enough."""
    axes: tuple[str, ...] = ()
    """Only values on these axes; none given: on all."""
    raters: StrictInt = Field(default=1, ge=1)
    """How many raters must have given a value."""


class DemonstrationTake(Part):
    """What makes a text good enough to be learned; one of these is enough."""

    rated: RatedRule | None = None
    """Rated so high on average."""
    chosen: StrictBool = False
    """Won comparisons, and is better than an average text by all of them (a fitted strength)."""
    ok: StrictBool = False
    """Called OK more often than not OK."""
    edited: StrictBool = False
    """Edited by a person."""
    sources: tuple[Literal["human", "imported"], ...] = ()
    """Written by a person here, or imported; a first round has no ratings yet."""
    needs: Literal["both", "reasoning", "answer"] = "both"
    """Which texts of a row must be good enough; the other one must only not be judged bad."""

    @model_validator(mode="after")
    def _takes_something(self) -> Self:
        if not (self.rated or self.chosen or self.ok or self.edited or self.sources):
            raise ValueError("give at least one of rated, chosen, ok, edited, sources")
        return self


class PairTake(Part):
    """Where pairs of a better and a worse text come from."""

    comparisons: tuple[Scope, ...] = SCOPES
    """Comparisons of these; each teaches what was compared. Ties and "both bad" give no pair."""
    edits: StrictBool = True
    """What a person edited, over the text it was made from."""
    questions: Literal["rejected", "passed_over", "none"] = "rejected"
    """Next questions of dialogues: the chosen over the rejected ones; ``passed_over``: also over
    those that were shown and not taken."""

    @model_validator(mode="after")
    def _takes_something(self) -> Self:
        if not (self.comparisons or self.edits or self.questions != "none"):
            raise ValueError("give comparisons, edits or questions")
        return self


class LabelledTake(Part):
    """Where texts with OK or not OK come from."""

    ok: tuple[Scope, ...] = Field(default=SCOPES, min_length=1)
    """Judgements of these; each teaches what was judged."""


class _Rules(Part):
    rows: ClassVar[RowKind]
    name: str = Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")
    """How lists call it; each dataset has its own."""
    questions: QuestionSelection = QuestionSelection()
    """Which questions; none of its conditions given: all of them."""
    raters: Literal["people", "models"] = "people"
    """Whose judgements count; the two are never mixed."""
    blind_only: StrictBool = False
    """Only judgements that were given blind."""
    contradictions: Literal["drop", "majority"] = "drop"
    """What becomes of texts judged both ways: dropped, or the majority counts."""
    findings: tuple[str, ...] = BAD_FINDINGS
    """Checks whose findings keep a text from being learned. Empty texts never are."""
    near_duplicates: Number | None = Field(default=0.9, ge=0.5, le=1)
    """Texts so alike (0 to 1) count as one; null keeps them all."""
    per_question: StrictInt = Field(default=3, ge=1)
    """At most so many different reasonings of one question, and answers without one."""
    held_out: Number = Field(default=0.1, ge=0, le=0.5)
    """Share of the question families to keep from training, as far as not fixed before."""
    limit: StrictInt | None = Field(default=None, ge=1)
    """At most so many examples to train on, drawn at random."""
    seed: StrictInt = Field(default=1, ge=0)
    """Of what is drawn."""
    struck_out: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")], ...] = ()
    """Rows that a person left out by hand, by their keys as a preview shows them; nothing else
    takes their place."""

    @field_validator("findings")
    @classmethod
    def _are_checks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in CHECKS]
        if unknown:
            raise ValueError(f"there is no check {unknown[0]!r}; known are {', '.join(CHECKS)}")
        return names


class DemonstrationRules(_Rules):
    """Examples to imitate."""

    rows = "demonstrations"
    kind: Literal["sft"] = "sft"
    take: DemonstrationTake
    targets: dict[str, Learned] = {}
    """Role → what is learned: the reasoning, the response under it, or both; both unless told."""
    passes: Literal["one", "two"] = "one"
    """Both are learned in one completion, or as two rows: the reasoning, and the answer from it."""
    answers_per_reasoning: StrictInt = Field(default=1, ge=1)
    """At most so many different answers under one reasoning."""
    without_reasoning: Share = 0.1
    """At most this share of the examples are answers without a reasoning."""
    question_to_question: Share = 0.0
    """At most this share of the examples ask the next question of a dialogue."""

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.without_reasoning + self.question_to_question > MOST_OTHER_SHARE:
            raise ValueError(
                "without_reasoning and question_to_question leave too little room for reasonings:"
                f" together at most {MOST_OTHER_SHARE}"
            )
        return self


class PairRules(_Rules):
    """Pairs of a better and a worse text."""

    rows = "pairs"
    kind: Literal["dpo"]
    take: PairTake = PairTake()
    per_question: StrictInt = Field(default=10, ge=1)
    """At most so many pairs of one question and target."""


class LabelledRules(_Rules):
    """Texts, each with OK or not OK."""

    rows = "labelled"
    kind: Literal["kto"]
    take: LabelledTake = LabelledTake()
    per_question: StrictInt = Field(default=10, ge=1)
    """At most so many texts of one question and target."""


Rules = DemonstrationRules | PairRules | LabelledRules
"""The rules of a dataset of one kind; docs/datasets.md explains them."""
RULES: Mapping[str, type[Rules]] = {
    "sft": DemonstrationRules,
    "dpo": PairRules,
    "kto": LabelledRules,
}
"""By the kind as it is stored."""


def parse_rules(mapping: Mapping[str, Any], *, where: str = "The rules") -> Rules:
    """Return the rules in ``mapping``; ``kind`` may be of ``RULES`` or say what the rows are.

    Raises:
        UsageError: They are wrong; one sentence for each mistake, all of them at once.
    """
    kind = mapping.get("kind", "sft")
    if isinstance(kind, str):
        kind = STORED_KINDS.get(kind, kind)
    if not isinstance(kind, str) or kind not in RULES:
        raise UsageError(
            "{where}: kind is {kind!r}; choose one of {rules}.",
            where=where,
            kind=kind,
            rules=", ".join(RULES),
        )
    wrong = "{where} are wrong: {problems}."
    return validated(RULES[kind], {**mapping, "kind": kind}, wrong, where=where)


def parse_yaml(text: str, *, where: str = "The rules") -> Rules:
    """Return the rules in a YAML text.

    Raises:
        UsageError: It is no YAML, or its rules are wrong.
    """
    return parse_rules(load_mapping(text, where=where), where=where)


def load_rules(path: Path) -> Rules:
    """Return the rules in the YAML file at ``path``; a file that they name lies relative to it.

    Raises:
        UsageError: The file cannot be read, is no YAML, or its rules are wrong.
    """
    rules = parse_yaml(read_text(path), where=f"The rules in {path}")
    if rules.questions.file is None:
        return rules
    file = (path.parent / rules.questions.file.expanduser()).resolve()
    return rules.model_copy(update={"questions": rules.questions.model_copy(update={"file": file})})


def as_yaml(rules: Rules) -> str:
    """Return rules as the YAML that a person would write: what is at its default is left out."""
    named = {"name": rules.name, "kind": rules.kind}
    rest = rules.model_dump(mode="json", exclude_defaults=True, exclude={"name", "kind"})
    return yaml.safe_dump(named | rest, allow_unicode=True, sort_keys=False)
