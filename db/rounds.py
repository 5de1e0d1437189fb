"""Rounds by meaning: written, found, moved from step to step, decided."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import UsageError, existing
from db.identity import number_in
from db.tables import Round
from db.tables.base import as_row

RoundState = Literal["open", "waiting", "running", "done", "failed"]
Verdict = Literal["keep", "drop", "branch", "not_enough_questions"]

STEPS = ("dataset", "approval", "train", "merge", "verify", "sweep", "compare", "ended")
"""In their order; a round is at the step that is to be done next."""
ON_DEVICE = ("train", "merge", "verify")
"""The steps that have the device to themselves."""
VERDICTS: tuple[Verdict, ...] = ("keep", "drop", "branch")
"""What people decide; figures can also say that there are not enough questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """One round as it was when read."""

    id: int
    name: str
    config: dict[str, Any]
    step: str
    state: str
    parent_id: int | None
    """The round that it goes on from; None where it starts from the base."""
    starts_from_id: int
    """The model that is trained."""
    dataset_id: int | None
    training_run_id: int | None
    merged_model_version_id: int | None
    """The model that it made: merged and proved, or the adapter that is served beside its base."""
    sweep_id: int | None
    verdict: str | None
    reason: str | None
    findings: dict[str, Any] | None
    """What the figures came to, as values; None where a person gave the reason."""
    created_at: datetime


def create_round(
    session: Session,
    *,
    name: str,
    config: Mapping[str, Any],
    starts_from_id: int,
    parent_id: int | None = None,
    busy: Collection[int] = (),
) -> RoundRow:
    """Write a round that is at its first step.

    One of this name that failed before it made anything takes the new config, so that it can be
    mended, unless a job is at it: it is among ``busy``.

    Raises:
        UsageError: There is a round of this name with another config.
    """
    if (known := _by_name(session, name)) is not None:
        if known.config == dict(config):
            return as_row(RoundRow, known)
        if known.step != STEPS[0] or known.state != "failed" or known.id in busy:
            raise UsageError(
                "There is a round {name!r} with another config already; give this one another"
                " name.",
                name=name,
            )
        known.config, known.starts_from_id = dict(config), starts_from_id
        known.parent_id, known.state = parent_id, "open"
        session.flush()
        return as_row(RoundRow, known)
    made = Round(name=name, config=dict(config), starts_from_id=starts_from_id, parent_id=parent_id)
    session.add(made)
    session.flush()
    return as_row(RoundRow, made)


def is_known(session: Session, name: str, config: Mapping[str, Any]) -> bool:
    """Tell whether a round of this name and config was begun."""
    known = _by_name(session, name)
    return known is not None and known.config == dict(config)


def find_round(session: Session, reference: str | int) -> RoundRow:
    """Return the round with this name or number; a text that is both is the name.

    Raises:
        UsageError: There is none.
    """
    if isinstance(reference, int):
        return get_round(session, reference)
    text = str(reference)
    found = _by_name(session, text)
    if found is None and (number := number_in(text)) is not None:
        found = session.get(Round, number, populate_existing=True)
    missing = f"There is no round {text!r}; `q2q round list` shows them all."
    return as_row(RoundRow, existing(found, missing))


def get_round(session: Session, round_id: int) -> RoundRow:
    """Return the round with this number, whatever others are called.

    Raises:
        UsageError: There is none.
    """
    found = session.get(Round, round_id, populate_existing=True)
    missing = f"There is no round {round_id}; `q2q round list` shows them all."
    return as_row(RoundRow, existing(found, missing))


def list_rounds(session: Session) -> list[RoundRow]:
    """Return all rounds, the newest first."""
    return [
        as_row(RoundRow, one) for one in session.scalars(select(Round).order_by(Round.id.desc()))
    ]


def move_round(
    session: Session,
    round_id: int,
    *,
    step: str | None = None,
    state: RoundState | None = None,
    **products: int | str | None,
) -> RoundRow:
    """Say at which step a round is and what a step made; what is not told stays.

    Args:
        session: One that writes.
        round_id: The round.
        step: The step that is to be done next.
        state: Whether it runs, waits for a person, or ended.
        products: ``dataset_id``, ``training_run_id``, ``merged_model_version_id``, ``sweep_id``;
            ``verdict`` and ``reason`` of a round that goes on after it was rejected.
    """
    found = session.get_one(Round, round_id)
    found.step = step or found.step
    found.state = state or found.state
    for name, value in products.items():
        setattr(found, name, value)
    session.flush()
    return as_row(RoundRow, found)


def is_rejected(found: RoundRow) -> bool:
    """Tell whether a person rejected the dataset of a round, so that nothing was trained."""
    return found.step == "approval" and found.verdict == "drop"


def reject_round(session: Session, round_id: int, reason: str) -> RoundRow:
    """End a round whose dataset waits for approval; approving it later goes on with it.

    Raises:
        UsageError: It does not wait for approval, or there is no reason.
    """
    found = session.get_one(Round, round_id)
    if found.step != "approval" or found.state == "running":
        raise UsageError(
            "Round {found_name!r} is at the step {step}; it can be rejected only while its dataset"
            " waits for approval.",
            found_name=found.name,
            step=found.step,
        )
    if not reason.strip():
        raise UsageError("Say why: a rejection without its reason helps nobody later.")
    found.verdict, found.reason, found.findings = "drop", reason.strip(), None
    found.state = "done"
    session.flush()
    return as_row(RoundRow, found)


def decide_round(
    session: Session,
    round_id: int,
    verdict: Verdict,
    reason: str,
    findings: Mapping[str, Any] | None = None,
) -> RoundRow:
    """Say what becomes of a round, and why.

    Args:
        session: One that writes.
        round_id: The round.
        verdict: Keep, drop or branch; of figures also that there are not enough questions.
        reason: In words.
        findings: The same as values, where the figures speak and not a person.

    Raises:
        UsageError: It has not been compared yet, the verdict is none, or there is no reason.
    """
    found = session.get_one(Round, round_id)
    if verdict not in VERDICTS and (findings is None or verdict != "not_enough_questions"):
        raise UsageError(
            "{verdict!r} is no verdict; choose one of {verdicts}.",
            verdict=verdict,
            verdicts=", ".join(VERDICTS),
        )
    if not reason.strip():
        raise UsageError("Say why: a verdict without its reason helps nobody later.")
    if found.step not in ("compare", "ended"):
        raise UsageError(
            "Round {found_name!r} is at the step {step}; it can be decided once it has been"
            " compared.",
            found_name=found.name,
            step=found.step,
        )
    found.verdict, found.reason = verdict, reason.strip()
    found.findings = None if findings is None else dict(findings)
    session.flush()
    return as_row(RoundRow, found)


def _by_name(session: Session, name: str) -> Round | None:
    return session.scalar(
        select(Round).where(Round.name == name).execution_options(populate_existing=True)
    )
