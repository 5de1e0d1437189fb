"""What a page costs: the script of each page of the app on a store with 100,000 generations.

    python -m benchmarks.page_scripts [OUT.json] [--generations 100000] [--runs 9]

Each page is opened once, which fills the caches of the process as a first visit does, and then run
again as every press does. CPU time is that of this process, which runs nothing else; on a machine
that others use too, it says more than wall time; but that of a first visit holds what is counted
beside the page, for which the page does not wait. The aim is under 300 ms for a page.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from benchmarks.setting import note, versions, write_result
from db.settings import settings
from db.store.migrate import open_store
from tests.app.seed import seed_bulk, seed_store
from tests.store_rows import wait_for_counts

OUT = Path(__file__).parent / "results" / "page_scripts_cpu.json"
APP = Path(__file__).resolve().parents[1] / "workbench" / "app.py"
AIM_MS = 300
TIMEOUT_S = 120
N_COPIES = 10
"""Copies of the eight seeded questions, each with its own reasonings."""

PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "home": ("home", {}),
    "questions": ("questions", {}),
    "questions, searched": ("questions", {"find": "電話"}),
    "questions, filtered": ("questions", {"role": "creator", "results": "yes"}),
    "one question": ("questions", {"question": "1"}),
    "import": ("questions", {"import": "1"}),
    "sweeps": ("sweeps", {}),
    "results side by side": ("sweeps", {"sweep": "1", "at": "3"}),
    "results as a table": ("sweeps", {"sweep": "1", "view": "table"}),
    "results as a table, last page": ("sweeps", {"sweep": "1", "view": "table", "page": "200"}),
    "results with a finding": ("sweeps", {"sweep": "1", "view": "table", "check": "cut_off"}),
    "results searched": ("sweeps", {"sweep": "1", "view": "table", "find": "starch"}),
    "figures": ("sweeps", {"sweep": "1", "view": "figures"}),
    "new sweep": ("sweeps", {"new": "1"}),
    "explore": ("explore", {}),
    "explore, last page": ("explore", {"page": "4"}),
    "explore, one finding": ("explore", {"check": "cut_off"}),
    "explore, many filters": (
        "explore",
        {"sweep": "1", "model": "1", "role": "assistant", "finish": "length", "rating": "unrated"},
    ),
    "explore, found nothing": ("explore", {"rating": "liked", "tag": "kitchen"}),
    "explore, a question": ("explore", {"id": "q1"}),
    "explore, a reasoning": ("explore", {"id": "v1"}),
    "explore, an answer": ("explore", {"id": "a1"}),
    "explore, a model": ("explore", {"id": "m1"}),
    "explore, side by side": ("explore", {"id": "v1", "with": "v2"}),
}


def fill(home: Path, generations: int) -> None:
    """Make ``home`` the one of the settings, with a store of ``generations`` and a few more."""
    os.environ["Q2Q_HOME"] = str(home)
    settings.cache_clear()
    store = open_store(settings())
    seed_bulk(store, seed_store(store, copies=N_COPIES), generations)
    store.close()


def page_times(page: str, parameters: dict[str, str], runs: int) -> dict[str, Any]:
    """Return milliseconds of CPU and of wall time for the script of one page."""
    app = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S)
    app.run()
    if page != "home":
        app.switch_page(f"ui/{page}/page.py")
    for name, value in parameters.items():
        app.query_params[name] = value
    first = _run(app)
    wait_for_counts()
    again = [_run(app) for _ in range(runs)]
    cpu, wall = zip(*again, strict=True)
    return {
        "runs": runs,
        "cpu_ms": {"median": round(statistics.median(cpu)), "max": round(max(cpu))},
        "wall_ms": {"median": round(statistics.median(wall)), "max": round(max(wall))},
        "first_visit_cpu_ms": round(first[0]),
        "first_visit_wall_ms": round(first[1]),
    }


def _run(app: AppTest) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    app.run()
    times = (time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000
    if app.exception:
        raise RuntimeError(f"The page failed: {app.exception[0].value}")
    return times


def main() -> None:
    """Run the benchmark and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--generations", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp())
    try:
        note(f"writing {options.generations:,} generations")
        fill(home, options.generations)
        pages = {}
        for name, (page, parameters) in PAGES.items():
            pages[name] = page_times(page, parameters, options.runs)
            found = pages[name]
            note(f"{name}: {found['cpu_ms']['median']} ms of CPU, at most {found['cpu_ms']['max']}")
    finally:
        shutil.rmtree(home)
    write_result(
        options.out,
        {
            "versions": {**versions(), "streamlit": version("streamlit")},
            "generations": options.generations,
            "aim_ms": AIM_MS,
            "pages": pages,
        },
    )


if __name__ == "__main__":
    main()
