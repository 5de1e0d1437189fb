"""Pictures of every page, wide and narrow, light and dark, in both languages.

Run: ``python -m tests.browser.screenshots FOLDER``. The pictures of the guide show real texts:
``--guide HOME`` takes them of the store in HOME, after its first sweep. Those of rated texts and of
dialogues show a store that is written for them: ``--docs``.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page

from db.database import Database
from db.settings import settings
from db.store.migrate import open_store
from tests.app.seed import seed_running_job, seed_store
from tests.app.seed_dialogue import seed_dialogue, seed_sides, seed_synopsis
from tests.app.seed_matrix import seed_matrix
from tests.app.seed_models import seed_merge
from tests.app.seed_ratings import seed_ratings
from tests.app.seed_rounds import seed_round
from tests.browser.chromium import chromium
from tests.browser.server import app_server
from workbench.rating.queues import QueueSpec, build_queue, save_queue

PAGES = {
    "home": "",
    "questions": "questions",
    "question": "questions?question=2",
    "import": "questions?import=1",
    "sweeps": "sweeps",
    "cards": "sweeps?sweep=1&view=cards",
    "table": "sweeps?sweep=1&view=table",
    "matrix": "sweeps?sweep=1&rater=Mia",
    "figures": "sweeps?sweep=1&view=figures",
    "explore": "explore",
    "search": "search?find=town",
    "item": "explore?id=v1",
    "item-question": "explore?id=q1",
    "item-answer": "explore?id=a1",
    "item-model": "explore?id=m5",
    "compare": "explore?id=v1&with=v2",
    "new": "sweeps?new=1",
    "rate-queues": "rating?rater=Mia",
    "rate-new": "rating?new=1&rater=Mia",
    "rate-pair": "rating?queue=2&rater=Mia",
    "rate-single": "rating?queue=3&rater=Mia",
    "rate-table": "rating?queue=4&rater=Mia",
    "rate-question": "rating?queue=5&rater=Mia",
    "rate-review": "rating?queue=1&rater=Aki&view=table",
    "rate-edit": "rating?queue=2&rater=Mia",
    "insights": "insights",
    "datasets": "datasets",
    "dataset": "datasets?dataset=1",
    "dataset-new": "datasets?new=1",
    "training": "training",
    "run": "training?run=1",
    "dataset-import": "datasets?import=1",
    "models": "models",
    "model": "models?model=5",
    "rounds": "rounds",
    "round": "rounds?round=1",
    "dialogues": "dialogues?rater=Ada",
    "dialogue-new": "dialogues?new=1&rater=Ada",
    "dialogue-import": "dialogues?import=1&rater=Ada",
    "dialogue-talk": "dialogues?session=1&rater=Ada",
    "dialogue-tree": "dialogues?session=2&view=tree&rater=Ada",
    "dialogue-synopsis": "dialogues?session=1&view=synopsis&rater=Ada",
    "dialogue-sides": "dialogues?session=3&rater=Ada",
    "dialogue-more": "dialogues?session=1&view=more&rater=Ada",
    "dialogue-compare": "dialogues?session=1&with=2",
}
KEYS = {"rate-edit": "e"}
"""What is pressed before the picture is taken."""
GUIDE = {
    "home": "",
    "questions": "questions",
    "sweep-new": "sweeps?new=1",
    "sweep-cards": "sweeps?sweep=1&view=cards&at=5",
    "sweep-figures": "sweeps?sweep=1&view=figures",
    "origin": "sweeps?sweep=1&view=cards&at=5",
}
DOCS = {
    "explore": "explore?sweep=1",
    "rating": "rating?queue=2&rater=Mia",
    "rating-table": "rating?queue=4&rater=Mia",
    "insights": "insights",
    "dialogue": "dialogues?session=2&view=tree&rater=Ada",
}
WIDTHS = (1440, 390)
MOST_PX = 3_000
DOCS_PX = 900
"""What is shown of a page that is longer."""


def main() -> None:
    """Seed a store, start the app, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--guide", type=Path, metavar="HOME")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--only", nargs="*", default=list(PAGES), metavar="PAGE")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.guide:
        with app_server(given.guide) as url, chromium() as browser:
            for name, path in GUIDE.items():
                _take(browser, f"{url}/{path}", given.folder / f"{name}.png", panel=name)
        return
    if given.docs:
        _take_matrix(given.folder)
    with tempfile.TemporaryDirectory() as home:
        os.environ["Q2Q_HOME"] = home
        settings.cache_clear()
        store = open_store(settings())
        seeded = seed_store(store)
        seed_ratings(store, seeded)
        _queues(store)
        seed_running_job(store, seeded.sweep_id)
        seed_round(store, seeded.model_id)
        seed_merge(store, Path(home) / "models", is_good=True)
        seed_synopsis(store, seed_dialogue(store, 14))
        seed_dialogue(store, 300, "A town without cars, in depth")
        seed_sides(store, "Both sides of a town without cars")
        with app_server(Path(home)) as url, chromium() as browser:
            if given.docs:
                for name, path in DOCS.items():
                    target = given.folder / f"{name}.png"
                    _take(browser, f"{url}/{path}", target, WIDTHS[0], most_px=DOCS_PX)
            else:
                _take_all(browser, url, given.folder, given.only)
        store.close()


def _take_matrix(folder: Path) -> None:
    """Take the picture of the results matrix, of a sweep that is written for it."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["Q2Q_HOME"] = home
        settings.cache_clear()
        store = open_store(settings())
        address = f"sweeps?sweep={seed_matrix(store)}&view=matrix&by=model&by=temperature&rater=Aki"
        with app_server(Path(home)) as url, chromium() as browser:
            _take(browser, f"{url}/{address}", folder / "matrix.png", WIDTHS[0], most_px=DOCS_PX)
        store.close()


def _queues(store: Database) -> None:
    """Make a queue for each way of rating; numbers 2 to 5."""
    wanted = (
        ("reasoning", "pair"),
        ("answer", "single"),
        ("whole", "table"),
        ("question", "single"),
    )
    with store.write() as session:
        for scope, way in wanted:
            spec = QueueSpec.model_validate({"name": f"Pilot: {scope}", "scope": scope, "way": way})
            save_queue(session, build_queue(session, spec))


def _take_all(browser: Browser, url: str, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        path = PAGES[name]
        for width in WIDTHS:
            for scheme, language in product(("light", "dark"), ("en", "ja")):
                sign = "&" if "?" in path else "?"
                target = folder / f"{name}_{width}_{scheme}_{language}.png"
                address = f"{url}/{path}{sign}lang={language}"
                _take(browser, address, target, width, scheme, keys=KEYS.get(name, ""))


def _take(
    browser: Browser,
    address: str,
    target: Path,
    width: int = 1280,
    scheme: str = "light",
    panel: str = "",
    keys: str = "",
    most_px: int = MOST_PX,
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        locale="en-US",
    )
    page = context.new_page()
    page.goto(address)
    page.get_by_test_id("stMainBlockContainer").get_by_role("button").first.wait_for()
    _wait_until_still(page)
    for key in keys:
        page.keyboard.press(key)
        _wait_until_still(page)
    if panel == "origin":
        page.get_by_role("button", name="Origin").first.click()
        page.get_by_role("dialog").wait_for()
    height: int = page.get_by_test_id("stMain").evaluate("element => element.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(height, 600), most_px)})
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
