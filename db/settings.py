"""All that a user may set: environment ``Q2Q_*`` over ``q2q.toml`` over the defaults here."""

import difflib
import re
import tomllib
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from db.errors import UsageError


def _without_secrets(url: HttpUrl) -> HttpUrl:
    if problem := url_problem(str(url)):
        raise ValueError(problem)
    return url


ServerUrl = Annotated[HttpUrl, AfterValidator(_without_secrets)]
"""Root of an OpenAI-compatible API; user and password have no place in it."""


class ModelPrice(BaseModel):
    """What a model costs, in US dollars for a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)


class ExternalServer(BaseModel):
    """A model server that somebody else runs, reached by URL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,40}$")
    """How sweeps and pages call it."""
    url: ServerUrl
    """Root of the OpenAI-compatible API, e.g. ``http://10.0.0.5:8000/v1``."""
    api_key_env: str | None = None
    """Name of the environment variable that holds its key; the key itself is never stored."""
    tokenizer: str | None = None
    """Folder with the tokenizer of its model, where prompts are to be sent as token ids."""
    model: str | None = None
    """Name of the model whose weights it serves, in one precision; default: as it calls them.

    Servers of one model are one pool: sweeps go where there is room.
    """
    offers: dict[str, ModelPrice | None] | None = None
    """Of its models, those to be used, by their names there, each with its price; default: all."""


class Embedder(BaseModel):
    """A server of text embeddings, for telling repeated questions by meaning, not by wording."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: ServerUrl
    """Root of the OpenAI-compatible API, e.g. ``http://127.0.0.1:8001/v1``."""
    model: str
    """Its name for the model."""
    api_key_env: str | None = None
    """Name of the environment variable that holds its key; the key itself is never stored."""
    repeat_from: float = Field(default=0.85, gt=0, le=1)
    """Cosine from which two questions are the same: ``python -m benchmarks.novelty`` chooses it."""
    catches_paraphrases: bool = False
    """Whether it finds most repeats in other words; only then are branches called exhausted."""
    timeout_s: float = Field(default=10, gt=0, allow_inf_nan=False)
    """Deadline of one request; a turn goes on by wording after it."""


class Settings(BaseSettings):
    """Settings of one workbench. ``q2q doctor`` shows where each value comes from."""

    model_config = SettingsConfigDict(
        env_prefix="Q2Q_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    home: Path = Path("~/.q2q")
    """Folder of the database, models, runs and logs."""
    cache: Path = Path("~/.cache/q2q")
    """Folder of what can be made again, such as the embedded model."""
    database_url: str | None = None
    """SQLAlchemy URL; default is ``q2q.sqlite`` in ``home``. PostgreSQL: ``postgresql+psycopg://…``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model server runs; ``auto`` looks for an NVIDIA driver."""
    model: str | None = None
    """Folder, hub id or name of a model; default: embedded on CPU, Phi-3-medium on CUDA."""
    app_port: int = Field(default=8501, ge=1, le=65535)
    """Port of the page; always on 127.0.0.1."""
    server_port: int = Field(default=0, ge=0, le=65535)
    """Port of the model server; 0 takes a free one."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Sequences the server decodes together; default 64 on CPU, 256 or 1024 by memory on CUDA."""
    max_model_len: int | None = Field(default=None, ge=256)
    """Context length of the server in tokens; default: the model's, at most 4096 on CPU."""
    precision: Literal["auto", "bf16", "fp8", "nf4"] = "auto"
    """In which the weights are served; ``bf16`` is 16 bit as stored."""
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    """GPUs that share each layer; default: by the plan of the hardware, as in the next three."""
    pipeline_parallel_size: int | None = Field(default=None, ge=1)
    """GPUs, or groups of them, that hold the layers one after another."""
    data_parallel_size: int | None = Field(default=None, ge=1)
    """Engines behind the server's one URL, each with the whole model."""
    kv_cache_gib: int = Field(default=2, ge=1)
    """Memory for the key/value cache on CPU, in GiB."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """Share of GPU memory that vLLM may take; default 0.9, less where others use the GPU."""
    max_cudagraph_capture_size: int | None = Field(default=None, ge=1)
    """Largest batch with a CUDA graph; default: all sequences, or twice as many up to 512."""
    async_scheduling: bool | None = None
    """Whether vLLM plans the next step while the GPU is busy; default: where vLLM can."""
    flashinfer_sampler: bool | None = None
    """Whether FlashInfer samples (``top_p``); default: where it is installed, with nvcc."""
    ray_address: str | None = Field(default=None, min_length=1)
    """Ray cluster that serves models, e.g. ``10.0.0.1:6379``; default: this machine does."""
    ray_replicas: int = Field(default=1, ge=1)
    """Engines on the Ray cluster, each with the whole model."""
    ray_gpus: str | None = Field(default=None, min_length=1)
    """GPUs of each node, as ``serve plan --gpus`` takes them; default: as here."""
    server_start_timeout_s: float = Field(default=900, gt=0, allow_inf_nan=False)
    """How long a starting server may show no sign of life (no new log line) before it is ended."""
    vllm_args: tuple[str, ...] = ()
    """More arguments for the vLLM server, as on its command line."""
    request_timeout_s: float = Field(default=600, gt=0, allow_inf_nan=False)
    """Deadline of one completion request."""
    servers: tuple[ExternalServer, ...] = ()
    """Model servers that run elsewhere."""
    ca_file: Path | None = None
    """PEM file with certificates to believe beside the system's, for servers with their own."""
    embedder: Embedder | None = None
    """What compares the questions of dialogues; by wording alone without it."""
    formats_file: Path | None = None
    """YAML file with more prompt formats and roles; default ``formats.yaml`` in ``home``."""

    @field_validator("home", "cache", "formats_file", "database_url", "model")
    @classmethod
    def _is_something(cls, value: Path | str | None) -> Path | str | None:
        if value is not None and not str(value).strip():
            raise ValueError("is blank; leave it out, or give a value")
        return value

    @field_validator("home", "cache")
    @classmethod
    def _has_an_owner(cls, value: Path) -> Path:
        _expanded(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _keeps_what_it_gets(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(r"sqlite[^:]*:/{0,3}(:memory:)?", value.strip()):
            raise ValueError("names no file, so that nothing would be kept; name one, or leave it")
        return value

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the store."""
        from db.database import sqlite_url  # SQLAlchemy takes a while to load

        return self.database_url or sqlite_url(self.home_dir / "q2q.sqlite")

    @property
    def home_dir(self) -> Path:
        """``home`` as an absolute path."""
        return self.home.expanduser().absolute()

    @property
    def cache_dir(self) -> Path:
        """``cache`` as an absolute path."""
        return self.cache.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over the file over the defaults; the file lies in ``Q2Q_HOME``."""
        home = _expanded(Path(env_settings().get("home", "~/.q2q")))
        toml = TomlConfigSettingsSource(settings_cls, home / "q2q.toml")
        _refuse_unknown(toml.toml_data, settings_cls.model_fields)
        return init_settings, env_settings, toml


def _expanded(folder: Path) -> Path:
    """Return ``folder`` with its ``~`` replaced.

    Raises:
        UsageError: It begins with the name of a user that this machine does not have.
    """
    try:
        return folder.expanduser()
    except RuntimeError:
        raise UsageError(
            "The settings are wrong: {folder} names a home folder that this machine does not "
            "have. Correct Q2Q_HOME or Q2Q_CACHE: give a whole path.",
            folder=folder,
        ) from None


def _refuse_unknown(given: Collection[str], known: Collection[str]) -> None:
    """Refuse a file with keys that stand for nothing: a misspelt one would change nothing."""
    sentences = []
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            sentences.append(
                f"{key} is not a setting" + (f", did you mean {close[0]}" if close else "")
            )
    if sentences:
        raise UsageError(
            "q2q.toml in Q2Q_HOME: {sentences}. See docs/cli.md.", sentences="; ".join(sentences)
        )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process; read once. Tests call ``settings.cache_clear()``."""
    return Settings()


def load_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        UsageError: A value is wrong; the sentence names all that are.
    """
    try:
        return settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise UsageError(
            "The settings are wrong: {problems}. Correct the variable Q2Q_… or q2q.toml.",
            problems=problems,
        ) from None
    except SettingsError as error:
        raise UsageError(
            "The settings are wrong: {error} (lists are written as JSON, such as '[\"--flag\"]')."
            " Correct the variable Q2Q_… or q2q.toml.",
            error=error,
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError("q2q.toml in Q2Q_HOME is no TOML: {error}.", error=error) from None
    except UnicodeDecodeError:
        raise UsageError(
            "q2q.toml in Q2Q_HOME is not in UTF-8; save it in that encoding."
        ) from None
    except OSError as error:
        raise UsageError(
            "q2q.toml in Q2Q_HOME cannot be read ({error}).", error=error.strerror
        ) from None


SERVER_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


def masked(text: str) -> str:
    """Return ``text`` with ``***`` for user and password of every URL in it."""
    return _CREDENTIALS.sub("***@", text) if "@" in text else text


def check_server_name(name: str) -> None:
    """Refuse a name that a command line or a settings file could not hold.

    Raises:
        UsageError: It is empty, too long, or holds other signs.
    """
    if not SERVER_NAME.fullmatch(name):
        raise UsageError(
            "{name!r} cannot be the name of a model server; use 1 to 40 letters, digits, dots, "
            "hyphens and underscores.",
            name=name,
        )


def url_problem(url: str) -> str | None:
    """Return what is wrong with the address of a server, as the end of a sentence; None if nothing.

    Secrets do not belong into it: it is stored and shown, while keys are read from the environment.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no URL ({error})"
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        return "is no URL of a server; give one such as http://10.0.0.5:8000/v1"
    if port == 0:
        return "names port 0; give the port at which the server answers"
    if "@" in parts.netloc:
        return (
            "holds a user or a password, which would be stored and shown; leave them out and name "
            "the environment variable with the server's key (api_key_env)"
        )
    if parts.query or parts.fragment:
        return "has a part after ? or #; give the root of the API, such as http://10.0.0.5:8000/v1"
    return None


def check_server_url(url: str) -> None:
    """Refuse an address that no request can be sent to, or that holds a secret.

    Raises:
        UsageError: The sentence shows the address without its secrets.
    """
    if problem := url_problem(url):
        raise UsageError("{url!r} {problem}.", url=masked(url), problem=problem)
