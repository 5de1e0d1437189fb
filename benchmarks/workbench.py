"""The rating workbench on a large store: key presses in a real browser, pages, search, raters.

    python -m benchmarks.workbench [OUT.json] [--generations 1000000] [--ratings 200000]

Keys: from the press in Chromium to the next card drawn there, measured inside the page. Pages: the
script of each page, run again as every press does; the first run after a start stands beside it.
Raters: eight of them through the store, two ratings a second each, beside a running sweep of a fake
server that lets hundreds of texts a second through, several times what one GPU writes; every rating
must be there afterwards. `--home` keeps the store for another run (brought up
to date where it is older).
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from sqlalchemy import func, select

from benchmarks.big_store import QUEUE_ID, build
from benchmarks.matrix import matrix_times, percentiles
from benchmarks.page_scripts import page_times
from benchmarks.setting import note, versions, write_result
from db.database import Database, open_database
from db.rating.queues import get_queue
from db.rating.ratings import ensure_rater
from db.settings import settings
from db.store.migrate import upgrade
from db.tables import ModelVersion, Rating, SweepGeneration
from db.texts.lists import TextFilter, list_texts
from db.texts.matrix import MatrixFilter, matrix
from serving.engine.client import CompletionClient, ServedModel
from serving.engine.messages import Capabilities, Endpoint
from serving.formats.library import load_definitions, sync_definitions
from serving.formats.tokenizer import PromptTokenizer
from serving.models.embedded import ensure_embedded_model
from serving.sweeps.plan import plan_sweep, save_sweep
from serving.sweeps.run import run_sweep
from serving.sweeps.spec import parse_spec
from tests.browser.chromium import chromium
from tests.browser.server import app_server
from tests.fakes.engines import FixedEngines
from tests.store_rows import wait_for_counts
from workbench.rating.cards import CardRating, current_card, submit

OUT = Path(__file__).parent / "results" / "workbench_cpu.json"
RATERS, PER_SECOND, SECONDS = 8, 2.0, 30.0
LATENCY_MS = 8000
"""Of the fake server; with less, the sweep alone would fill both cores of a laptop."""
SWEEP_QUESTIONS = 6_000
RATER = {"rater": "Aki"}

PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "home": ("home", {}),
    "questions": ("questions", {}),
    "questions, searched": ("questions", {"find": "library"}),
    "questions, archived": ("questions", {"archived": "1"}),
    "one question": ("questions", {"question": "500"}),
    "sweeps": ("sweeps", {}),
    "results side by side": ("sweeps", {"sweep": "1", "view": "cards", "at": "300"}),
    "results as a table": ("sweeps", {"sweep": "1", "view": "table"}),
    "results searched": ("sweeps", {"sweep": "1", "view": "table", "find": "seasons"}),
    "results as a matrix": ("sweeps", {"sweep": "1", "view": "matrix"}),
    "matrix, searched": ("sweeps", {"sweep": "1", "view": "matrix", "find": "river"}),
    "figures": ("sweeps", {"sweep": "1", "view": "figures"}),
    "explore": ("explore", {}),
    "explore, last page": ("explore", {"page": "400"}),
    "explore, searched": ("explore", {"find": "seasons"}),
    "explore, one finding": ("explore", {"check": "cut_off"}),
    "explore, liked": ("explore", {"rating": "liked"}),
    "explore, many filters": (
        "explore",
        {"sweep": "1", "model": "1", "role": "assistant", "finish": "length", "rating": "unrated"},
    ),
    "explore, a question": ("explore", {"id": "q1"}),
    "explore, a reasoning": ("explore", {"id": "v1"}),
    "explore, an answer": ("explore", {"id": "a1"}),
    "explore, side by side": ("explore", {"id": "v1", "with": "v2"}),
    "rate, queues": ("rating", RATER),
    "rate, new queue": ("rating", {"new": "1", **RATER}),
    "rate, a card": ("rating", {"queue": "1", **RATER}),
    "rate, review": ("rating", {"queue": "1", "view": "table", "rater": "rater 3"}),
    "insights": ("insights", {}),
    "insights, one question": ("insights", {"question": "5"}),
}

SEARCHES: dict[str, str] = {
    "a word of 400,000 texts": "seasons",
    "two words": "evidence mind",
    "a number in one text": "123456",
    "two characters": "季節",
    "one character": "順",
    "a phrase without spaces": "初めての人が知りたい",
    "nothing": "xylophone",
}

LISTEN = """window.addEventListener('keydown', () => window.q2qPressed?.(), true)"""
"""Added before the page's own listeners, which keep their keys to themselves."""
WATCH = """() => {
    const card = () => ['left', 'right'].map(
        side => document.querySelector(`.st-key-card_side_${side}`)?.innerText ?? '').join('|');
    window.q2q = {shown: card(), pressed: 0, took: null};
    window.q2qPressed = () => {
        window.q2q.pressed = performance.now();
        window.q2q.shown = card();
        window.q2q.took = null;
    };
    new MutationObserver(() => {
        const now = card();
        const state = window.q2q;
        if (state.pressed && state.took === null && now !== state.shown && !now.startsWith('|')
                && !now.endsWith('|')) {
            state.took = performance.now() - state.pressed;
        }
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


def press_keys(home: Path, presses: int) -> dict[str, Any]:
    """Return how long the next card takes after each press of an arrow key in Chromium."""
    with app_server(home) as url, chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.add_init_script(LISTEN)
        page.goto(f"{url}/rating?queue={QUEUE_ID}&rater=Keys")
        page.locator(".st-key-card_side_left").wait_for(timeout=60_000)
        _rest(page)
        page.evaluate(WATCH)
        took = []
        for number in range(presses + 3):
            page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
            page.wait_for_function("() => window.q2q.took !== null", timeout=10_000)
            took.append(float(page.evaluate("() => window.q2q.took")))
            _rest(page)
    return percentiles(took[3:])


def _rest(page: Page) -> None:
    """Wait until the page is idle, and for as long as a look takes."""
    page.wait_for_function(
        "() => document.querySelector('[data-test-script-state]')?.dataset.testScriptState"
        " === 'notRunning'"
    )
    page.wait_for_timeout(220)


def search(database: Database, runs: int = 20) -> dict[str, Any]:
    """Return how long the first page of a search takes, in texts and in questions."""
    found = {}
    for name, words in SEARCHES.items():
        of_texts, of_questions = TextFilter(search=words), MatrixFilter(search=words)
        with database.read() as session:
            texts = _times(runs, partial(list_texts, session, of_texts))
            asked = _times(runs, partial(matrix, session, of_questions))
        found[name] = {"texts": percentiles(texts), "questions": percentiles(asked)}
        note(f"search, {name}: {found[name]['texts']['p95_ms']} ms")
    return found


def _times(runs: int, act: Callable[[], object]) -> list[float]:
    took = []
    for _ in range(runs):
        started = time.perf_counter()
        act()
        took.append((time.perf_counter() - started) * 1000)
    return took


def rate_beside_a_sweep(path: Path) -> dict[str, Any]:
    """Rate by several raters while a sweep writes; return what was stored and how long it took."""
    fake = ["tests.fakes.server", "--port", "0", "--latency-ms", str(LATENCY_MS)]
    server = subprocess.Popen([sys.executable, "-m", *fake], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().split()[-1]
    sweep = subprocess.Popen([sys.executable, "-m", __spec__.name, "--sweep-on", str(path), port])
    database = open_database(f"sqlite:///{path}")
    try:
        before, written = _n_ratings(database), _n_shown(database)
        while sweep.poll() is None and _n_shown(database) == written:
            time.sleep(0.1)
        started, written = time.perf_counter(), _n_shown(database)
        pressed, took = _rate(database)
        seconds = time.perf_counter() - started
        rows = _n_shown(database) - written
        runs_on = sweep.poll() is None
    finally:
        for process in (sweep, server):
            process.terminate()
            process.wait()
    stored = _n_ratings(database) - before
    database.close()
    assert stored == pressed, f"{pressed} ratings were given, {stored} are stored"
    return {
        "raters": RATERS,
        "per_second_each": PER_SECOND,
        "seconds": round(seconds, 1),
        "pressed": pressed,
        "stored": stored,
        "lost": pressed - stored,
        "sweep_rows_meanwhile": rows,
        "sweep_still_running": runs_on,
        **percentiles(took),
    }


def _rate(database: Database) -> tuple[int, list[float]]:
    with database.write() as session:
        queue = get_queue(session, QUEUE_ID)
        raters = [ensure_rater(session, f"beside {i}") for i in range(RATERS)]
    took: list[float] = []
    lock, end = threading.Lock(), time.monotonic() + SECONDS

    def work(rater: int) -> None:
        card = current_card(database, queue, rater)
        due = time.monotonic()
        while card is not None and due < end:
            due += 1 / PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            started = time.perf_counter()
            following = submit(database, queue, rater, card.id, CardRating(outcome="a"))
            with lock:
                took.append((time.perf_counter() - started) * 1000)
            card = following

    threads = [threading.Thread(target=work, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(took), took


def _n_ratings(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Rating)) or 0


def _n_shown(database: Database) -> int:
    with database.read() as session:
        newest = select(func.max(SweepGeneration.generation_id))
        return session.scalar(newest) or 0


async def sweep_on(path: Path, port: int) -> None:
    """Run a sweep of the fake server on the store at ``path``."""
    database = open_database(f"sqlite:///{path}")
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        name = f"fake {time.time_ns()}"
        model = ModelVersion(name=name, kind="declared", context_length=8192)
        session.add(model)
        session.flush()
        spec = {
            "name": "beside the raters",
            "models": [name],
            "variants": 4,
            "answers": 4,
            "questions": {"ids": list(range(1, SWEEP_QUESTIONS + 1))},
        }
        sweep_id = save_sweep(session, plan_sweep(session, parse_spec(spec), registry))
    async with CompletionClient(Endpoint(url=f"http://127.0.0.1:{port}/v1")) as client:
        served = ServedModel(
            model_version_id=model.id,
            engine_id=None,
            client=client,
            served_name="fake",
            tokenizer=PromptTokenizer.load(ensure_embedded_model()),
            context_length=8192,
            capabilities=Capabilities(),
            max_num_seqs=64,
            engine_version="fake",
        )
        await run_sweep(database, sweep_id, FixedEngines([served]))


def pages(runs: int) -> dict[str, Any]:
    """Return the times of every page; figures that are computed beside the app are waited for."""
    found = {}
    page_times("insights", {}, 1)
    wait_for_counts()
    for name, (page, parameters) in PAGES.items():
        found[name] = page_times(page, parameters, runs)
        note(f"{name}: {found[name]['wall_ms']}")
    return found


def main() -> None:
    """Run the benchmark and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--generations", type=int, default=1_000_000)
    parser.add_argument("--ratings", type=int, default=200_000)
    parser.add_argument("--presses", type=int, default=100)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--sweep-on", nargs=2, metavar=("STORE", "PORT"))
    given = parser.parse_args()
    if given.sweep_on:
        asyncio.run(sweep_on(Path(given.sweep_on[0]), int(given.sweep_on[1])))
        return
    home = given.home or Path(tempfile.mkdtemp())
    store = home / "q2q.sqlite"
    os.environ["Q2Q_HOME"] = str(home)
    settings.cache_clear()
    try:
        if not store.exists():
            build(store, given.generations, given.ratings)
        database = open_database(f"sqlite:///{store}")
        upgrade(database)
        with database.read() as session:
            n_ratings = session.scalar(select(func.count()).select_from(Rating))
        result: dict[str, Any] = {
            "versions": {**versions(), "streamlit": version("streamlit")},
            "generations": given.generations,
            "ratings": n_ratings,
            "store_mb": round(store.stat().st_size / 1e6),
            "aims_ms": {"key to next card, p95": 300, "page": 300, "search": 200},
        }
        result["keys"] = press_keys(home, given.presses)
        note(f"keys: {result['keys']}")
        result["matrix"] = matrix_times(home)
        result["search"] = search(database)
        result["pages"] = pages(given.runs)
        result["raters_beside_a_sweep"] = rate_beside_a_sweep(store)
        note(f"raters: {result['raters_beside_a_sweep']}")
        database.close()
    finally:
        if given.home is None:
            shutil.rmtree(home)
    write_result(given.out, result)


if __name__ == "__main__":
    main()
