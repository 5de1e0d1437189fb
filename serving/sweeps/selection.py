"""From the conditions of a spec to ids of the store: questions, existing reasonings, models."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.errors import UsageError
from db.identity import Precision, question_hash, text_hash
from db.models import ModelRow, find_model, list_models
from db.questions import QuestionFilter, question_ids
from db.rating.ratings import RESERVED, active_ratings, of_repeat, overruled
from db.search import search_ids
from db.settings import settings
from db.store.archive import has_archived, in_use
from db.tables import (
    CheckFlag,
    Question,
    Rater,
    Rating,
    ReasoningVariant,
    SweepGeneration,
)
from serving.checks import CHECKS
from serving.importers.readers import read_rows
from serving.importers.reasonings import read_reasonings, resolve_reasonings
from serving.models.as_served import find_served, served_version
from serving.models.embedded import EMBEDDED_NAME
from serving.sweeps.spec import QuestionSelection, ReasoningSelection, SweepSpec

DEFAULT_MODEL = "default"
MAX_HITS = 1_000_000


@dataclass(slots=True, kw_only=True)
class ChosenReasonings:
    """Existing reasonings of questions, and those of a file that are not stored yet."""

    stored: dict[int, list[int]] = field(default_factory=dict)
    """Question → ids of its variants."""
    new: dict[int, list[str]] = field(default_factory=dict)
    """Question → texts to be stored with the sweep."""

    def count(self, question_id: int) -> int:
        """Return how many reasonings a question has."""
        return len(self.stored.get(question_id, ())) + len(self.new.get(question_id, ()))


def select_questions(
    session: Session,
    selection: QuestionSelection,
    roles: Collection[str],
    *,
    only_pool: bool = True,
) -> list[int]:
    """Return the ids of the questions that are meant, oldest first; none that is archived.

    Args:
        session: Of the store.
        selection: What is meant.
        roles: Names of all roles, for a file.
        only_pool: What dialogues brought up counts only where it is named, by id or in a file.
            A range names nothing: what it lacks, and what is archived in it, is left out.

    Raises:
        UsageError: A question that is named is not in the store, or is archived; or nothing is in
            a range.
    """
    wanted = _existing(session, selection.ids, only_pool) if selection.ids else None
    if selection.file is not None:
        listed = _questions_of_file(session, selection.file, roles)
        wanted = listed if wanted is None else wanted & listed
    found = question_ids(
        session,
        QuestionFilter(
            search=selection.search or "",
            tags=selection.tags,
            languages=selection.languages,
            roles=selection.roles,
            categories=selection.categories,
            sources=selection.sources,
            held_out=selection.held_out,
            in_pool=True if only_pool and wanted is None else None,
        ),
    )
    if wanted is not None:
        found = [one for one in found if one in wanted]
    return found[: selection.limit]


def _existing(session: Session, given: Sequence[int | str], only_pool: bool) -> set[int]:
    condition = in_use(Question)
    if only_pool:
        condition &= Question.in_pool.is_(True)
    ids, between = _numbers(session, "questions.ids", given, Question, condition)
    known = _known(session, Question, ids)
    missing = [f"q{one}" for one in ids if one not in known]
    if missing:
        raise UsageError(
            "questions.ids: there is no {missing}; `q2q question list` shows all.",
            missing=", ".join(missing[:5]),
        )
    _check_in_use(session, "questions.ids", ids)
    return {*ids, *between}


def _numbers(
    session: Session,
    field: str,
    given: Sequence[int | str],
    table: type[Question] | type[ReasoningVariant],
    condition: ColumnElement[bool],
) -> tuple[list[int], set[int]]:
    """Return the numbers that are given, and those of the store that lie in the ranges given.

    Args:
        session: Of the store.
        field: What the spec calls them.
        given: Numbers, and ranges such as ``3-9``.
        table: Whose numbers they are.
        condition: Must hold for what lies in a range.
    """
    between: set[int] = set()
    for ends in (one for one in given if isinstance(one, str)):
        low, _, high = ends.partition("-")
        inside = select(table.id).where(table.id.between(int(low), int(high)), condition)
        found = session.scalars(inside).all()
        if not found:
            raise UsageError("{field}: there is nothing in {ends}.", field=field, ends=ends)
        between.update(found)
    return [one for one in given if isinstance(one, int)], between


def _known(
    session: Session, table: type[Question] | type[ReasoningVariant], ids: Sequence[int]
) -> set[int]:
    parts = (select(table.id).where(table.id.in_(part)) for part in chunks(ids))
    return {one for query in parts for one in session.scalars(query)}


def _check_in_use(session: Session, field: str, ids: Iterable[int]) -> None:
    if not has_archived(session, "question"):
        return
    for part in chunks(ids):
        named = Question.id.in_(part) & in_use(Question, archived=True)
        one = session.scalar(select(Question.id).where(named).limit(1))
        if one is not None:
            raise UsageError(
                "{field}: q{one} is archived; leave it out, or bring it back:"
                " `q2q question restore {one}`.",
                field=field,
                one=one,
            )


def _questions_of_file(session: Session, path: Path, roles: Collection[str]) -> set[int]:
    rows = read_rows(path, roles=roles).rows
    hashes = {question_hash(row.text, row.context, row.role) for row in rows}
    found: dict[str, int] = {}
    for part in chunks(list(hashes)):
        query = select(Question.content_hash, Question.id).where(Question.content_hash.in_(part))
        found.update((row[0], row[1]) for row in session.execute(query))
    if len(found) < len(hashes):
        raise UsageError(
            "questions.file: {n} of the {most} questions of {path}"
            " are not in the store; import them first: `q2q question import {path}`.",
            n=len(hashes) - len(found),
            most=len(hashes),
            path=path,
        )
    _check_in_use(session, "questions.file", found.values())
    return set(found.values())


def select_reasonings(
    session: Session,
    selection: ReasoningSelection,
    question_ids: Sequence[int],
    roles: Collection[str],
) -> ChosenReasonings:
    """Return the reasonings that are meant, of the questions of the sweep only.

    Raises:
        UsageError: A condition names something that does not exist.
    """
    _check_names(selection)
    if selection.file is not None:
        return _reasonings_of_file(session, selection.file, set(question_ids), roles)
    query = select(ReasoningVariant.question_id, ReasoningVariant.id).where(
        ReasoningVariant.source != "control"
    )
    if selection.sweep is not None:
        query = query.join(
            SweepGeneration, SweepGeneration.generation_id == ReasoningVariant.generation_id
        ).where(SweepGeneration.sweep_id == selection.sweep)
    if selection.checks_absent:
        query = query.where(
            ~select(CheckFlag.id)
            .where(
                CheckFlag.variant_id == ReasoningVariant.id,
                CheckFlag.name.in_(selection.checks_absent),
            )
            .exists()
        )
    allowed = _allowed(session, selection)
    chosen = ChosenReasonings()
    for part in chunks(question_ids):
        rows = session.execute(
            query.where(ReasoningVariant.question_id.in_(part)).order_by(ReasoningVariant.id)
        )
        for question_id, variant_id in rows:
            if allowed is None or variant_id in allowed:
                chosen.stored.setdefault(question_id, []).append(variant_id)
    return chosen


def _check_names(selection: ReasoningSelection) -> None:
    unknown = [name for name in selection.checks_absent if name not in CHECKS]
    if unknown:
        raise UsageError(
            "reasonings.checks_absent: there is no check {unknown!r}; known are {checks}.",
            unknown=unknown[0],
            checks=", ".join(CHECKS),
        )
    others = selection.model_dump(exclude={"file"}, exclude_defaults=True)
    if selection.file is not None and others:
        raise UsageError("reasonings.file cannot be combined with other conditions.")


def _named(session: Session, given: Sequence[int | str]) -> set[int]:
    condition = ReasoningVariant.source != "control"
    ids, between = _numbers(session, "reasonings.ids", given, ReasoningVariant, condition)
    known = _known(session, ReasoningVariant, ids)
    missing = [one for one in ids if one not in known]
    if missing:
        listed = ", ".join(f"v{one}" for one in missing[:5])
        raise UsageError(
            "reasonings.ids: there is no reasoning {listed}; check the ids.", listed=listed
        )
    return {*ids, *between}


def _allowed(session: Session, selection: ReasoningSelection) -> set[int] | None:
    """Return the variants that ids, search and rating leave; None where none of them is given."""
    limits: list[set[int]] = []
    if selection.ids:
        limits.append(_named(session, selection.ids))
    if selection.search:
        limits.append(set(search_ids(session, "variant", selection.search, MAX_HITS)))
    if selection.min_rating is not None:
        limits.append(_rated(session, selection.min_rating))
    return set.intersection(*limits) if limits else None


def _rated(session: Session, least: float) -> set[int]:
    """Return variants that people rate at least so high on average; undone ratings don't count."""
    query = (
        active_ratings()
        .with_only_columns(Rating.variant_id)
        .join(Rater, Rater.id == Rating.rater_id)
        .where(
            Rating.scope == "reasoning",
            Rating.value.is_not(None),
            ~of_repeat(),
            ~overruled(),
            Rating.axis.not_in(RESERVED),
            Rater.kind == "person",
        )
        .group_by(Rating.variant_id)
        .having(func.avg(Rating.value) >= least)
    )
    return {variant_id for variant_id in session.scalars(query) if variant_id is not None}


def _reasonings_of_file(
    session: Session, path: Path, question_ids: set[int], roles: Collection[str]
) -> ChosenReasonings:
    resolved = resolve_reasonings(session, read_reasonings(path, roles=roles))
    known: dict[tuple[int, str], int] = {}
    for part in chunks(sorted({question_id for question_id, _ in resolved})):
        rows = session.execute(
            select(
                ReasoningVariant.question_id, ReasoningVariant.content_hash, ReasoningVariant.id
            ).where(ReasoningVariant.question_id.in_(part))
        )
        for question_id, content_hash, variant_id in rows:
            known.setdefault((question_id, content_hash), variant_id)
    chosen = ChosenReasonings()
    for question_id, text in resolved:
        if question_id not in question_ids:
            continue
        known_id = known.get((question_id, text_hash(text)))
        if known_id is None:
            texts = chosen.new.setdefault(question_id, [])
            if text not in texts:
                texts.append(text)
        elif known_id not in (ids := chosen.stored.setdefault(question_id, [])):
            ids.append(known_id)
    for ids in chosen.stored.values():
        ids.sort()  # the order of lines in a file makes no other sweep
    return chosen


def select_writers(
    session: Session, spec: SweepSpec
) -> tuple[list[ModelRow], list[ModelRow] | None]:
    """Return who writes the reasonings of a sweep, and who the answers; None: each writer itself.

    Raises:
        VersionMissing: One was never served in that precision, and ``session`` only reads.
        UsageError: A model is not known, not usable, or named twice.
    """
    writers = select_models(session, spec.models, "models", spec.precision)
    if spec.answer_models is None:
        return writers, None
    return writers, select_models(session, spec.answer_models, "answer_models", spec.precision)


def select_models(
    session: Session,
    names: Sequence[str],
    key: str,
    precisions: Sequence[Precision] | None = None,
) -> list[ModelRow]:
    """Return the models called ``names`` as they are served; ``default`` is that of the settings.

    Args:
        session: One that writes, where a model may never have been served so.
        names: Names or ids; ``NAME@fp8`` says a precision.
        key: What the spec calls them.
        precisions: The precisions to serve each in; None: the one that its server takes.

    Raises:
        VersionMissing: One was never served so, and ``session`` only reads.
        UsageError: A model is not known, not usable, or named twice.
    """
    known = settings()
    found = [
        served_version(session, default_model(session), known, precision)
        if name == DEFAULT_MODEL
        else find_served(session, name, known, precision)
        for name in names
        for precision in precisions or (None,)
    ]
    unusable = [model for model in found if model.state != "ready"]
    if unusable:
        note = f" {unusable[0].note}" if unusable[0].note else ""
        raise UsageError(
            "{key}: the model {unusable_name} is {state}; choose another one"
            " (`q2q model list`).{note}",
            key=key,
            unusable_name=unusable[0].name,
            state=unusable[0].state,
            note=note,
        )
    if len({model.id for model in found}) < len(found):
        raise UsageError("{key} names one model twice: {names}.", key=key, names=", ".join(names))
    return found


def default_model(session: Session) -> ModelRow:
    """Return the model of the settings; without one, the embedded one, or the only one there is.

    Raises:
        UsageError: There is no such model in the store.
    """
    wanted = settings().model
    models = [model for model in list_models(session) if model.state == "ready"]
    if wanted is not None:
        by_path: Mapping[str | None, ModelRow] = {model.path: model for model in models}
        return by_path.get(wanted) or find_model(session, wanted)
    for model in models:
        if model.name == EMBEDDED_NAME:
            return model
    if len(models) == 1:
        return models[0]
    raise UsageError(
        "There is no default model: set Q2Q_MODEL to one of `q2q model list`, or name the models"
        " in the spec."
    )


def chosen_model(session: Session, name: str) -> ModelRow:
    """Return the model called ``name``; the default one for ``default``.

    Raises:
        UsageError: There is no such model.
    """
    return default_model(session) if name == DEFAULT_MODEL else find_model(session, name)
