"""Model versions and the servers that offer them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Archivable, Base, Created, Hash, Sentence


class ModelVersion(Archivable, Base):
    """A base model, an adapter or a merged folder, identified by a digest of its tensors.

    A remote model that cannot be digested is ``declared``: its name is believed, not verified.
    Weights that a server quantises when it loads them write other texts, and are a version of
    their own beside the stored one.
    """

    __tablename__ = "model_version"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    digest: Mapped[str | None] = mapped_column(unique=True)
    """``sha256:`` of (name, dtype, shape, bytes) of every tensor, independent of shards; followed
    by ``:`` and the precision where a server quantises them when it loads them."""
    precision: Mapped[str | None]
    """In which its weights are served, see ``db.identity.Precision``; NULL where nobody
    tells, as of a remote server."""
    stored_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    """The version whose files are loaded, of one that a server quantises; NULL for the others."""
    base_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    """The base that an adapter or merge belongs to."""
    path: Mapped[str | None]
    """Local folder."""
    hub_id: Mapped[str | None]
    revision: Mapped[str | None]
    architecture: Mapped[str | None]
    dtype: Mapped[str | None]
    n_parameters: Mapped[int | None] = mapped_column(BigInteger)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    context_length: Mapped[int | None]
    """Tokens of prompt and completion together."""
    tokenizer_hash: Mapped[Hash | None]
    """Hash of the tokenizer and its chat template; equal hashes render equal token ids."""
    bos_token_id: Mapped[int | None]
    stop_token_ids: Mapped[list[Any]] = mapped_column(default=list)
    fingerprint: Mapped[list[Any] | None]
    """How likely it finds each token of a fixed text, as the first server that offered it told;
    see ``serving.engine.equality``."""
    state: Mapped[str] = mapped_column(default="ready")
    note: Mapped[Sentence | None]
    """What the app says of it, e.g. that the embedded model proves the machine, not quality."""
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("kind IN ('base', 'adapter', 'merged', 'declared')", name="kind"),
        CheckConstraint("state IN ('ready', 'unusable', 'pruned', 'removed')", name="state"),
        CheckConstraint("(kind = 'declared') = (digest IS NULL)", name="digest_or_declared"),
        CheckConstraint("kind <> 'adapter' OR base_id IS NOT NULL", name="adapter_has_base"),
    )


class ServingLimits(Base):
    """What people set for the serving of one model, over settings and plan."""

    __tablename__ = "serving_limits"

    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), primary_key=True)
    """The version whose weights are loaded."""
    limits: Mapped[dict[str, Any]]
    """Name of a setting → value, as in ``serving.engine.plan.Limits``."""


class PrecisionComparison(Base):
    """How far a model served in another precision is from its 16-bit weights."""

    __tablename__ = "precision_comparison"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    """As it is served in that precision."""
    reference_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    """The version with 16-bit weights."""
    result: Mapped[dict[str, Any]]
    """Figures with their intervals; see ``serving.precision.compare``."""
    created_at: Mapped[Created]


class TensorFile(Base):
    """Digests of the tensors of one file, so that a large folder is read only once."""

    __tablename__ = "tensor_file"

    path: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger)
    tensors: Mapped[dict[str, Any]]
    """Name → ``{"dtype", "shape", "sha256"}``."""


class Engine(Base):
    """A model server: the workbench's own child, or one reached by URL."""

    __tablename__ = "engine"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    """``local`` is the workbench's own; those of further workers are ``local@2`` and so on."""
    kind: Mapped[str]
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("worker.id"))
    """Whose child it is."""
    url: Mapped[str | None]
    api_key_env: Mapped[str | None]
    tokenizer_path: Mapped[str | None]
    model_name: Mapped[str | None]
    """The model whose weights it serves, as a person says; None: as the server calls them."""
    offers: Mapped[dict[str, Any] | None]
    """Of its models, those that are used: name in requests → ``input`` and ``output``, its price in
    US dollars for a million tokens, where it has one. NULL: all of them, without a price."""
    state: Mapped[str] = mapped_column(default="stopped")
    wanted: Mapped[bool] = mapped_column(default=True)
    """False once a person stopped it; a worker then leaves it alone."""
    progress: Mapped[float | None]
    """Share of loading done, 0 to 1, read from the server's log."""
    message: Mapped[Sentence | None]
    """What it does now, or why it failed and what to do, in one sentence."""
    software: Mapped[str | None]
    """Name and version that it reports, e.g. ``vllm 0.32.0``."""
    capabilities: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What the probe found: ``token_ids``, ``n``, ``seed``, ``prompt_logprobs``, ``priority``."""
    load: Mapped[dict[str, Any] | None]
    """How busy it was when last looked at; see ``db.engines.EngineUse``."""
    probed_at: Mapped[datetime | None]
    updated_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("kind IN ('child', 'external')", name="kind"),
        CheckConstraint(
            "state IN ('stopped', 'starting', 'ready', 'unhealthy', 'failed')", name="state"
        ),
        CheckConstraint("(kind = 'external') = (url IS NOT NULL)", name="url_if_external"),
    )


class EngineModel(Base):
    """A model version that an engine offers now, under the name it wants in requests."""

    __tablename__ = "engine_model"

    id: Mapped[int] = mapped_column(primary_key=True)
    engine_id: Mapped[int] = mapped_column(ForeignKey("engine.id", ondelete="CASCADE"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    served_name: Mapped[str]

    __table_args__ = (UniqueConstraint("engine_id", "served_name"),)
