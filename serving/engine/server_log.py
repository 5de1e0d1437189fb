"""What a starting model server is doing, read from its log.

The lines are those of vLLM 0.32, of CPU and GPU, and those that a child of our own writes with
``report``. An unknown line changes nothing, so another version only makes the progress coarser.
"""

import json
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.errors import Q2QError
from db.messages import Message


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a server has come."""

    share: float
    """0 to 1."""
    message: str
    """What it does now, as a sentence."""


_STAGES: tuple[tuple[str, float, float, str], ...] = (
    (r"non-default args|version \d+\.\d+\.\d+", 0.05, 0.10, "Reading the model's settings."),
    (r"Resolved architecture: (?P<name>\S+)", 0.15, 0.20, "Preparing the engine."),
    (r"Initializing a V1 LLM engine", 0.25, 0.30, "Starting the engine."),
    (r"Starting to load model|Loading model from scratch", 0.35, 0.36, "Loading the weights."),
    (
        r"Loading .*(?:shards|safetensors).*?:\s+(?P<percent>\d+)% Completed",
        *(0.36, 0.60, "Loading the weights: {percent} %."),
    ),
    (r"Loading weights took|Model loading took", 0.60, 0.62, "The weights are loaded."),
    (r"Starting torch\.compile|Dynamo bytecode transform", 0.62, 0.70, "Compiling."),
    (r"Compiling a graph|Directly load the compiled graph", 0.70, 0.74, "Compiling."),
    (r"torch\.compile took|warmup run took", 0.74, 0.76, "Warming up."),
    (r"KV cache size: (?P<tokens>[\d,]+) tokens", 0.77, 0.78, "Warming up."),
    (
        r"Capturing CUDA graphs \(mixed.*?:\s+(?P<percent>\d+)%",
        *(0.78, 0.84, "Capturing CUDA graphs: {percent} %."),
    ),
    (
        r"Capturing CUDA graphs.*?:\s+(?P<percent>\d+)%",
        *(0.84, 0.90, "Capturing the last CUDA graphs: {percent} %."),
    ),
    (r"Graph capturing finished", 0.90, 0.91, "CUDA graphs are captured."),
    (
        r"Building JIT module",
        *(0.91, 0.92, "Building FlashInfer's kernels; the first start takes minutes for it."),
    ),
    (r"init engine .* took", 0.92, 0.93, "The engine is ready; opening the server."),
    (r"Starting vLLM server on", 0.96, 0.97, "Opening the server."),
    (r"Application startup complete", 0.99, 1.0, "The server answers; testing it."),
)
"""Pattern of a line, share of loading done where its stage begins and ends, and a sentence."""


_MARK = '{"q2q": '
"""Begins the lines that are ours, as in ``db.child_process``."""


def report(share: float, template: str, **values: object) -> None:
    """Write how far this process is, as a line of its log."""
    _write({"share": share, "message": Message(template, **values).store()})


def report_error(error: Q2QError) -> None:
    """Write why this process ends, as a line of its log."""
    _write({"error": error.message.store()})


def _write(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"q2q": message}) + "\n")
    sys.stdout.flush()


def reported(line: str) -> dict[str, Any]:
    """Return what a child of our own reports with ``line``; nothing where it is none of its."""
    return dict(json.loads(line)["q2q"]) if line.startswith(_MARK) else {}


class LoadReader:
    """Follows a log line by line; what it reports never goes back."""

    def __init__(self) -> None:
        self.progress = LoadProgress(0.0, "Starting vLLM.")

    def feed(self, line: str) -> LoadProgress | None:
        """Return the new progress if ``line`` tells of any."""
        if "share" in (told := reported(line)):
            self.progress = LoadProgress(
                max(told["share"], self.progress.share), Message.read(told["message"])
            )
            return self.progress
        for pattern, start, end, message in _STAGES:
            match = re.search(pattern, line)
            if match is None:
                continue
            found = match.groupdict()
            share = round(start + (end - start) * int(found.get("percent", 0)) / 100, 3)
            if share <= self.progress.share:
                return None
            self.progress = LoadProgress(share, Message(message, **found))
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


_TAIL_BYTES = 200_000
_CAUSES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), sentence)
    for pattern, sentence in (
        (
            r"address already in use|Errno 98",
            "its port is taken by another program. "
            "End that program, or set server_port = 0 in q2q.toml.",
        ),
        (
            r"CUDA out of memory|OutOfMemoryError|Free memory on device .* is less than desired",
            "the GPU has too little free memory. End other programs that use it (see nvidia-smi), "
            "or lower gpu_memory_utilization, max_num_seqs or max_model_len in q2q.toml.",
        ),
        (
            r"larger than the available KV cache|No available memory for the cache",
            "the memory left for the key/value cache holds no request of full length. "
            "Lower max_model_len, or raise kv_cache_gib (CPU) or gpu_memory_utilization (GPU) "
            "in q2q.toml.",
        ),
        (
            r"Cannot allocate memory|bad_alloc|can't allocate memory|than desired CPU memory",
            "the machine has too little free memory. "
            "End other programs, or lower kv_cache_gib or max_num_seqs in q2q.toml.",
        ),
        (
            r"No module named 'vllm'|No module named vllm",
            "vLLM is not installed in this environment. Run `make setup`.",
        ),
        (
            r"invalid choice: '?bitsandbytes|Unknown quantization method: bitsandbytes",
            "vLLM lacks its plugin for 4 bit (vllm-bnb-plugin). Run `make setup`, or set "
            "precision in q2q.toml.",
        ),
        (
            r"Failed to infer device type|no CUDA-capable device|Found no NVIDIA driver",
            'no device that vLLM can use was found. Set device = "cpu" in q2q.toml, '
            "or repair the NVIDIA driver.",
        ),
        (
            r"Model architectures? .* (?:are|is) not supported",
            "vLLM does not support this model's architecture. Serve another model.",
        ),
        (
            r"unrecognized arguments?: (?P<detail>.+)",
            "vLLM does not know an argument. Correct vllm_args in q2q.toml.",
        ),
        (
            r"SafetensorError|Error while deserializing header",
            "the model's weights are damaged. Fetch or make the model folder again.",
        ),
        (
            r"does not appear to have a file named|Invalid repository ID or local directory",
            "the model folder is not complete. Fetch or make it again.",
        ),
        (
            r"engine core exited unexpectedly",
            "one of its engines ended, most often for lack of memory, and vLLM ends the others "
            "with it. Lower max_num_seqs or gpu_memory_utilization (GPU), or kv_cache_gib (CPU), "
            "in q2q.toml if it happens again.",
        ),
    )
)
_ERROR_LINE = re.compile(r"\b(?:\w*Error|\w*Exception)\b: (?P<message>.+)$")
_WARNING = re.compile(r"\bWARNING\b")


_SHORT_OF_MEMORY = re.compile(
    r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory"
    r"|larger than the available KV cache|No available memory for the cache",
    re.IGNORECASE,
)


def ran_out_of_memory(log: Path) -> bool:
    """Tell whether a server ended for lack of GPU memory, so that a smaller one may start."""
    return _SHORT_OF_MEMORY.search(_tail(log)) is not None


def explain_exit(exit_code: int | None, log: Path) -> str:
    """Return one sentence: that the server ended, why, what to do, and where its log is."""
    text = _tail(log)
    for line in reversed(text.splitlines()):
        if "error" in (told := reported(line)):
            return Message.read(told["error"])
    for pattern, cause in _CAUSES:
        if match := pattern.search(text):
            detail = match.groupdict().get("detail")
            about = f" ({detail.strip()})" if detail else ""
            return Message("The model server ended: {cause}{detail}", cause=cause, detail=about)
    if exit_code is not None and -exit_code == signal.SIGKILL:
        return (
            "The model server was killed from outside (signal 9), most often for lack of memory. "
            "Lower kv_cache_gib or max_num_seqs in q2q.toml if the machine has little."
        )
    errors = [
        match
        for line in text.splitlines()
        if (match := _ERROR_LINE.search(line))
        and "root cause" not in line
        and not _WARNING.search(line)
    ]
    message = f": {' '.join(errors[-1]['message'].split())[:200]}" if errors else ""
    if exit_code is None:
        return Message(
            "The model server ended{message}. Its log is {log}.", message=message, log=log
        )
    return Message(
        "The model server ended with exit code {code}{message}. Its log is {log}.",
        code=exit_code,
        message=message,
        log=log,
    )


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
