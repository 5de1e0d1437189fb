"""The wish for a queue: what is rated, how, from where, and how much of it."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from db.rating.queues import Way
from db.rating.ratings import Scope
from serving.checks import BAD_FINDINGS
from workbench.rating.sampling import Sampler


class QueueSpec(BaseModel):
    """What a queue is made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    way: Way = "pair"
    scope: Scope = "reasoning"
    sweep: StrictInt | None = None
    """Only texts that this sweep wrote or found written."""
    dialogue: StrictInt | None = None
    """Only questions of this dialogue session, rejected ones left out, and their texts."""
    dataset: StrictInt | None = None
    """Only what the rows of this dataset hold."""
    round: StrictInt | None = None
    """Only what this round's model and another one wrote in one pass for held-out questions."""
    against: StrictInt | None = None
    """With ``round``: id of the other model version; default is the one that it starts from."""
    search: str = ""
    languages: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    models: tuple[StrictInt, ...] = ()
    """Ids of model versions."""
    leave_out: tuple[str, ...] = BAD_FINDINGS
    """Checks whose findings keep a text out; by default those of texts that cannot train."""
    only_trainable: StrictBool = True
    """Leave out what no dataset would take, however it is rated: texts that a rater flagged, and
    those of held-out questions. Models of a round are compared on held-out questions anyway."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Cards at most."""
    overlap: Annotated[int, Field(ge=1, le=20)] = 1
    sampler: Sampler = "informative"
    repeat_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1

    @model_validator(mode="after")
    def _questions_stand_alone(self) -> Self:
        if self.scope == "question" and self.way == "pair":
            raise ValueError("questions are rated one at a time; set way to single or table")
        sources = (self.sweep, self.dialogue, self.dataset, self.round)
        if sum(one is not None for one in sources) > 1:
            raise ValueError(
                "a queue has one source; give a sweep, a dialogue, a dataset or a round"
            )
        if self.round is not None and (self.way, self.scope) != ("pair", "whole"):
            raise ValueError("models of a round are compared in pairs of whole outputs")
        return self
