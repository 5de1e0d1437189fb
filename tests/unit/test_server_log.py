"""What the log of a starting or ended vLLM tells; the lines are captured from vLLM 0.32."""

import signal
from pathlib import Path

import pytest

from serving.engine.server_log import LoadReader, LogTail, explain_exit

CPU_LOG = """\
(APIServer pid=7) INFO 11-23 08:45:20 [api_utils.py:286] non-default args: {'host': '127.0.0.1'}
(APIServer pid=7) INFO 11-23 08:45:45 [model.py:733] Resolved architecture: LlamaForCausalLM
(APIServer pid=7) INFO 11-23 08:45:45 [model.py:2152] Using max model len 4096
(EngineCore pid=8) INFO 11-23 08:46:12 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with
(Worker pid=9) INFO 11-23 08:46:43 [cpu_model_runner.py:68] Starting to load model /models/small...
Loading safetensors checkpoint shards:   0% Completed | 0/1 [00:00<?, ?it/s]
Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00,  1.58it/s]
(Worker pid=9) INFO 11-23 08:46:44 [default_loader.py:501] Loading weights took 0.65 seconds
(EngineCore pid=8) INFO 11-23 08:46:45 [kv_cache_utils.py:2327] CPU KV cache size: 93,184 tokens, M
(EngineCore pid=8) INFO 11-23 08:46:54 [core.py:402] init engine (profile, create kv cache) took 8 s
(APIServer pid=7) INFO 11-23 08:46:56 [entry.py:140] Starting vLLM server on http://127.0.0.1:57535
INFO:     Application startup complete.
"""
GPU_LOG = """\
INFO 11-23 08:46:43 [gpu_model_runner.py:5040] Starting to load model /models/large...
Loading safetensors checkpoint shards:  50% Completed | 3/6 [00:04<00:04,  1.4s/it]
INFO 11-23 08:46:59 [gpu_model_runner.py:5150] Model loading took 26.04 GiB memory and 7.1 seconds
INFO 11-23 08:47:10 [backends.py:1166] Dynamo bytecode transform time: 5.84 s
INFO 11-23 08:47:30 [backends.py:398] Compiling a graph for compile range (1, 8192) takes 18.20 s
INFO 11-23 08:47:40 [monitor.py:91] Initial profiling/warmup run took 0.40 s
INFO 11-23 08:47:41 [kv_cache_utils.py:2327] GPU KV cache size: 510,192 tokens, Maximum concurrency
Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):   0%|          | 0/51 [00:00<?, ?it/s]\r\
Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  49%|#####     | 25/51 [00:01<00:01]\r\
Capturing CUDA graphs (decode, FULL):  50%|#####     | 26/51 [00:01<00:01, 18.2it/s]
INFO 11-23 08:47:50 [gpu_model_runner.py:6582] Graph capturing finished in 6 secs, took 0.61 GiB
2026-11-23 08:47:53 - INFO - core.py:564 - flashinfer.jit: Building JIT module sampling; it can take
"""


@pytest.mark.parametrize("log", [CPU_LOG, GPU_LOG], ids=["cpu", "gpu"])
def test_loading_only_ever_moves_forward(log: str, tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text(log)
    reader = LoadReader()
    told = [progress for line in LogTail(path).new_lines() if (progress := reader.feed(line))]
    shares = [progress.share for progress in told]
    assert len(shares) >= 8
    assert shares == sorted(set(shares))
    assert 0 < shares[0] < shares[-1] < 1
    assert all(progress.message.endswith(".") for progress in told)


def test_weights_and_graphs_tell_their_percentage() -> None:
    reader = LoadReader()
    messages = [p.message for line in GPU_LOG.splitlines() if (p := reader.feed(line))]
    assert "Loading the weights: 50 %." in messages
    assert "Capturing CUDA graphs: 49 %." in messages
    assert "Capturing the last CUDA graphs: 50 %." in messages
    assert str(messages[-1]).startswith("Building FlashInfer's kernels")


def test_an_unknown_or_repeated_line_tells_nothing() -> None:
    reader = LoadReader()
    assert reader.feed("something else entirely") is None
    assert reader.feed("Starting to load model x") is not None
    assert reader.feed("Starting to load model x") is None
    assert reader.feed("Resolved architecture: Late") is None


def test_a_tail_yields_only_whole_new_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    assert list(tail.new_lines()) == []
    path.write_bytes(b"one\nhal")
    assert list(tail.new_lines()) == ["one"]
    with path.open("ab") as file:
        file.write(b"f\r  5% done\r\n\n")
    assert list(tail.new_lines()) == ["half", "  5% done"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "lower gpu_memory_utilization"),
        ("OSError: [Errno 98] Address already in use", "port is taken"),
        ("ValueError: Model architectures ['X'] are not supported for now.", "architecture"),
        ("api_server.py: error: unrecognized arguments: --nonsense 1", "--nonsense 1"),
        ("which is larger than the available KV cache memory (1 GiB)", "Lower max_model_len"),
        ("ModuleNotFoundError: No module named 'vllm'", "make setup"),
        (
            "error: argument --quantization/-q: invalid choice: 'bitsandbytes' (ch",
            "plugin for 4 bit",
        ),
    ],
)
def test_a_crash_is_explained_with_its_remedy(tmp_path: Path, line: str, sentence: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"INFO starting\n{line}\nRuntimeError: See root cause above.\n")
    assert sentence in explain_exit(1, log)


def test_an_unknown_crash_shows_its_last_error_and_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ValueError: the moon is full\nRuntimeError: See root cause above.\n")
    sentence = explain_exit(3, log)
    assert "exit code 3: the moon is full" in sentence
    assert str(log) in sentence
    assert "killed from outside" in explain_exit(-signal.SIGKILL, tmp_path / "none")
