"""Model versions by meaning: which there are, what one is, how it was merged and proved."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, object_session

from db.errors import existing
from db.identity import AS_STORED, Precision, number_in
from db.messages import Message
from db.tables import MergeProof, ModelVersion, ProofCheck, ServingLimits
from db.tables.base import as_row


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model version; safe to use after the session is closed."""

    id: int
    name: str
    kind: str
    digest: str | None
    precision: Precision | None
    """In which its weights are served; None where a remote server does not tell."""
    stored_id: int | None
    """The version whose files are loaded, of one that a server quantises."""
    base_id: int | None
    path: str | None
    hub_id: str | None
    revision: str | None
    architecture: str | None
    dtype: str | None
    n_parameters: int | None
    size_bytes: int | None
    context_length: int | None
    tokenizer_hash: str | None
    bos_token_id: int | None
    stop_token_ids: tuple[int, ...]
    state: str
    note: str | None
    archived_at: datetime | None
    created_at: datetime

    @property
    def folder(self) -> Path | None:
        """Its folder; None where it has none on this machine, or none any more."""
        found = None if self.path is None else Path(self.path)
        return found if found is not None and found.is_dir() else None

    @property
    def family_id(self) -> int:
        """The version whose weights a server must load for it: an adapter's base, or itself."""
        return self.base_id if self.kind == "adapter" and self.base_id is not None else self.id


def list_models(
    session: Session,
    *,
    with_removed: bool = False,
    with_served: bool = False,
    archived: bool | None = False,
) -> list[ModelRow]:
    """Return the model versions, oldest first.

    Args:
        session: One that reads.
        with_removed: Also those that are removed, pruned or archived.
        with_served: Also those that a server made of stored ones, quantising them.
        archived: Those in use, those archived (True), or both (None).
    """
    query = select(ModelVersion).order_by(ModelVersion.id)
    if not with_served:
        query = query.where(ModelVersion.stored_id.is_(None))
    rows = [_row(model) for model in session.scalars(query)]
    if with_removed:
        return rows
    if archived is not None:  # of what is served of a stored one, that is asked
        rows = [one for one in rows if (one.archived_at is not None) is archived]
    return [one for one in rows if archived or one.state not in ("removed", "pruned")]


def get_model(session: Session, model_version_id: int) -> ModelRow:
    """Return one model version.

    Raises:
        UsageError: There is none with this id.
    """
    missing = f"There is no model m{model_version_id}; `q2q model list` shows them all."
    return _row(existing(session.get(ModelVersion, model_version_id), missing))


def model_by_name(session: Session, name: str) -> ModelRow | None:
    """Return the model version called ``name``; None if there is none."""
    model = session.scalar(select(ModelVersion).where(ModelVersion.name == name))
    return _row(model) if model is not None else None


def find_model(session: Session, reference: str) -> ModelRow:
    """Return the model version that a person means: its name, its id as ``m3``, or its hub id.

    Raises:
        UsageError: Nothing fits.
    """
    found = model_by_name(session, reference)
    if found is None and (number := number_in(reference, "m")) is not None:
        return get_model(session, number)
    if found is None:
        by_hub = session.scalars(
            select(ModelVersion).where(ModelVersion.hub_id == reference).order_by(ModelVersion.id)
        ).all()
        found = _row(by_hub[-1]) if by_hub else None
    return existing(
        found,
        "There is no model {reference!r}; `q2q model list` shows them all.",
        reference=reference,
    )


def declare_model(
    session: Session,
    served_name: str,
    engine_name: str,
    *,
    context_length: int | None,
    tokenizer_hash: str | None,
    precision: Precision | None = None,
    equal_to: str | None = None,
) -> ModelRow:
    """Return the version of a model that a remote server offers, writing it on first sight.

    Such a version is ``declared``: its name is believed, its weights are not verified. Servers that
    offer one name in one precision are taken as replicas of one version. Where a verified version
    bears the name, the declared one is called ``name@engine``, unless a person says that it is
    ``equal_to`` just that one.
    """
    if precision not in (None, AS_STORED) and equal_to is None:
        served_name = f"{served_name}@{precision}"
    name = equal_to or served_name
    known = session.scalar(select(ModelVersion).where(ModelVersion.name == name))
    if known is not None and known.kind != "declared":
        if equal_to is not None:
            return _row(known)
        name = f"{served_name}@{engine_name}"
        known = session.scalar(select(ModelVersion).where(ModelVersion.name == name))
    if known is None:
        known = ModelVersion(
            name=name,
            kind="declared",
            precision=precision,
            note=Message(
                "Offered by the server {server}; its weights are not verified.", server=engine_name
            ),
        )
        session.add(known)
    known.state = "ready"
    known.precision = precision
    known.context_length = context_length or known.context_length
    known.tokenizer_hash = tokenizer_hash or known.tokenizer_hash
    session.flush()
    return _row(known)


def note_fingerprint(
    session: Session, model_version_id: int, fingerprint: Sequence[float]
) -> tuple[float, ...]:
    """Return the fingerprint of a version: the stored one, or ``fingerprint``, which then is."""
    model = session.get_one(ModelVersion, model_version_id)
    if not model.fingerprint and fingerprint:
        model.fingerprint = list(fingerprint)
    return tuple(model.fingerprint or ())


def mark_unserved(session: Session, model_version_id: int, note: str) -> None:
    """Say that no server can offer a version, and why; what it wrote stays."""
    model = session.get_one(ModelVersion, model_version_id)
    model.state, model.note = "unusable", note


def _row(model: ModelVersion) -> ModelRow:
    """Return a row; where it is quantised from a stored one, that has the files and the state."""
    row = as_row(ModelRow, model, stop_token_ids=tuple(model.stop_token_ids))
    session = object_session(model)
    if model.stored_id is None or session is None:
        return row
    stored = session.get_one(ModelVersion, model.stored_id)
    row = replace(
        row,
        path=stored.path,
        hub_id=stored.hub_id,
        revision=stored.revision,
        archived_at=row.archived_at or stored.archived_at,
    )
    gone = model.state == "ready" and stored.state != "ready"
    return replace(row, state=stored.state, note=stored.note) if gone else row


OTHER_WEIGHTS = "Its folder holds other weights now; `q2q merge` makes its own again."
NOT_PROVED = "Merged, and not proved yet: `q2q model verify` does that."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One check of a proof."""

    name: str
    passed: bool
    measured: float | None = None
    tolerance: float | None = None
    detail: str | None = None
    """What was found, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """One proof of a merge, with its checks by name."""

    id: int
    model_version_id: int
    adapter_model_version_id: int
    passed: bool
    created_at: datetime
    checks: tuple[CheckRow, ...]

    @property
    def failure(self) -> str:
        """Why it failed, in a sentence for each check."""
        return " ".join(check.detail or check.name for check in self.checks if not check.passed)


OF_BASE = (
    "architecture", "dtype", "n_parameters", "size_bytes", "context_length", "tokenizer_hash",
    "bos_token_id",
)  # fmt: skip
"""What a merge has in common with its base, and a version as served with the stored one."""


def record_merge(
    session: Session, adapter: ModelRow, base: ModelRow, *, name: str, digest: str, path: str
) -> ModelRow:
    """Write a merged folder as a model version that is unusable until it is proved.

    The same weights again, rebuilt after a prune for example, stay one row. Other weights of the
    same name, merged on another device for example, get a name of their own.
    """
    row = session.scalar(select(ModelVersion).where(ModelVersion.digest == digest))
    if row is None:
        row = ModelVersion(
            name=free_name(session, name),
            kind="merged",
            digest=digest,
            precision=AS_STORED,
            base_id=base.id,
            stop_token_ids=list(base.stop_token_ids),
            **{name: getattr(base, name) for name in OF_BASE},
        )
        session.add(row)
        session.flush()
    for other in session.scalars(
        select(ModelVersion).where(ModelVersion.path == path, ModelVersion.id != row.id)
    ):
        other.path = None
        if other.state in ("ready", "unusable"):
            other.state, other.note = "pruned", OTHER_WEIGHTS
    row.path, row.state, row.note = path, "unusable", NOT_PROVED
    session.flush()
    if not adapter_of(session, row.id):
        session.add(
            MergeProof(model_version_id=row.id, adapter_model_version_id=adapter.id, passed=False)
        )
        session.flush()
    return get_model(session, row.id)


def free_name(session: Session, name: str) -> str:
    """Return ``name``, or with a number after it where that is taken."""
    taken = set(
        session.scalars(select(ModelVersion.name).where(ModelVersion.name.startswith(name)))
    )
    later = (f"{name}-{n}" for n in range(2, len(taken) + 3))
    return name if name not in taken else next(one for one in later if one not in taken)


def merges_of(session: Session, adapter_id: int) -> list[ModelRow]:
    """Return the merged models of an adapter, the newest first, pruned ones too."""
    ids = select(MergeProof.model_version_id).where(
        MergeProof.adapter_model_version_id == adapter_id
    )
    found = session.scalars(
        select(ModelVersion.id)
        .where(ModelVersion.id.in_(ids), ModelVersion.state != "removed")
        .order_by(ModelVersion.id.desc())
    )
    return [get_model(session, model_id) for model_id in found]


def adapter_of(session: Session, model_version_id: int) -> int | None:
    """Return the adapter that was merged into a model version; None where nobody knows."""
    return session.scalar(
        select(MergeProof.adapter_model_version_id)
        .where(MergeProof.model_version_id == model_version_id)
        .order_by(MergeProof.id.desc())
        .limit(1)
    )


def save_proof(
    session: Session, model_version_id: int, adapter_id: int, checks: Sequence[CheckRow]
) -> ProofRow:
    """Write a proof and make its model ready, or unusable with the reason."""
    failed = [check for check in checks if not check.passed]
    proof = MergeProof(
        model_version_id=model_version_id,
        adapter_model_version_id=adapter_id,
        passed=not failed,
    )
    session.add(proof)
    session.flush()
    session.add_all(ProofCheck(proof_id=proof.id, **asdict(check)) for check in checks)
    model = session.get_one(ModelVersion, model_version_id)
    model.state = "unusable" if failed else "ready"
    model.note = f"Not usable: {failed[0].detail}" if failed else None
    session.flush()
    found = proof_of(session, model_version_id)
    assert found is not None
    return found


def proof_of(session: Session, model_version_id: int) -> ProofRow | None:
    """Return the newest proof of a model; None where it was never checked."""
    proof = session.scalar(
        select(MergeProof)
        .where(
            MergeProof.model_version_id == model_version_id,
            select(ProofCheck.name).where(ProofCheck.proof_id == MergeProof.id).exists(),
        )
        .order_by(MergeProof.id.desc())
        .limit(1)
    )
    if proof is None:
        return None
    checks = session.scalars(select(ProofCheck).where(ProofCheck.proof_id == proof.id))
    return as_row(ProofRow, proof, checks=tuple(as_row(CheckRow, check) for check in checks))


def mark_pruned(session: Session, model_version_id: int) -> None:
    """Say that the weights of a merge were dropped; adapter and proof stay."""
    model = session.get_one(ModelVersion, model_version_id)
    model.state = "pruned"
    model.note = "Its weights were dropped to free the disk; `q2q merge` makes them again."


def limits_of(session: Session, model: ModelRow) -> dict[str, Any]:
    """Return what people set for the serving of the weights of ``model``, in any precision."""
    row = session.get(ServingLimits, _weights_id(session, model))
    return {} if row is None else dict(row.limits)


def set_limits(session: Session, model: ModelRow, limits: Mapping[str, Any]) -> None:
    """Keep ``limits`` for a model in the place of those before; an empty mapping takes all away."""
    weights_id = _weights_id(session, model)
    row = session.get(ServingLimits, weights_id)
    if row is not None:
        row.limits = dict(limits)
    elif limits:
        session.add(ServingLimits(model_version_id=weights_id, limits=dict(limits)))


def _weights_id(session: Session, model: ModelRow) -> int:
    base = get_model(session, model.family_id)
    return base.stored_id or base.id
