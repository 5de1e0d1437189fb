"""What the runner needs of model servers, as protocols; who starts them is not its business."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.engine.messages import (
    Capabilities,
    CompletionRequest,
    CompletionResult,
    EngineLoad,
)
from serving.formats.tokenizer import PromptTokenizer


class Completer(Protocol):
    """A client of one server; ``serving.engine.client.CompletionClient`` is the real one.

    One object for each server, shared by all models on it and by all sweeps: concurrency is
    governed by client object.
    """

    async def complete(self, request: CompletionRequest) -> CompletionResult:
        """Return the completions of ``request``; raises an ``EngineError`` where there are none."""
        ...

    def give_up_on(self, sent_before: float) -> int:
        """Count requests sent before ``sent_before`` (loop time) as stalled; return how many."""
        ...

    async def metrics(self) -> EngineLoad | None:
        """Return how busy the server is; None where it does not tell."""
        ...

    async def health(self) -> bool:
        """Return whether the server says that it is well."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model version that a server offers now."""

    model_version_id: int
    engine_id: int | None
    client: Completer
    served_name: str
    tokenizer: PromptTokenizer | None
    """None: prompts are sent as text."""
    context_length: int | None
    """Tokens of prompt and completion together; None where nobody tells."""
    capabilities: Capabilities
    max_num_seqs: int | None
    """Sequences that the server decodes together; None where it is not known."""
    engine_version: str | None


class Engines(Protocol):
    """The servers that a sweep may use."""

    def groups(self, model_version_ids: Collection[int]) -> Sequence[frozenset[int]]:
        """Return sets of models that can be served at the same time, in a good order.

        Every one of ``model_version_ids`` is in exactly one set.
        """
        ...

    async def serve(self, group: frozenset[int]) -> Mapping[int, ServedModel]:
        """Return the models of ``group`` once they are served; waits for loading.

        Called again after a server was lost: it then returns when the server is back.

        Raises:
            EngineUnavailable: a model cannot be served; the sentence says what to do.
        """
        ...


class FixedEngines:
    """Servers that are simply there: for tests, benchmarks and external servers."""

    def __init__(self, served: Collection[ServedModel], *, together: bool = True) -> None:
        self._served = {model.model_version_id: model for model in served}
        self._together = together
        self.served_groups: list[frozenset[int]] = []
        """Every group that was asked for, in order."""

    def groups(self, model_version_ids: Collection[int]) -> list[frozenset[int]]:
        """Return one set, or one for each model where they are not served together."""
        if self._together:
            return [frozenset(model_version_ids)]
        return [frozenset({one}) for one in model_version_ids]

    async def serve(self, group: frozenset[int]) -> dict[int, ServedModel]:
        """Return the models of ``group`` at once."""
        self.served_groups.append(group)
        return {one: self._served[one] for one in group}
