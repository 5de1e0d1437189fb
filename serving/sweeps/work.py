"""What travels through a run: work (one prompt, some replicates), shots of it, their outcomes."""

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from db.sweeps import QuestionText
from serving.engine.messages import Choice, SamplingParameters
from serving.formats.definitions import Task
from serving.formats.render import RenderedPrompt
from serving.sweeps.progress import Chunk
from serving.sweeps.slots import Kind
from serving.sweeps.spec import Ask, Mode

LARGEST_N = 32
"""Completions of one prompt in one request."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """An existing variant."""

    variant_id: int
    text: str


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """One prompt and the replicates of it that a sweep wants."""

    question: QuestionText
    kind: Kind
    mode: Mode
    task: Task
    format_id: int
    role_id: int
    model_id: int
    sampling: SamplingParameters
    replicates: Sequence[int]
    chunk: Chunk
    under: Reasoning | None = None
    """The reasoning that is to be answered."""
    parents: tuple[Reasoning, ...] = ()
    """The two reasonings that an ensemble starts from."""
    ask: Ask | None = None
    """What a dialogue has written beside reasonings and answers."""
    prompt: RenderedPrompt | None = None
    problem: str | None = None
    """Why no request can be made of it."""
    sampling_id: int = 0
    keys: dict[int, str] = field(default_factory=dict)
    """Slot key of each replicate."""
    attempts: dict[int, int] = field(default_factory=dict)
    """Attempts that replicates have behind them, where there are any."""


@dataclass(slots=True, eq=False)
class Shot:
    """Replicates of one work that can share a request: ``n`` completions of one prompt."""

    work: Work
    replicates: Sequence[int]
    seed: int | None
    is_alone: bool = False
    """Not to be sent together with other prompts."""

    @property
    def group_key(self) -> tuple[object, ...]:
        """Equal for shots that one request can carry."""
        work = self.work
        alone = id(self) if self.is_alone else None
        return work.model_id, work.sampling_id, len(self.replicates), self.seed, alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one slot: a choice, or an error."""

    work: Work
    replicate: int
    seed: int | None = None
    choice: Choice | None = None
    error: str | None = None
    request_id: str | None = None
    latency_ms: float | None = None
    engine_id: int | None = None
    engine_version: str | None = None


def shots_of(work: Work, *, can_n: bool, seeds_count_up: bool) -> Iterator[Shot]:
    """Yield the shots that bring ``work`` to its end.

    Args:
        work: With the replicates that are still missing.
        can_n: The server gives several completions of a prompt.
        seeds_count_up: It draws completion i of a request with seed + i, as vLLM does.
    """
    base = work.sampling.seed
    run: list[int] = []
    for replicate in work.replicates:
        contiguous = base is None or (seeds_count_up and run and replicate == run[-1] + 1)
        if run and not (can_n and contiguous and len(run) < LARGEST_N):
            yield _shot(work, run)
            run = []
        run.append(replicate)
    if run:
        yield _shot(work, run)


def _shot(work: Work, replicates: list[int]) -> Shot:
    base = work.sampling.seed
    return Shot(work, replicates, None if base is None else base + replicates[0])


class ShotQueue:
    """Shots in order of arrival, those that can share a request taken together."""

    def __init__(self) -> None:
        self._by_key: OrderedDict[tuple[object, ...], deque[Shot]] = OrderedDict()
        self.n_sequences = 0

    def put(self, shot: Shot) -> None:
        """Add ``shot`` at the end."""
        self._by_key.setdefault(shot.group_key, deque()).append(shot)
        self.n_sequences += len(shot.replicates)

    def take(self, most: int) -> list[Shot]:
        """Return at least one shot, and more of its kind up to ``most`` sequences."""
        key, shots = next(iter(self._by_key.items()))
        taken = [shots.popleft()]
        size = len(taken[0].replicates)
        while shots and (len(taken) + 1) * size <= most:
            taken.append(shots.popleft())
        if not shots:
            del self._by_key[key]
        self.n_sequences -= size * len(taken)
        return taken

    def __bool__(self) -> bool:
        return bool(self._by_key)
