"""The results matrix in Chromium: first paint, filter and scroll, timed inside the page.

    python -m benchmarks.matrix HOME [OUT.json] [--runs 40]

HOME holds a large store (``benchmarks.workbench --home``). First paint is from the click on the
view to the last cell in view; a filter from the key to the last cell of the rows that it leaves; a
scroll from the jump to another place of the table to the last cell there.
"""

import argparse
import os
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from benchmarks.setting import note, versions, write_result
from db.settings import settings
from db.store.migrate import open_store
from tests.browser.chromium import chromium
from tests.browser.server import app_server

OUT = Path(__file__).parent / "results" / "matrix_cpu.json"
AIM_MS = 300
WORDS = ("river", "library", "market", "island", "mountain", "theatre")
JUMP = """(root, share) => {
    const scroller = root.querySelector('.scroller');
    window.q2qBegin(root.dataset.view);
    scroller.scrollTop = share * (scroller.scrollHeight - scroller.clientHeight);
}"""
WATCH = """() => {
    const grid = () => { for (const one of document.querySelectorAll('[data-testid="stMain"] *')) {
        const found = one.shadowRoot?.querySelector('.matrix'); if (found) return found; } };
    window.q2qBegin = (view, isOther) => {
        const started = performance.now(); window.q2qTook = null;
        const look = () => {
            const root = grid();
            const is = root?.dataset.state === 'whole' && root.querySelector('.cell .text')
                && (!isOther || root.dataset.view !== view);
            if (is) window.q2qTook = performance.now() - started; else requestAnimationFrame(look);
        };
        requestAnimationFrame(() => requestAnimationFrame(look));
    };
    window.addEventListener('keydown', (event) => {
        if (event.key === 'Enter') window.q2qBegin(grid()?.dataset.view, true); }, true);
    window.addEventListener('click', () => window.q2qBegin('', false), true);
}"""
TOOK = "() => window.q2qTook"


def percentiles(milliseconds: Sequence[float]) -> dict[str, Any]:
    """Return the middle, the 95th percentile and the longest."""
    ordered = sorted(milliseconds)
    return {
        "n": len(ordered),
        "median_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[max(0, -(-95 * len(ordered) // 100) - 1)], 1),
        "max_ms": round(ordered[-1], 1),
    }


def matrix_times(home: Path, runs: int = 40) -> dict[str, Any]:
    """Return how long first paint, filter and scroll take on the store in ``home``."""
    with app_server(home) as url, chromium() as browser:
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(f"{url}/sweeps?sweep=1")
        _whole(page)
        page.get_by_text("Counting all texts").wait_for(state="detached", timeout=120_000)
        page.evaluate(WATCH)
        found = {
            "paint": percentiles([_paint(page) for _ in range(max(5, runs // 4))]),
            "filter": percentiles([_filter(page, n) for n in range(max(6, runs // 4))]),
            "scroll": percentiles(_scrolls(page, runs)),
        }
    for name, took in found.items():
        note(f"matrix, {name}: {took}")
    return found


def _whole(page: Page) -> Locator:
    grid = page.locator(".matrix[data-state=whole]")
    grid.wait_for(timeout=120_000)
    return grid


def _took(page: Page) -> float:
    """Return what the page itself measured; it is asked seldom, since asking takes its time."""
    page.wait_for_timeout(350)
    return float(page.wait_for_function(TOOK, polling=100).json_value())


def _paint(page: Page) -> float:
    page.get_by_text("Settings", exact=True).click()
    page.locator(".matrix").wait_for(state="detached")
    page.wait_for_timeout(500)
    page.get_by_text("Matrix", exact=True).click()
    return _took(page)


def _filter(page: Page, number: int) -> float:
    box = page.get_by_placeholder("Search in questions and contexts")
    box.fill(WORDS[number % len(WORDS)])
    box.press("Enter")
    took = _took(page)
    page.wait_for_timeout(300)
    return took


def _scrolls(page: Page, runs: int) -> list[float]:
    box = page.get_by_placeholder("Search in questions and contexts")
    box.fill("")
    box.press("Enter")
    page.wait_for_timeout(1500)
    grid, lot = page.locator(".matrix"), random.Random(2)
    took = []
    for _ in range(runs):
        grid.evaluate(JUMP, lot.random())
        took.append(_took(page))
    return took


def main() -> None:
    """Run the benchmark and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("home", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--runs", type=int, default=40)
    given = parser.parse_args()
    os.environ["Q2Q_HOME"] = str(given.home)
    settings.cache_clear()
    open_store(settings()).close()  # brought up to date where it is older
    load = os.getloadavg()[0]
    times = matrix_times(given.home, given.runs)
    write_result(
        given.out,
        {
            "versions": versions(),
            "aim_p95_ms": AIM_MS,
            "load_of_the_machine": round(load, 1),
            **times,
        },
    )


if __name__ == "__main__":
    main()
