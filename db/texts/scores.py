"""Scores of answers under reasonings: what can be scored, what has been, and the controls.

A control is a reasoning variant with the source ``control``. Its note tells its kind; its parents
are the reasoning that it stands in for and, where it is a foreign one, the reasoning it copies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from sqlalchemy import Select, delete, exists, func, select
from sqlalchemy.orm import Session, aliased

from db.bulk import chunks, insert_missing
from db.errors import UsageError
from db.generations import PromptText, store_prompts
from db.identity import text_hash
from db.tables import (
    Answer,
    AnswerScore,
    Generation,
    PromptFormat,
    Question,
    ReasoningVariant,
    Role,
    RowScore,
    SweepGeneration,
    VariantParent,
    utc_now,
)

SelectT = TypeVar("SelectT", bound=Select[*tuple[Any, ...]])
ControlKind = Literal["shuffled", "truncated", "foreign"]
CONTROL_KINDS: tuple[ControlKind, ...] = get_args(ControlKind)
ENDED_BY_TOKEN = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreScope:
    """Which answers; what is None or empty does not narrow."""

    sweep_id: int | None = None
    question_ids: tuple[int, ...] = ()
    role: str | None = None
    """Name of a role, of any version."""
    model_version_id: int | None = None
    """The model that wrote the answers."""
    by_people: bool = False
    """Answers that people wrote or imported, instead of those of models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerText:
    """An answer and the reasoning that it stands under."""

    answer_id: int
    text: str
    question_id: int
    variant_id: int
    variant_text: str
    variant_hash: str
    prompt_format_id: int | None
    """None, with role and model, where a person wrote the answer."""
    role_id: int | None
    model_version_id: int | None
    sampling_id: int | None
    """Of the parameters that it was drawn with."""
    kind: str | None
    """Of its generation: ``answer``, or ``whole`` where it was written with its reasoning."""
    is_ended: bool
    """The model ended it by its stop token, or a person did; it was not cut off."""


class ScoreKey(NamedTuple):
    """What has one score: an answer under a reasoning or under none, as a model was asked."""

    answer_id: int
    variant_id: int | None
    prompt_format_id: int
    role_id: int
    model_version_id: int
    question_withheld: bool


@dataclass(frozen=True, slots=True)
class Score:
    """A stored score, or why there is none."""

    log_prob: float | None
    """Natural logarithm, summed over the answer's tokens."""
    n_tokens: int | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NewScore:
    """A score to be stored."""

    key: ScoreKey
    score: Score
    prompt: PromptText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewControl:
    """A control to be stored."""

    question_id: int
    kind: ControlKind
    text: str
    stands_for: int
    """The reasoning that it takes the place of."""
    copied_from: int | None = None
    """The reasoning of another question whose words it has."""


def read_answers(
    session: Session, scope: ScoreScope, max_questions: int | None = None
) -> list[AnswerText]:
    """Return the answers of ``scope`` that stand under a reasoning, by question and id.

    Args:
        session: Of the store.
        scope: Which answers.
        max_questions: Only of so many questions, the oldest.
    """
    query = (
        select(
            Answer.id.label("answer_id"),
            Answer.text,
            Answer.question_id,
            Answer.variant_id,
            ReasoningVariant.text.label("variant_text"),
            ReasoningVariant.content_hash.label("variant_hash"),
            Generation.prompt_format_id,
            Generation.role_id,
            Generation.model_version_id,
            Generation.sampling_id,
            Generation.kind,
            Generation.finish_reason,
            Generation.stop_reason,
        )
        .join(ReasoningVariant, ReasoningVariant.id == Answer.variant_id)
        .outerjoin(Generation, Generation.id == Answer.generation_id)
        .where(ReasoningVariant.source != "control", func.trim(Answer.text) != "")
        .order_by(Answer.question_id, Answer.variant_id, Answer.id)
    )
    query = _narrowed(query, scope)
    if max_questions is not None:
        asked = (
            query.with_only_columns(Answer.question_id).order_by(None).order_by(Answer.question_id)
        )
        query = query.where(Answer.question_id.in_(asked.distinct().limit(max_questions)))
    rows = session.execute(query).all()
    return [
        AnswerText(
            **{name: row._mapping[name] for name in AnswerText.__slots__ if name != "is_ended"},
            is_ended=_is_ended(row.model_version_id, row.finish_reason, row.stop_reason),
        )
        for row in rows
    ]


def _narrowed(query: SelectT, scope: ScoreScope) -> SelectT:
    if scope.question_ids:
        query = query.where(Answer.question_id.in_(scope.question_ids))
    if scope.by_people:
        query = query.where(Answer.generation_id.is_(None))
        if scope.role is not None:
            query = query.join(Question, Question.id == Answer.question_id).where(
                Question.role == scope.role
            )
        return query
    query = query.where(Answer.generation_id.is_not(None))
    if scope.sweep_id is not None:
        query = query.where(
            exists().where(
                SweepGeneration.generation_id == Answer.generation_id,
                SweepGeneration.sweep_id == scope.sweep_id,
            )
        )
    if scope.role is not None:
        query = query.join(Role, Role.id == Generation.role_id).where(Role.name == scope.role)
    if scope.model_version_id is not None:
        query = query.where(Generation.model_version_id == scope.model_version_id)
    return query


def _is_ended(model_id: int | None, finish_reason: str | None, stop_reason: str | None) -> bool:
    """Tell a text that its end token closed from one that was cut, or that a stop string ended."""
    if model_id is None:
        return True
    return finish_reason == ENDED_BY_TOKEN and (stop_reason is None or stop_reason.isdigit())


def read_controls(
    session: Session, variant_ids: Sequence[int]
) -> dict[tuple[int, ControlKind], tuple[int, str]]:
    """Return id and text of the controls that stand for ``variant_ids``, by these and the kind."""
    own = aliased(ReasoningVariant)
    found: dict[tuple[int, ControlKind], tuple[int, str]] = {}
    for part in chunks(variant_ids):
        query = (
            select(own.id, ReasoningVariant.note, ReasoningVariant.id, ReasoningVariant.text)
            .join(VariantParent, VariantParent.variant_id == ReasoningVariant.id)
            .join(own, own.id == VariantParent.parent_id)
            .where(
                own.id.in_(part),
                ReasoningVariant.source == "control",
                # The text of a foreign control has its second parent under another question.
                own.question_id == ReasoningVariant.question_id,
            )
            .order_by(ReasoningVariant.id.desc())
        )
        for parent_id, note, control_id, text in session.execute(query):
            found.update({(parent_id, k): (control_id, text) for k in CONTROL_KINDS if k == note})
    return found


def add_controls(session: Session, controls: Iterable[NewControl]) -> None:
    """Write controls as reasoning variants with their parents; they are not searched for."""
    for control in controls:
        variant = ReasoningVariant(
            question_id=control.question_id,
            text=control.text,
            source="control",
            content_hash=text_hash(control.text),
            note=control.kind,
        )
        session.add(variant)
        session.flush()
        parents = [control.stands_for, control.copied_from]
        session.add_all(
            VariantParent(variant_id=variant.id, parent_id=parent_id, position=position)
            for position, parent_id in enumerate(parents)
            if parent_id is not None
        )


def find_foreign(
    session: Session, question_ids: Sequence[int], limit: int
) -> list[tuple[int, int, str]]:
    """Return question, id and text of up to ``limit`` reasonings of other questions, newest first.

    For a scope of one question, which has no others to take foreign reasonings from.
    """
    query = (
        select(ReasoningVariant.question_id, ReasoningVariant.id, ReasoningVariant.text)
        .where(
            ReasoningVariant.question_id.not_in(question_ids),
            ReasoningVariant.source != "control",
        )
        .order_by(ReasoningVariant.id.desc())
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def find_scores(session: Session, answer_ids: Sequence[int]) -> dict[ScoreKey, Score]:
    """Return all scores of some answers, failed ones included."""
    columns = [getattr(AnswerScore, name) for name in ScoreKey._fields]
    found: dict[ScoreKey, Score] = {}
    for part in chunks(answer_ids):
        query = select(
            *columns, AnswerScore.log_prob, AnswerScore.n_tokens, AnswerScore.error
        ).where(AnswerScore.answer_id.in_(part))
        for *key, log_prob, n_tokens, error in session.execute(query):
            found[ScoreKey(*key)] = Score(log_prob, n_tokens, error)
    return found


def record_scores(session: Session, items: Sequence[NewScore], prompt_ids: dict[str, int]) -> None:
    """Write scores; a pair that has one keeps it, a failure gives way.

    Args:
        session: Of an open write transaction.
        items: Scores of different pairs.
        prompt_ids: Prompts known to be stored, by content hash; the new ones are added.
    """
    store_prompts(session, [item.prompt for item in items if item.prompt], prompt_ids)
    rows = [
        (item.key, item.score, prompt_ids[item.prompt.content_hash] if item.prompt else None)
        for item in items
    ]
    insert_scores(
        session,
        AnswerScore,
        [(key._asdict(), {**asdict(score), "prompt_id": prompt}) for key, score, prompt in rows],
    )


def insert_scores(
    session: Session,
    table: type[AnswerScore] | type[RowScore],
    rows: Sequence[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    """Write scores, given as what each is of and its values; a failure before gives way."""
    for key, _ in rows:
        same = [getattr(table, name).is_not_distinct_from(value) for name, value in key.items()]
        session.execute(delete(table).where(*same, table.error.is_not(None)))
    now = utc_now()
    insert_missing(session, table, [{**key, **own, "created_at": now} for key, own in rows])


def newest_roles(session: Session) -> dict[str, int]:
    """Return the newest version of each role by its name."""
    rows = session.execute(select(Role.name, Role.id).order_by(Role.version))
    return {row[0]: row[1] for row in rows}


def find_format(session: Session, reference: str) -> int:
    """Return the id of the prompt format ``name@version``.

    Raises:
        UsageError: There is none.
    """
    rows = session.execute(select(PromptFormat.name, PromptFormat.version, PromptFormat.id))
    known = {f"{name}@{version}": format_id for name, version, format_id in rows}
    if reference not in known:
        raise UsageError(
            "There is no prompt format {reference!r}; there are {known}.",
            reference=reference,
            known=", ".join(sorted(known)),
        )
    return known[reference]


def score_mark(session: Session) -> str:
    """Return a mark that changes with every score and answer; ``0/…`` where none is scored."""
    score = session.scalar(select(func.max(AnswerScore.id))) or 0
    answer = session.scalar(select(func.max(Answer.id))) or 0
    return f"{score}/{answer}"
