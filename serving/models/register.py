"""Adding a model to the store: read the folder (slow, no lock held), then write one row."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.database import Database
from db.messages import Message
from db.models import ModelRow, find_model, get_model, list_models, model_by_name
from db.settings import Settings
from db.tables import ModelVersion, TensorFile
from serving.device import resolve_device
from serving.models.adapters import AdapterConfig, check_fit
from serving.models.embedded import EMBEDDED_NAME, ensure_embedded_model
from serving.models.folder import (
    FolderDigest,
    ModelFacts,
    TensorDigest,
    digest_adapter,
    digest_folder,
    inspect_folder,
)
from serving.models.hub import fetch_snapshot, is_hub_id
from serving.models.servable import note_of
from serving.models.tensor_files import ModelError

CUDA_DEFAULT = "unsloth/Phi-3-medium-4k-instruct"
EMBEDDED_NOTE = "Proves that the machine works; too small for answers of quality."
_NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")
_QUANTISED_NAME = re.compile(r"(-unsloth)?-bnb-4bit$")
"""Adapters trained in 4 bit name that build of their base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedModel:
    """What adding a model came to."""

    model: ModelRow
    is_new: bool
    """False where the same weights were known: nothing was added."""
    message: str
    """One sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A model folder that was read and found whole."""

    path: Path
    facts: ModelFacts
    weights: FolderDigest
    """Of an adapter, ``digest`` is also of the settings that act on its tensors."""
    tensors_digest: str
    """Of the tensors alone, by which adapters were known before."""
    hub_id: str | None = None
    revision: str | None = None


class StoredTensorCache:
    """Digests of tensors in the table ``tensor_file``; each call is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, path: Path, size: int, modified_ns: int) -> dict[str, TensorDigest] | None:
        """Return what was stored of this state of the file."""
        with self._database.read() as session:
            row = session.get(TensorFile, str(path))
            if row is None or (row.size_bytes, row.modified_ns) != (size, modified_ns):
                return None
            return {
                name: TensorDigest(entry["dtype"], tuple(entry["shape"]), entry["sha256"])
                for name, entry in row.tensors.items()
            }

    def put(
        self, path: Path, size: int, modified_ns: int, tensors: dict[str, TensorDigest]
    ) -> None:
        """Store the digests of this state of the file, in the place of an older one."""
        stored: dict[str, Any] = {
            name: {"dtype": t.dtype, "shape": list(t.shape), "sha256": t.sha256}
            for name, t in tensors.items()
        }
        with self._database.write() as session:
            session.merge(
                TensorFile(path=str(path), size_bytes=size, modified_ns=modified_ns, tensors=stored)
            )


def add_model(
    database: Database,
    source: str,
    *,
    name: str | None = None,
    base: str | None = None,
    note: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> AddedModel:
    """Add the model in a local folder or on the hub (``owner/name`` or ``owner/name@revision``).

    Args:
        database: The store.
        source: Folder or hub id.
        name: What it is to be called; default is the last part of ``source``.
        base: Name, id or hub id of the base that an adapter or merged folder belongs to;
            default is the one its files name.
        note: What the app says of it.
        report: Receives a line for people before each slow step.

    Raises:
        UsageError: The folder is no whole model, its base is unknown or does not fit, or the
            name is taken.
    """
    folder = read_folder(database, source, report=report)
    with database.read() as session:
        parent = _base_of(session, folder, base)
    if folder.facts.kind == "adapter" and parent is not None and parent.path is not None:
        check_fit(folder.path, Path(parent.path))
    with database.write() as session:
        return record_model(
            session, folder, name=name or default_name(source), base=parent, note=note
        )


def read_folder(
    database: Database, source: str, *, report: Callable[[str], None] = lambda _: None
) -> ModelFolder:
    """Return what ``source`` holds: fetched from the hub if need be, read and digested.

    Raises:
        ModelError: It is not to be had, or no whole model.
    """
    path = Path(source).expanduser().absolute()
    hub_id, _, revision = source.partition("@")
    if path.is_dir():
        hub_id, revision = "", ""
    elif is_hub_id(hub_id):
        report(Message("Fetching {model} from the hub, unless it is cached ...", model=hub_id))
        path = fetch_snapshot(hub_id, revision or None)
        revision = path.name
    else:
        raise ModelError(
            "{source} is neither a folder nor a hub id. Give the folder that holds config.json, "
            "or an id as owner/name.",
            source=source,
        )
    facts = inspect_folder(path)
    report(Message("Reading the weights in {folder} ...", folder=path))
    tensors = digest_folder(path, StoredTensorCache(database))
    weights = tensors
    if facts.kind == "adapter":
        identity = AdapterConfig.load(path).identity()
        weights = replace(tensors, digest=digest_adapter(tensors.digest, identity))
    return ModelFolder(
        path=path,
        facts=facts,
        weights=weights,
        tensors_digest=tensors.digest,
        hub_id=hub_id or None,
        revision=revision or None,
    )


def record_model(
    session: Session,
    folder: ModelFolder,
    *,
    name: str,
    base: ModelRow | None = None,
    note: str | None = None,
) -> AddedModel:
    """Write the row of a folder that was read; the same weights again stay one row.

    Raises:
        ModelError: The name is taken or not usable, or an adapter has no base.
    """
    facts, weights = folder.facts, folder.weights
    known = _same_weights(session, folder)
    if known is not None:
        return _found_again(session, known, folder, base)
    if _NAME.fullmatch(name) is None:
        raise ModelError(
            "{name!r} is no name for a model: use letters, digits and . _ - only.", name=name
        )
    if model_by_name(session, name) is not None:
        raise ModelError(
            "Another model is called {name} already. Give this one another name with --name.",
            name=name,
        )
    if facts.kind == "adapter" and base is None:
        raise ModelError(
            "The adapter in {folder_path} has no base. Name it with --base.",
            folder_path=folder.path,
        )
    problem = _problem(folder, base, name)
    row = ModelVersion(
        name=name,
        kind=facts.kind,
        digest=weights.digest,
        precision=facts.precision,
        base_id=base.id if base else None,
        path=str(folder.path),
        hub_id=folder.hub_id,
        revision=folder.revision,
        architecture=facts.architecture or (base.architecture if base else None),
        dtype=facts.dtype or weights.dtype.lower(),
        n_parameters=weights.n_parameters,
        size_bytes=weights.size_bytes,
        context_length=facts.context_length or (base.context_length if base else None),
        tokenizer_hash=facts.tokenizer_hash or (base.tokenizer_hash if base else None),
        bos_token_id=facts.bos_token_id if facts.tokenizer_hash or not base else base.bos_token_id,
        stop_token_ids=list(facts.stop_token_ids or (base.stop_token_ids if base else ())),
        state="unusable" if problem else "ready",
        note=problem or note,
    )
    session.add(row)
    session.flush()
    model = get_model(session, row.id)
    message = f"Added {name} (m{model.id})." + (f" {problem}" if problem else "")
    return AddedModel(model=model, is_new=True, message=message)


def ensure_default_model(database: Database, settings: Settings) -> ModelRow:
    """Return the model to serve by default, added if it is not in the store yet.

    That is the one of the settings; else the embedded model on CPU, and a 14B one from the hub
    on CUDA.

    Raises:
        Q2QError: It cannot be had.
    """
    if settings.model is None and resolve_device(settings.device) == "cpu":
        folder = ensure_embedded_model(settings.cache_dir)
        with database.read() as session:
            known = model_by_name(session, EMBEDDED_NAME)
        if known is not None and known.state == "ready" and known.path == str(folder):
            return known
        return add_model(database, str(folder), name=EMBEDDED_NAME, note=EMBEDDED_NOTE).model
    wanted = settings.model or CUDA_DEFAULT
    with database.read() as session:
        known = _known(session, wanted)
    return known or add_model(database, wanted).model


def default_name(source: str) -> str:
    """Return the name that a model gets from where it came from."""
    last = source.partition("@")[0].rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("-") or "model"


def _known(session: Session, wanted: str) -> ModelRow | None:
    """Return the usable version that ``wanted`` (a name, hub id or folder) stands for."""
    path = str(Path(wanted).expanduser().absolute())
    for model in reversed(list_models(session)):
        there = model.folder is not None
        if model.state == "ready" and there and wanted in (model.name, model.hub_id):
            return model
        if model.state == "ready" and there and model.path == path:
            return model
    return None


def _base_of(session: Session, folder: ModelFolder, base: str | None) -> ModelRow | None:
    """Return the base that a person or the folder's own files name.

    Raises:
        UsageError: A person's is unknown, or an adapter's own is.
    """
    if base is not None:
        return find_model(session, base)
    named = folder.facts.base
    if named is None:
        return None
    plain = _QUANTISED_NAME.sub("", named)
    candidates = [model for model in list_models(session) if model.kind != "adapter"]
    for model in candidates:
        if model.path is not None and Path(model.path) == Path(named).expanduser().absolute():
            return model
    for model in candidates:
        if {named, plain} & {model.name, model.hub_id} or default_name(plain) == model.name:
            return model
    if folder.facts.kind == "adapter":
        raise ModelError(
            "The adapter in {folder_path} belongs to {named}, which is not in the store. "
            "Add that base first with `q2q model add`, or name one with --base.",
            folder_path=folder.path,
            named=named,
        )
    return None


def _same_weights(session: Session, folder: ModelFolder) -> ModelVersion | None:
    """Return the row of these weights, also where it was written before settings counted."""
    by_digest = select(ModelVersion)
    known = session.scalar(by_digest.where(ModelVersion.digest == folder.weights.digest))
    if known is not None or folder.facts.kind != "adapter":
        return known
    older = session.scalar(by_digest.where(ModelVersion.digest == folder.tensors_digest))
    if older is None or older.path is None or Path(older.path) == folder.path:
        return older
    try:
        same = AdapterConfig.load(Path(older.path)).identity()
    except ModelError:
        return None
    is_gone = not Path(older.path).is_dir()
    return older if is_gone or same == AdapterConfig.load(folder.path).identity() else None


def _problem(folder: ModelFolder, base: ModelRow | None, name: str) -> str | None:
    """Return why an adapter can only be merged; None for all that can be served."""
    if folder.facts.kind != "adapter":
        return None
    base_folder = Path(base.path) if base is not None and base.path is not None else None
    return note_of(folder.path, base_folder, name)


def _found_again(
    session: Session, known: ModelVersion, folder: ModelFolder, base: ModelRow | None
) -> AddedModel:
    """Keep the one row of these weights; where its folder is gone, it takes the new place."""
    known_as = f"These weights are known as {known.name} (m{known.id})"
    message = f"{known_as}; nothing was added."
    if known.state != "ready" or known.path is None or not Path(known.path).is_dir():
        problem = _problem(folder, base, known.name)
        known.path, known.state = str(folder.path), "unusable" if problem else "ready"
        known.note = problem or (None if known.kind == "adapter" else known.note)
        as_served = update(ModelVersion).where(ModelVersion.stored_id == known.id)
        session.execute(as_served.values(state="ready", note=None))
        message = f"{known_as}. {problem}" if problem else f"{known_as}; it can be used again."
    elif known.archived_at is not None:
        message = f"{known_as}; it was archived, and is in use again."
    known.archived_at = None
    session.flush()
    return AddedModel(model=get_model(session, known.id), is_new=False, message=message)
