"""Why a server ended, in one sentence with a remedy, from its exit code and its log."""

import re
import signal
from pathlib import Path

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
            "or lower gpu_memory_utilization or max_model_len in q2q.toml.",
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
    )
)
_ERROR_LINE = re.compile(r"\b(?:\w*Error|\w*Exception)\b: (?P<message>.+)$")


def explain_exit(exit_code: int | None, log: Path) -> str:
    """Return one sentence: that the server ended, why, what to do, and where its log is."""
    text = _tail(log)
    for pattern, cause in _CAUSES:
        if match := pattern.search(text):
            detail = match.groupdict().get("detail")
            return f"The model server ended: {cause}{f' ({detail.strip()})' if detail else ''}"
    if exit_code is not None and -exit_code == signal.SIGKILL:
        return (
            "The model server was killed from outside (signal 9), most often for lack of memory. "
            "Lower kv_cache_gib or max_num_seqs in q2q.toml if the machine has little."
        )
    how = "" if exit_code is None else f" with exit code {exit_code}"
    errors = [
        match
        for line in text.splitlines()
        if (match := _ERROR_LINE.search(line)) and "root cause" not in line
    ]
    said = f": {' '.join(errors[-1]['message'].split())[:200]}" if errors else ""
    return f"The model server ended{how}{said}. Its log is {log}."


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
