"""What the runner needs of model servers, as protocols; who starts them is not its business."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.engine.client import CompletionClient
from serving.engine.messages import Capabilities
from serving.formats.tokenizer import PromptTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model version that a server offers now."""

    model_version_id: int
    engine_id: int | None
    client: CompletionClient
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
