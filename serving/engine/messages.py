"""What is said to and heard from a model server, free of any transport."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from db.errors import Q2QError
from db.input_text import Number

MAX_SEED = 2**63 - 1
MAX_TOKENS = 1_000_000
"""More than any model's context, and than any vocabulary (for ``top_k``)."""
NEUTRAL: Final[Mapping[str, float]] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}
"""The value of each parameter that changes nothing: what a server does that does not know it."""


class SamplingParameters(BaseModel):
    """How tokens are drawn. Equal sets draw from the same distribution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Number = Field(default=0.8, ge=0, le=10)
    """0 always takes the likeliest token; 1 is the model's own distribution."""
    top_p: Number = Field(default=0.95, gt=0, le=1)
    """Draw from the likeliest tokens that together hold this probability."""
    top_k: StrictInt = Field(default=0, ge=0, le=MAX_TOKENS)
    """Draw from this many likeliest tokens; 0 is no limit."""
    min_p: Number = Field(default=0.0, ge=0, le=1)
    """Leave out tokens less likely than this share of the likeliest one's probability."""
    max_tokens: StrictInt = Field(default=512, ge=1, le=MAX_TOKENS)
    """Most tokens of one completion."""
    presence_penalty: Number = Field(default=0.0, ge=-2, le=2)
    """Subtracted from the score of every token that the completion holds already."""
    frequency_penalty: Number = Field(default=0.0, ge=-2, le=2)
    """The same, once for each time the token occurs."""
    repetition_penalty: Number = Field(default=1.0, gt=0, le=10)
    """Divides the scores of tokens in prompt and completion; 1 is off."""
    seed: StrictInt | None = Field(default=None, ge=0, le=MAX_SEED)
    """None (the default) lets the server draw; a seed slows sampling down."""

    def resolved(self) -> dict[str, float | int | None]:
        """Return every parameter with its value, as stored and as sent."""
        return self.model_dump()


Prompt = Sequence[int] | str
"""Token ids, or text where a server takes no ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a server was seen to do; see ``serving.engine.probe``."""

    token_ids: bool = True
    """Takes prompts as token ids."""
    n: bool = True
    """Gives several completions of one prompt in one request."""
    prompt_list: bool = True
    """Takes several prompts in one request."""
    seed: bool = True
    prompt_logprobs: bool = True
    priority: bool = True
    """Serves requests with a lower ``priority`` number first."""
    return_token_ids: bool = True
    """Tells the token ids, and so the length, of each completion of a grouped request."""
    metrics: bool = True
    """Reports its load under ``/metrics``."""
    completions: bool = True
    """Takes rendered prompts, at ``/completions``; False: messages only."""
    chat: bool = False
    """Takes messages, at ``/chat/completions``, and puts them into a template of its own."""
    system_messages: bool = True
    """Of messages, the model reads that of the system; some templates drop it without a word."""
    max_tokens_field: str = "max_tokens"
    """How it calls the limit of a chat completion; newer models of OpenAI have another name."""
    refused_fields: tuple[str, ...] = ()
    """Fields of a request that it answers with an error; they are never sent."""
    refused_neutral: tuple[str, ...] = ()
    """Fields that it refuses at the value that changes nothing (``top_k`` 0); left out then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a server answers, and what it can do."""

    url: str
    """Root of the OpenAI-compatible API, e.g. ``http://127.0.0.1:8000/v1``."""
    api_key: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """PEM file with certificates that are believed beside the system's."""
    software: str | None = None
    """Name and version, e.g. ``vllm 0.32.0``."""
    capabilities: Capabilities = Capabilities()

    @property
    def api(self) -> str:
        """``url`` without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def root(self) -> str:
        """Root of the server, where ``/health`` and ``/metrics`` are."""
        return self.api.removesuffix("/v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """One request: ``n`` completions of each prompt; a ``ChatPrompt`` stands alone in it."""

    model: str
    """The name the server knows the model by."""
    prompts: Sequence[Prompt]
    sampling: SamplingParameters
    n: int = 1
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    priority: int = 0
    """Lower is served first; only with servers that can."""
    request_id: str | None = None
    seed: int | None = None
    """Seed of this request; default is that of ``sampling``."""
    json_schema: str | None = None
    """JSON of the schema that completions must keep; only for servers of vLLM's kind."""
    scores_prompt: bool = False
    """Also ask how likely each token of the prompt is; only with servers that can, and with ids."""
    prompt_alternatives: int = 0
    """With ``scores_prompt``: also the so many likeliest tokens at each place."""

    @property
    def n_choices(self) -> int:
        """Completions that a whole answer holds."""
        return len(self.prompts) * self.n


@dataclass(slots=True, kw_only=True)
class Choice:
    """One completion."""

    prompt_index: int
    choice_index: int
    """Place among the completions of its prompt, from 0."""
    text: str
    finish_reason: str | None
    """``stop`` or ``length``; any other is as the server gave it, e.g. ``content_filter``."""
    stop_reason: str | int | None
    """The stop string or stop token id that ended it; None for the model's own end token."""
    completion_tokens: int | None
    """None where the server does not tell."""
    prompt_tokens: int | None
    prompt_log_probs: tuple[float | None, ...] | None = None
    """Natural logarithms, one for each token of the prompt given those before it; None for the
    first one, and for all where they were not asked for or are not usable."""
    prompt_alternatives: tuple[dict[int, float], ...] | None = None
    """At each place of the prompt after the first: token id → natural logarithm, of the token that
    stands there and of the likeliest; None where they were not asked for or are not usable."""
    prompt_problem: str | None = None
    """What is wrong with the prompt that it answers: the server cut it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a server counts, all prompts and completions of a request together."""

    prompt_tokens: int
    completion_tokens: int
    """With those of a reasoning that it counts apart."""

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float

    def cost(self, usage: Usage) -> float:
        """Return what ``usage`` costs, in US dollars."""
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)
"""Of servers of one's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingChoice:
    """A completion that was asked for and did not come; the others of its request did."""

    prompt_index: int
    choice_index: int
    error: str


@dataclass(slots=True, kw_only=True)
class CompletionResult:
    """The answer to one request. ``choices`` and ``missing`` together are ``prompts × n``."""

    choices: tuple[Choice, ...]
    """Ordered by prompt, then by place."""
    missing: tuple[MissingChoice, ...]
    latency_ms: float
    """From sending the attempt that succeeded to its answer."""
    server_version: str | None
    request_id: str | None
    """As sent: an attempt after the first has a suffix."""
    attempts: int
    usage: Usage | None = None
    """None where the server does not tell."""
    cut_some_prompt: bool = False
    """It read less than was sent, and does not tell of which of its prompts: send each alone."""

    @property
    def about_tokens(self) -> int:
        """Tokens of all texts; about so many where the server does not tell."""
        return sum(
            1 + len(one.text) // 4 if one.completion_tokens is None else one.completion_tokens
            for one in self.choices
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreLoad:
    """How busy one of the engines behind a URL is; vLLM calls it an engine core."""

    engine: int
    """Its number, from 0."""
    running: int
    waiting: int
    kv_cache_usage: float
    """0 to 1."""
    generated_tokens: int
    """Since it started."""
    node: str | None = None
    """Address of its machine, where a server's engines are on several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """How busy a server is, all its engines together."""

    running: int
    waiting: int
    kv_cache_usage: float
    """0 to 1; of the fullest engine."""
    cores: tuple[CoreLoad, ...] = ()
    """Each engine for itself, by number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedModel:
    """A model that a server offers."""

    name: str
    context_length: int | None
    base: str | None = None
    """Name of the base model, for an adapter."""


class EngineError(Q2QError):
    """Something between the workbench and a model server went wrong."""

    answered: str | None = None
    """What the server said in its own words; None where it gave no answer."""


class EngineUnavailable(EngineError):
    """The server cannot start, or nothing answers at its address. Other requests would fail too."""


class OutOfMemory(EngineUnavailable):
    """A starting server had too little memory on a GPU; with a smaller plan it may start."""


class ServerMisconfigured(EngineUnavailable):
    """The way to the server is set up wrongly (certificate, proxy): it is not tried again."""


class RequestRefused(EngineError):
    """The server declines this request, e.g. because it is too long; it is never sent again."""

    def __init__(self, template: str, /, *, status: int, **values: object) -> None:
        super().__init__(template, **values, status=status)
        self.status = status

    @property
    def would_meet_all(self) -> bool:
        """Whether every request would: a wrong key, a model that is gone, a redirect, a proxy."""
        return self.status in (401, 403, 404, 407) or 300 <= self.status < 400


class RequestFailed(EngineError):
    """A stall, a dropped connection, a 5xx or garbage, still so after all retries."""


class Busy(RequestFailed):
    """429 or 503; the server may have said when to come back."""

    def __init__(
        self,
        template: str,
        /,
        *,
        retry_after_s: float | None,
        is_rate_limit: bool = False,
        **values: object,
    ) -> None:
        super().__init__(template, **values)
        self.retry_after_s = retry_after_s
        self.is_rate_limit = is_rate_limit
        """It counts requests or tokens: the request is good, and is sent again once it may be."""


class ServerGaveUp(EngineError):
    """Its credit is used up, or its limits let nothing through: what is left waits for people."""
