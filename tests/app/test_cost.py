"""What the app must not cost: no torch in its process, no slow page on a large store."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.app.conftest import OpenApp

ROOT = Path(__file__).resolve().parents[2]
BUDGET_S = 0.3


def test_the_app_process_loads_no_torch_and_no_transformers() -> None:
    modules = [
        "workbench.ui." + path.stem
        for path in sorted((ROOT / "workbench" / "ui").glob("*.py"))
        if path.stem != "__init__"
    ]
    program = f"import sys, {', '.join(modules)}\nprint(*sorted(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert not loaded & {"torch", "transformers", "vllm", "unsloth"}


@pytest.mark.parametrize(
    ("page", "parameters"),
    [
        ("home", {}),
        ("questions", {}),
        ("questions", {"find": "電話"}),
        ("questions", {"question": "1"}),
        ("sweeps", {}),
        ("sweeps", {"sweep": "1"}),
        ("sweeps", {"sweep": "1", "view": "table", "check": "cut_off"}),
    ],
    ids=str,
)
def test_a_page_runs_in_time_with_100000_generations_stored(
    open_large: OpenApp, page: str, parameters: dict[str, str]
) -> None:
    app = open_large(page, **parameters)
    times = []
    for _ in range(5):
        start = time.process_time()
        app.run()
        times.append(time.process_time() - start)
    assert min(times) < BUDGET_S
