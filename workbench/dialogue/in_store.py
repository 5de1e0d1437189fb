"""Proposed questions beside all questions of the store: whether another work has asked the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.tables import DialogueNode, Question
from workbench.dialogue.embedding import Guard

MOST_COMPARED = 20_000
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
    """Different questions outside the session."""


def like_in_store(
    session: Session,
    guard: Guard,
    texts: Sequence[str],
    dialogue_id: int,
    *,
    most: int = MOST_COMPARED,
) -> StoreComparison:
    """Return what the store holds that is most like each of ``texts``.

    Questions of the session itself are left out: the guard of its turns compares those.
    """
    own = (
        select(Question.text)
        .join(DialogueNode, DialogueNode.question_id == Question.id)
        .where(DialogueNode.dialogue_id == dialogue_id)
    )
    newest = func.max(Question.id)
    others = select(newest, Question.text).where(Question.text.not_in(own)).group_by(Question.text)
    n_in_store = session.scalar(select(func.count()).select_from(others.subquery())) or 0
    rows = session.execute(others.order_by(newest.desc()).limit(most)).all()
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
