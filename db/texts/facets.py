"""What there is to filter texts by: each value with the number of texts that have it, if known."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.counts import background_count, cached_count
from db.store.archive import in_use
from db.sweeps import sweep_mark, sweep_names
from db.tables import (
    CheckFlag,
    Generation,
    ModelVersion,
    PromptFormat,
    Role,
    Sweep,
    SweepGeneration,
)

MAX_SWEEPS = 200
"""The newest ones; nobody looks through a longer list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFacets:
    """Values with their numbers of texts; the most frequent first, sweeps the newest first.

    A number is None while it is being counted for the first time.
    """

    sweeps: dict[int, tuple[str, int | None]]
    """Id → name and texts, of the sweeps that people started."""
    models: dict[int, tuple[str, int | None]]
    """Id → name and texts."""
    precisions: dict[str, int | None]
    """In which the weights were served, as far as that is known."""
    formats: dict[str, int | None]
    roles: dict[str, int | None]
    """By what was sent to the model."""
    finish_reasons: dict[str, int | None]
    checks: dict[str, int | None]
    """Texts on which each check found something."""


def facets_version(session: Session) -> tuple[int, ...]:
    """Return numbers that change whenever the facets may: what there is, and what is archived."""
    tables = (Generation, CheckFlag, Sweep)
    newest = [session.scalar(select(func.max(table.id))) or 0 for table in tables]
    archived = [
        session.scalar(select(func.count()).where(in_use(table, archived=True))) or 0
        for table in (ModelVersion, Sweep)
    ]
    return (*newest, *archived)


def facets_at_once(session: Session) -> TextFacets:
    """Return the facets in little time: older numbers, or none, while they are being counted."""
    found = background_count(session, "facets", facets_version(session), text_facets)
    return found or _uncounted(session)


def _uncounted(session: Session) -> TextFacets:
    """Return all that texts may be filtered by, without numbers."""
    models = select(ModelVersion.id, ModelVersion.name).where(in_use(ModelVersion))
    models = models.order_by(ModelVersion.id)
    precisions = select(ModelVersion.precision).where(ModelVersion.precision.is_not(None))
    formats = select(PromptFormat.name, PromptFormat.version).order_by(PromptFormat.id)
    roles = select(Role.name).distinct().order_by(Role.name)
    return TextFacets(
        sweeps={
            sweep_id: (name, None) for sweep_id, name in sweep_names(session, MAX_SWEEPS).items()
        },
        models={row.id: (row.name, None) for row in session.execute(models)},
        precisions=dict.fromkeys(one for one in session.scalars(precisions.distinct()) if one),
        formats={f"{name}@{version}": None for name, version in session.execute(formats)},
        roles=dict.fromkeys(session.scalars(roles)),
        finish_reasons=dict.fromkeys(("stop", "length")),
        checks={},
    )


def text_facets(session: Session) -> TextFacets:
    """Return what there is to filter by; reads all generations once."""
    models = {
        row.id: row
        for row in session.execute(
            select(
                ModelVersion.id, ModelVersion.name, ModelVersion.precision, ModelVersion.archived_at
            )
        )
    }
    formats = {
        row.id: f"{row.name}@{row.version}"
        for row in session.execute(select(PromptFormat.id, PromptFormat.name, PromptFormat.version))
    }
    roles = {row.id: row.name for row in session.execute(select(Role.id, Role.name))}
    by_model: Counter[int] = Counter()
    by_precision: Counter[str] = Counter()
    by_format: Counter[str] = Counter()
    by_role: Counter[str] = Counter()
    by_finish: Counter[str] = Counter()
    newest = session.scalar(select(func.max(Generation.id)))
    counted = cached_count(
        session, "generations", newest, lambda: _counted(session), is_moving=True
    )
    for model_id, format_id, role_id, reason, n in counted:
        by_model[model_id] += n
        if models[model_id].precision:
            by_precision[models[model_id].precision] += n
        by_format[formats[format_id]] += n
        by_role[roles[role_id]] += n
        if reason:
            by_finish[reason] += n
    return TextFacets(
        sweeps=_sweeps(session),
        models={
            one: (models[one].name, n)
            for one, n in by_model.most_common()
            if models[one].archived_at is None
        },
        precisions=dict(by_precision.most_common()),
        formats=dict(by_format.most_common()),
        roles=dict(by_role.most_common()),
        finish_reasons=dict(by_finish.most_common()),
        checks=_checks(session),
    )


def _counted(session: Session) -> list[tuple[int, int, int, str | None, int]]:
    columns = (
        Generation.model_version_id,
        Generation.prompt_format_id,
        Generation.role_id,
        Generation.finish_reason,
    )
    counted = select(*columns, func.count()).where(Generation.ok).group_by(*columns)
    return [(row[0], row[1], row[2], row[3], row[4]) for row in session.execute(counted)]


def _sweeps(session: Session) -> dict[int, tuple[str, int | None]]:
    return {
        sweep_id: (name, _n_shown(session, sweep_id))
        for sweep_id, name in sweep_names(session, MAX_SWEEPS).items()
    }


def _n_shown(session: Session, sweep_id: int) -> int:
    """Return how many generations a sweep shows."""
    own = SweepGeneration.sweep_id == sweep_id
    mark = sweep_mark(session, sweep_id)

    def count() -> int:
        return session.scalar(select(func.count()).select_from(SweepGeneration).where(own)) or 0

    return cached_count(session, ("shown", sweep_id), mark, count, is_moving=mark[1])


def _checks(session: Session) -> dict[str, int | None]:
    counted = select(CheckFlag.name, func.count()).group_by(CheckFlag.name)
    return dict(session.execute(counted.order_by(func.count().desc(), CheckFlag.name)).all())
