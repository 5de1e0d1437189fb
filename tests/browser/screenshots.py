"""Pictures of every page, wide and narrow, light and dark, in both languages.

Run: ``python -m tests.browser.screenshots FOLDER``. The pictures of the guide show real texts:
``--guide HOME`` takes them of the store in HOME, after its first sweep.
"""

import argparse
import os
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page

from db.migrate import open_store
from db.settings import settings
from tests.app.seed import seed_running_job, seed_store
from tests.app.seed_rounds import seed_round
from tests.browser.chromium import chromium
from tests.browser.server import app_server

PAGES = {
    "home": "",
    "questions": "questions",
    "question": "questions?question=2",
    "import": "questions?import=1",
    "sweeps": "sweeps",
    "cards": "sweeps?sweep=1",
    "table": "sweeps?sweep=1&view=table",
    "figures": "sweeps?sweep=1&view=figures",
    "explore": "explore",
    "item": "explore?id=v1",
    "compare": "explore?id=v1&with=v2",
    "new": "sweeps?new=1",
    "datasets": "datasets",
    "dataset": "datasets?dataset=1",
    "dataset-new": "datasets?new=1",
    "training": "training",
    "run": "training?run=1",
    "rounds": "rounds",
    "round": "rounds?round=1",
}
GUIDE = {
    "home": "",
    "questions": "questions",
    "sweep-new": "sweeps?new=1",
    "sweep-cards": "sweeps?sweep=1&at=5",
    "sweep-figures": "sweeps?sweep=1&view=figures",
    "origin": "sweeps?sweep=1&at=5",
}
WIDTHS = (1440, 390)


def main() -> None:
    """Seed a store, start the app, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--guide", type=Path, metavar="HOME")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.guide:
        with app_server(given.guide) as url, chromium() as browser:
            for name, path in GUIDE.items():
                _take(browser, f"{url}/{path}", given.folder / f"{name}.png", panel=name)
        return
    with tempfile.TemporaryDirectory() as home:
        os.environ["Q2Q_HOME"] = home
        store = open_store(settings())
        seeded = seed_store(store)
        seed_running_job(store, seeded.sweep_id)
        seed_round(store, seeded.model_id)
        with app_server(Path(home)) as url, chromium() as browser:
            _take_all(browser, url, given.folder)
        store.close()


def _take_all(browser: Browser, url: str, folder: Path) -> None:
    for name, path in PAGES.items():
        for width in WIDTHS:
            for scheme, language in (("light", "en"), ("dark", "ja")):
                sign = "&" if "?" in path else "?"
                target = folder / f"{name}_{width}_{scheme}_{language}.png"
                _take(browser, f"{url}/{path}{sign}lang={language}", target, width, scheme)


def _take(
    browser: Browser,
    address: str,
    target: Path,
    width: int = 1280,
    scheme: str = "light",
    panel: str = "",
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        locale="en-US",
    )
    page = context.new_page()
    page.goto(address)
    page.locator("h1").first.wait_for()
    _wait_until_still(page)
    if panel == "origin":
        page.get_by_role("button", name="Origin").first.click()
        page.get_by_role("dialog").wait_for()
    height: int = page.get_by_test_id("stMain").evaluate("element => element.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(height, 600), 3_000)})
    _wait_until_still(page)
    page.screenshot(path=target)
    context.close()


def _wait_until_still(page: Page) -> None:
    """Wait until the page has been drawn in full: no run, no placeholder, the same height twice."""
    page.wait_for_function(
        """() => {
            const app = document.querySelector('[data-testid="stApp"]');
            const still = app?.getAttribute('data-test-script-state') !== 'running'
                && !document.querySelector('[data-testid="stSkeleton"]');
            const height = document.querySelector('[data-testid="stMain"]').scrollHeight;
            const same = still && window.q2qHeight === height;
            window.q2qHeight = height;
            return same;
        }""",
        polling=600,
    )


if __name__ == "__main__":
    main()
