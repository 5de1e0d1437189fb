"""Comparisons in the store: written by the job, read by page and command line."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from db.jobs import active_jobs, enqueue
from db.tables import ModelVersion, PrecisionComparison
from serving.formats.library import Registry
from workbench.precision.spec import KIND, CompareSpec
from workbench.precision.texts import prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One comparison of a version with its 16-bit weights."""

    id: int
    model: str
    """As it is served, e.g. ``phi-3-medium@fp8``."""
    reference: str
    """The version with the 16-bit weights."""
    precision: str
    result: dict[str, Any]
    """The fields of ``Figures``, and what was asked."""
    created_at: datetime


def queue_comparison(session: Session, registry: Registry, spec: CompareSpec) -> int:
    """Queue a comparison and return the job's id; one of the same spec that is active is kept.

    Raises:
        UsageError: The model is not there, or its weights are not in 16 bit.
    """
    prepare(session, registry, spec)
    payload = spec.model_dump(mode="json")
    for job in active_jobs(session, kind=KIND):
        if job.payload == payload and job.cancel_requested_at is None:
            return job.id
    return enqueue(session, KIND, payload=payload)


def save_comparison(
    session: Session, model_id: int, reference_id: int, result: Mapping[str, Any]
) -> int:
    """Write a comparison and return its id; earlier ones stay."""
    made = PrecisionComparison(
        model_version_id=model_id, reference_id=reference_id, result=dict(result)
    )
    session.add(made)
    session.flush()
    return made.id


def comparisons_of(session: Session, stored_id: int | None = None) -> list[ComparisonRow]:
    """Return the newest comparison of each version, of one stored model or of all."""
    reference = aliased(ModelVersion)
    query = (
        select(PrecisionComparison, ModelVersion.name, ModelVersion.precision, reference.name)
        .join(ModelVersion, ModelVersion.id == PrecisionComparison.model_version_id)
        .join(reference, reference.id == PrecisionComparison.reference_id)
        .order_by(PrecisionComparison.id)
    )
    if stored_id is not None:
        query = query.where(PrecisionComparison.reference_id == stored_id)
    newest = {
        row.model_version_id: ComparisonRow(
            id=row.id,
            model=model,
            reference=name,
            precision=precision or "",
            result=row.result,
            created_at=row.created_at,
        )
        for row, model, precision, name in session.execute(query)
    }
    return list(newest.values())


COMPARED = (
    "model",
    "questions",
    "tokens",
    "KL",
    "KL 99 %",
    "unseen",
    "same top",
    "identical",
    "same tokens",
)
"""Columns of ``comparison_line``."""


def comparison_line(model: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a comparison as texts for a table."""
    return {
        "model": model,
        "questions": result["n_questions"],
        "tokens": result["n_tokens"],
        "KL": span(result["kl"], ".2g"),
        "KL 99 %": f"{result['kl_p99']:.2g}",
        "unseen": f"{result['rest']:.1%}",
        "same top": span(result["same_top"], ".1%"),
        "identical": span(result["identical"], ".0%"),
        "same tokens": f"{span(result['prefix'], '.0f')} of {result['length']:.0f}",
    }


def span(found: Mapping[str, float | None], form: str) -> str:
    """Return an estimate with its interval, e.g. ``0.012 (0.01 to 0.014)``."""
    value, low, high = found["value"], found["low"], found["high"]
    if low is None or high is None:
        return format(value, form)
    return f"{value:{form}} ({low:{form}} to {high:{form}})"
