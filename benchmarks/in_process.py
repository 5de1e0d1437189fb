"""vLLM in a process of its own, without a server: what HTTP and our own work are held against.

Run as a module it is that process: ``python -m benchmarks.in_process JOB.json OUT.json``.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def in_process(job: dict[str, Any], folder: Path) -> list[dict[str, float]]:
    """Return the tokens per second of ``job``, the ``n`` completions of a prompt together."""
    (folder / "job.json").write_text(json.dumps(job))
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-m", "benchmarks.in_process", folder / "job.json", folder / "out.json"],
        check=True,
        env=environment,
        stdout=sys.stderr,
    )
    results: list[dict[str, float]] = json.loads((folder / "out.json").read_text())
    return results


def main() -> None:
    """Generate in this process; write what was measured."""
    from vllm import LLM, SamplingParams

    job = json.loads(Path(sys.argv[1]).read_text())
    llm = LLM(model=job["model"], generation_config="vllm", **job["llm"])
    asked = [(ids, level["parameters"]) for level in job["asked"] for ids in level["prompts"]]
    random.Random(0).shuffle(asked)
    prompts = [{"prompt_token_ids": ids} for ids, _ in asked]
    parameters = [SamplingParams(n=job["n"], **sampling) for _, sampling in asked]
    llm.generate(prompts[:8], SamplingParams(max_tokens=8), use_tqdm=False)
    results = []
    for _ in range(job["repeats"]):
        started = time.perf_counter()
        outputs = llm.generate(prompts, parameters, use_tqdm=False)
        seconds = time.perf_counter() - started
        tokens = sum(len(o.token_ids) for request in outputs for o in request.outputs)
        rate = round(tokens / seconds, 1)
        results.append({"tokens_per_second": rate, "completion_tokens": tokens})
    Path(sys.argv[2]).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
