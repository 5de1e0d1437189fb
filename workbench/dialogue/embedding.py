"""Questions compared by meaning: vectors of an embeddings server, each text asked for once.

Serves the guard against repeats, the questions that two dialogues share, and the look through all
questions of the store.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import orjson
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.errors import Q2QError
from db.settings import Embedder, Settings
from db.tables import DialogueNode, Question
from serving.engine.messages import Endpoint, EngineError, ServerMisconfigured
from serving.engine.transport import Transport, blocking
from workbench.dialogue.novelty import (
    REPEAT_FROM,
    Array,
    Embed,
    Exhaustion,
    Novelty,
    assess,
    exhaustion,
)
from workbench.dialogue.tree import Tree, TreeNode

T = TypeVar("T")
AT_ONCE: Final = 128
"""Texts of one request."""
MAX_KEPT: Final = 50_000
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
        if len(self._kept) > MAX_KEPT:
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
            raise EmbedderUnavailable(
                "{error} Questions are compared by wording.", error=error
            ) from error
        except (EngineError, ValueError, KeyError, TypeError) as error:
            raise EmbedderUnavailable(
                "The embedder at {api}/embeddings gave no vectors"
                " ({error}); questions are compared by wording."
                " Check `embedder` in q2q.toml.",
                api=endpoint.api,
                error=type(error).__name__,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedQuestion:
    """A question of one dialogue and the one of the other that asks the same."""

    one: TreeNode
    other: TreeNode
    similarity: float
    """0 to 1."""


def asked_in_both(guard: Guard, one: Tree, other: Tree) -> list[SharedQuestion]:
    """Return the questions of ``one`` that ``other`` asks too, the most alike first."""
    if not one.nodes or not other.nodes:
        return []
    theirs: Sequence[TreeNode] = other.nodes
    assessed = guard.assess(
        [node.question for node in one.nodes], [node.question for node in theirs], ""
    )
    found = [
        SharedQuestion(one=node, other=theirs[novelty.nearest], similarity=novelty.similarity)
        for node, novelty in zip(one.nodes, assessed, strict=True)
        if novelty.nearest is not None and novelty.similarity >= guard.repeat_from
    ]
    return sorted(found, key=lambda shared: -shared.similarity)


MAX_COMPARED = 20_000
"""Questions of the store that are compared, the newest: about two seconds by wording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMatch:
    """The question of the store that is most like a proposal."""

    question_id: int
    text: str
    similarity: float
    """0 to 1."""
    is_repeat: bool
    """Whether it asks the same, as the guard tells repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreComparison:
    """Proposals held against the store."""

    matches: tuple[StoreMatch | None, ...]
    """One for each proposal; None where nothing of the store is like it."""
    n_compared: int
    """Different questions that were looked at."""
    n_in_store: int
    """Different questions outside the dialogue."""


def like_in_store(
    session: Session,
    guard: Guard,
    texts: Sequence[str],
    dialogue_id: int,
    *,
    limit: int = MAX_COMPARED,
) -> StoreComparison:
    """Return what the store holds that is most like each of ``texts``.

    Questions of the dialogue itself are left out: the guard of its turns compares those.
    """
    own = (
        select(Question.text)
        .join(DialogueNode, DialogueNode.question_id == Question.id)
        .where(DialogueNode.dialogue_id == dialogue_id)
    )
    newest = func.max(Question.id)
    others = select(newest, Question.text).where(Question.text.not_in(own)).group_by(Question.text)
    n_in_store = session.scalar(select(func.count()).select_from(others.subquery())) or 0
    rows = session.execute(others.order_by(newest.desc()).limit(limit)).all()
    if not rows or not texts:
        return StoreComparison(
            matches=(None,) * len(texts), n_compared=len(rows), n_in_store=n_in_store
        )
    assessed = guard.assess(texts, [text for _, text in rows], "")
    matches = [
        StoreMatch(
            question_id=rows[one.nearest][0],
            text=rows[one.nearest][1],
            similarity=one.similarity,
            is_repeat=one.similarity >= guard.repeat_from,
        )
        if one.nearest is not None and one.similarity > 0
        else None
        for one in assessed
    ]
    return StoreComparison(matches=tuple(matches), n_compared=len(rows), n_in_store=n_in_store)
