"""Vectors of an embeddings server, for a guard that sees meaning; each text is asked for once."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import orjson

from db.errors import Q2QError
from db.settings import Embedder, Settings
from serving.engine.messages import Endpoint, EngineError, ServerMisconfigured
from serving.engine.transport import Transport, blocking
from workbench.dialogue.exhaustion import Exhaustion, exhaustion
from workbench.dialogue.novelty import REPEAT_FROM, Array, Embed, Novelty, assess

T = TypeVar("T")

AT_ONCE: Final = 128
"""Texts of one request."""
MOST_KEPT: Final = 50_000
"""Vectors kept in this process."""


class EmbedderUnavailable(Q2QError):
    """The embeddings server gave no vectors; the sentence says why. Wording still works."""


class EmbeddingServer:
    """Vectors of one server and model, kept while the process lives."""

    def __init__(
        self,
        given: Embedder,
        ca_file: Path | None = None,
    ) -> None:
        self._given = given
        self._ca_file = ca_file
        self._kept: dict[str, Array] = {}

    def __call__(self, texts: Sequence[str]) -> Array:
        """Return one vector of length 1 a text: shape (texts, dimensions).

        Raises:
            EmbedderUnavailable: It cannot be reached, or answers something else.
        """
        if len(self._kept) > MOST_KEPT:
            self._kept.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        for start in range(0, len(new), AT_ONCE):
            part = new[start : start + AT_ONCE]
            self._kept.update(zip(part, self._asked(part), strict=True))
        return np.stack([self._kept[text] for text in texts])

    def _asked(self, texts: Sequence[str]) -> list[Array]:
        endpoint = Endpoint(
            url=str(self._given.url),
            api_key=os.environ.get(self._given.api_key_env or ""),
            ca_file=self._ca_file,
        )

        async def ask() -> bytes:
            body = {"model": self._given.model, "input": list(texts)}
            async with Transport(endpoint) as server:
                return await server.post("/embeddings", body, timeout_s=self._given.timeout_s)

        try:
            return _vectors(orjson.loads(blocking(ask())), len(texts))
        except ServerMisconfigured as error:
            raise EmbedderUnavailable(f"{error} Questions are compared by wording.") from error
        except (EngineError, ValueError, KeyError, TypeError) as error:
            raise EmbedderUnavailable(
                f"The embedder at {endpoint.api}/embeddings gave no vectors"
                f" ({type(error).__name__}); questions are compared by wording."
                " Check `embedder` in q2q.toml."
            ) from error


def _vectors(body: Any, n: int) -> list[Array]:
    rows = sorted(body["data"], key=lambda row: int(row["index"]))
    vectors = np.array([row["embedding"] for row in rows], dtype=float)
    if vectors.ndim != 2 or len(vectors) != n or not np.isfinite(vectors).all():
        raise ValueError("not one vector a text")
    return list(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


@lru_cache(maxsize=4)
def embedding_server(given: Embedder, ca_file: Path | None = None) -> EmbeddingServer:
    """Return the vectors of a server; one for each setting, so that they are kept."""
    return EmbeddingServer(given, ca_file=ca_file)


class Guard:
    """How this workbench compares questions: by an embedder of the settings, or by wording."""

    def __init__(self, settings: Settings) -> None:
        given = settings.embedder
        self.problem: str | None = None
        """Why wording took the place of the embedder; None where nothing went wrong."""
        self._embed: Embed | None = embedding_server(given, settings.ca_file) if given else None
        self._given = given

    @property
    def catches_paraphrases(self) -> bool:
        """Whether most repeats in other words are found."""
        return self._given.catches_paraphrases if self._given and self._embed else False

    @property
    def repeat_from(self) -> float:
        """Similarity from which a question counts as a repeat, 0 to 1."""
        return self._given.repeat_from if self._given and self._embed else REPEAT_FROM

    def assess(
        self,
        candidates: Sequence[str],
        earlier: Sequence[str],
        goal: str,
        opposing_goal: str | None = None,
    ) -> list[Novelty]:
        """Return how new candidates are; by wording where the embedder fails (see ``problem``)."""
        return self._or_by_wording(
            lambda: assess(
                candidates,
                earlier,
                goal,
                opposing_goal,
                embed=self._embed,
                repeat_from=self.repeat_from,
            )
        )

    def exhaustion(self, questions: Sequence[str]) -> Exhaustion:
        """Return how far questions have been found; by wording where the embedder fails."""
        return self._or_by_wording(
            lambda: exhaustion(questions, embed=self._embed, repeat_from=self.repeat_from)
        )

    def _or_by_wording(self, compare: Callable[[], T]) -> T:
        try:
            return compare()
        except EmbedderUnavailable as error:
            self.problem, self._embed = str(error), None
            return compare()
