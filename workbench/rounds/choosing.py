"""Which questions a round asks where it asks at most so many: a fixed draw, alike in each round."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.identity import short_hash
from db.tables import Question
from serving.sweeps.selection import select_questions
from serving.sweeps.spec import QuestionSelection


class Drawable(NamedTuple):
    """A question as the draw sees it: nothing of it depends on when it was stored."""

    id: int
    language: str
    content_hash: str


def choose_questions(
    session: Session, selection: QuestionSelection, roles: Collection[str]
) -> QuestionSelection:
    """Return ``selection`` with the questions that are drawn by name; itself without a limit.

    Raises:
        UsageError: A question that is named is not in the store.
    """
    if selection.limit is None:
        return selection
    everyone = select_questions(session, selection.model_copy(update={"limit": None}), roles)
    if len(everyone) <= selection.limit:
        return selection
    rows = [
        Drawable(one, language or "", content_hash)
        for some in chunks(everyone)
        for one, language, content_hash in session.execute(
            select(Question.id, Question.language, Question.content_hash).where(
                Question.id.in_(some)
            )
        )
    ]
    return QuestionSelection(ids=tuple(draw(rows, selection.limit)))


def draw(rows: Iterable[Drawable], most: int) -> list[int]:
    """Return the ids of ``most`` questions, each language in proportion, by id.

    The lot of a question is a hash of its content: the same questions are drawn in every store and
    round, a higher limit draws these and more, and a new question moves few of the others.
    """
    by_language: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in rows:
        by_language[row.language].append((short_hash("round", row.content_hash), row.id))
    places = [
        ((place + 0.5) / len(lots), lot, question_id)
        for lots in by_language.values()
        for place, (lot, question_id) in enumerate(sorted(lots))
    ]
    return sorted(question_id for _, _, question_id in sorted(places)[:most])
