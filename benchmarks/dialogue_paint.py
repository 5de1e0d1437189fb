"""How long a dialogue's views take in Chromium, from the click until they are painted.

Used by ``benchmarks.dialogue_pages``. The app is warm; the clock runs in the page, from the press
to the second frame after the last part of the view is there and no script runs any more.
"""

import statistics
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.chromium import chromium
from tests.browser.server import app_server

PAINTED = {
    "talk": ".st-key-card_dialogue_question",
    "tree": ".box.current",
    "synopsis": "[class*=st-key-empty_synopsis]",
    "more": ".st-key-card_replay",
}
"""What is there once a view is drawn."""
NAMES = {"tree": "Tree", "synopsis": "Synopsis", "more": "More"}
_CLOCK = """([press, wanted]) => new Promise((done) => {
    const began = performance.now();
    press.click();
    const deep = (root, css) => root.querySelector(css)
        || [...root.querySelectorAll("*")].some((e) => e.shadowRoot && deep(e.shadowRoot, css));
    (function look() {
        const rests = document.querySelector('[data-test-script-state="notRunning"]');
        if (rests && deep(document, wanted)) {
            requestAnimationFrame(() => requestAnimationFrame(
                () => done(performance.now() - began)));
        } else {
            requestAnimationFrame(look);
        }
    })();
})"""


def paint_times(home: Path, dialogue_id: int, runs: int) -> dict[str, dict[str, float]]:
    """Return milliseconds by view: the median and the longest of ``runs`` presses."""
    found: dict[str, list[float]] = {view: [] for view in PAINTED}
    with app_server(home) as url, chromium() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
        page = context.new_page()
        for _ in range(runs + 1):  # the first round warms the app up and is not counted
            page.goto(f"{url}/dialogues?rater=Ada&lang=en")
            opening = page.locator(f".st-key-open_{dialogue_id} button")
            opening.wait_for()
            _rest(page)
            found["talk"].append(_timed(page, f".st-key-open_{dialogue_id} button", "talk"))
            for view, name in NAMES.items():
                _rest(page)
                found[view].append(_timed(page, f'[role=radio]:has-text("{name}")', view))
    return {
        view: {"median_ms": round(statistics.median(times[1:])), "max_ms": round(max(times[1:]))}
        for view, times in found.items()
    }


def _rest(page: Page) -> None:
    page.locator('[data-test-script-state="notRunning"]').wait_for(state="attached")
    page.wait_for_timeout(300)


def _timed(page: Page, press: str, view: str) -> float:
    handle = page.locator(press).first.element_handle()
    elapsed: float = page.evaluate(_CLOCK, [handle, PAINTED[view]])
    return elapsed
