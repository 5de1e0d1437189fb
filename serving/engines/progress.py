"""What a starting vLLM server is doing, read from its log.

The lines are those of vLLM 0.32, of CPU and GPU. An unknown line changes nothing, so another
version only makes the progress coarser.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a server has come."""

    share: float
    """0 to 1."""
    message: str
    """What it does now, as a sentence."""


@dataclass(frozen=True, slots=True)
class _Stage:
    pattern: re.Pattern[str]
    start: float
    end: float
    message: str
    done: Callable[[re.Match[str]], float] | None = None
    """Share of the stage that a match tells; None: the stage begins."""


def _percent(match: re.Match[str]) -> float:
    return int(match.group("percent")) / 100


def _stage(
    pattern: str,
    start: float,
    end: float,
    message: str,
    done: Callable[[re.Match[str]], float] | None = None,
) -> _Stage:
    return _Stage(re.compile(pattern), start, end, message, done)


_STAGES = (
    _stage(r"non-default args|version \d+\.\d+\.\d+", 0.05, 0.10, "Reading the model's settings."),
    _stage(r"Resolved architecture: (?P<name>\S+)", 0.15, 0.20, "Preparing the engine."),
    _stage(r"Initializing a V1 LLM engine", 0.25, 0.30, "Starting the engine."),
    _stage(
        r"Starting to load model|Loading model from scratch", 0.35, 0.36, "Loading the weights."
    ),
    _stage(
        r"Loading .*(?:shards|safetensors).*?:\s+(?P<percent>\d+)% Completed",
        0.36,
        0.60,
        "Loading the weights: {percent} %.",
        _percent,
    ),
    _stage(r"Loading weights took|Model loading took", 0.60, 0.62, "The weights are loaded."),
    _stage(r"Starting torch\.compile|Dynamo bytecode transform", 0.62, 0.70, "Compiling."),
    _stage(r"Compiling a graph|Directly load the compiled graph", 0.70, 0.74, "Compiling."),
    _stage(r"torch\.compile took|warmup run took", 0.74, 0.76, "Warming up."),
    _stage(r"KV cache size: (?P<tokens>[\d,]+) tokens", 0.77, 0.78, "Warming up."),
    _stage(
        r"Capturing CUDA graphs \(mixed.*?:\s+(?P<percent>\d+)%",
        0.78,
        0.84,
        "Capturing CUDA graphs: {percent} %.",
        _percent,
    ),
    _stage(
        r"Capturing CUDA graphs.*?:\s+(?P<percent>\d+)%",
        0.84,
        0.90,
        "Capturing the last CUDA graphs: {percent} %.",
        _percent,
    ),
    _stage(r"Graph capturing finished", 0.90, 0.91, "CUDA graphs are captured."),
    _stage(r"init engine .* took", 0.92, 0.93, "The engine is ready; opening the server."),
    _stage(r"Starting vLLM server on", 0.96, 0.97, "Opening the server."),
    _stage(r"Application startup complete", 0.99, 1.0, "The server answers; testing it."),
)


class LoadReader:
    """Follows a log line by line; what it reports never goes back."""

    def __init__(self) -> None:
        self.progress = LoadProgress(0.0, "Starting vLLM.")

    def feed(self, line: str) -> LoadProgress | None:
        """Return the new progress if ``line`` tells of any."""
        for stage in _STAGES:
            match = stage.pattern.search(line)
            if match is None:
                continue
            done = stage.done(match) if stage.done else 0.0
            share = round(stage.start + (stage.end - stage.start) * done, 3)
            if share <= self.progress.share:
                return None
            self.progress = LoadProgress(share, stage.message.format(**match.groupdict()))
            return self.progress
        return None


class LogTail:
    """Reads what was added to a log file since last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = ""

    def new_lines(self) -> Iterator[str]:
        """Yield complete new lines; a progress bar's carriage return ends one too."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            return
        self._offset += len(added)
        *lines, self._rest = re.split(
            r"[\r\n]+", self._rest + added.decode("utf-8", errors="replace")
        )
        yield from (line for line in lines if line.strip())
