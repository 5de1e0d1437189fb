"""The whole road in a real browser, as a newcomer goes it: from a file of questions to a blind
comparison of the model that was trained on their ratings; real weights, real vLLM, real training.

Clicks and keys are counted, those that rate a card apart; each step has a stopwatch. With
``Q2Q_ROAD_RESULT=FILE`` the figures are also written there, as those of the benchmarks are.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks.setting import hardware, versions
from db.database import Database, open_database
from db.rating.ratings import active_ratings
from db.rounds import find_round
from tests.browser.chromium import chromium
from tests.browser.conftest import ready
from tests.browser.server import ROOT, free_port
from workbench.project import ProjectState, project_state

MOST_PRESSES = 60
N_RATED = 25
N_COMPARED = 4
"""At most: a card takes a held-out question that the two models wrote different texts for."""
QUESTIONS = (
    ("What is the capital of France?", "Paris", "geography"),
    ("What is 12 times 7?", "84", "arithmetic"),
    ("Which planet is closest to the sun?", "Mercury", "science"),
    ("How many days are in a leap year?", "366", "time"),
    ("What colour do blue and yellow make?", "green", "science"),
    ("What is the opposite of hot?", "cold", "words"),
    ("How many legs has a spider?", "8", "science"),
    ("Which ocean is the largest?", "Pacific", "geography"),
    ("What is half of 90?", "45", "arithmetic"),
    ("What do bees make?", "honey", "science"),
    ("Which month comes after April?", "May", "time"),
    ("What is frozen water called?", "ice", "science"),
)
MINUTE_MS = 60_000
RESULT = os.environ.get("Q2Q_ROAD_RESULT")


class Newcomer:
    """A person at a browser whose clicks and keys are counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.presses = self.ratings = 0
        self.steps: list[tuple[str, int, float]] = []
        """Name, clicks and keys, seconds of each step."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        presses, began = self.presses, time.monotonic()
        yield
        self.steps.append((name, self.presses - presses, time.monotonic() - began))

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name).first

    def click(self, target: Locator, times: int = 1) -> None:
        for _ in range(times):
            ready(self.page, target).click()
            self.presses += 1

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.presses += 1

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.presses += len(text)

    def lower(self, label: str, times: int) -> None:
        """Press the minus of a number."""
        field = self.page.get_by_test_id("stNumberInput").filter(has_text=label)
        self.click(field.get_by_role("button", name="Decrement"), times)

    def n_cards(self) -> int:
        """Return how many cards the queue has that is open, at least one."""
        counted = self.page.get_by_text(re.compile(r"· 0 of [1-9]\d* cards"))
        expect(counted).to_be_visible()
        return int(re.search(r"of (\d+) cards", counted.inner_text())[1])  # type: ignore[index]

    def rate(self, n: int) -> None:
        """Rate so many cards by the arrows."""
        for done in range(n):
            expect(self.page.get_by_text(re.compile(rf"· {done} of \d+ cards"))).to_be_visible()
            ready(self.page, self.button("Skip"))
            self.page.keyboard.press("ArrowLeft" if done % 3 else "ArrowRight")
            self.ratings += 1
        expect(self.page.get_by_text(re.compile(rf"· {n} of \d+ cards"))).to_be_visible()

    def report(self) -> str:
        """Return a table of the steps in Markdown."""
        rows = [f"| {name} | {n} | {seconds:.0f} |" for name, n, seconds in self.steps]
        total = f"| in all | {self.presses} | {sum(one[2] for one in self.steps):.0f} |"
        return "\n".join(["| step | clicks and keys | seconds |", "|---|---:|---:|", *rows, total])

    def figures(self) -> dict[str, Any]:
        """Return the same as values, with what made them."""
        return {
            "command": "Q2Q_ROAD_RESULT=road_cpu.json pytest -m soak tests/browser/test_road.py",
            "hardware": hardware(),
            "versions": versions(),
            "load_of_the_machine": round(os.getloadavg()[1], 1),
            "clicks_and_keys": self.presses,
            "ratings": self.ratings,
            "seconds": round(sum(one[2] for one in self.steps)),
            "steps": [
                {"step": name, "clicks_and_keys": n, "seconds": round(seconds, 1)}
                for name, n, seconds in self.steps
            ],
        }


def state_of(database: Database) -> ProjectState:
    with database.read() as session:
        return project_state(session)


def go_to_a_dataset(person: Newcomer, url: str, database: Database, file: Path) -> None:
    """Import, sweep, read, rate and freeze; what the store holds is checked on the way."""
    import_and_sweep(person, url, file)
    assert (state_of(database).sweeps, state_of(database).next.step) == (1, "rate")
    read_and_rate(person)
    with database.read() as session:
        assert len(session.scalars(active_ratings()).all()) == N_RATED
    with person.step("build the dataset"):
        person.press("Escape")
        expect(person.page.get_by_text(re.compile(r"SFT \d+, DPO [1-9]"))).to_be_visible()
        person.click(person.button("Build a dataset"))
        person.click(person.button("Freeze this dataset"))
        person.click(person.button("Freeze for good"))
        expect(person.button("Start a round")).to_be_visible()
    state = state_of(database)
    assert (state.datasets, state.next.step) == (1, "round")
    assert state.rows > 10


def import_and_sweep(person: Newcomer, url: str, file: Path) -> None:
    page = person.page
    lines = (
        {"question": text, "reference_answer": reference, "category": category}
        for text, reference, category in QUESTIONS
    )
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    page.goto(url)
    model = page.get_by_text("smollm2-135m-instruct").first
    expect(model).to_be_visible(timeout=3 * MINUTE_MS)
    with person.step("import 12 questions"):
        person.click(page.get_by_role("link", name="Import a file of your own"))
        with page.expect_file_chooser() as chooser:
            person.click(page.get_by_role("button", name="Upload", exact=True))
        chooser.value.set_files(file)
        person.presses += 2  # the file in the dialog of the system, and its button
        person.click(person.button("Import 12 rows"))
        expect(page.get_by_text("Sweep the questions of “quiz”")).to_be_visible()
    with person.step("set up the sweep"):
        person.click(person.button("Sweep these"))
        person.click(page.get_by_role("combobox", name="Roles to try"))
        person.type("logi")
        person.press("Enter")
        expect(page.locator("[data-tag]", has_text="logician")).to_be_visible()
        person.press("Escape")
        person.click(person.button("Compare one more level"))
        person.lower("Reasonings per question (k)", 2)
        person.lower("Answers per reasoning (n)", 1)
        expect(page.locator(".st-key-card_plan")).to_contain_text("48 reasonings + 48 answers")
        person.click(person.button("Start the sweep"))
    with person.step("wait for 96 texts"):
        expect(person.button("Rate these")).to_be_visible(timeout=8 * MINUTE_MS)


def read_and_rate(person: Newcomer) -> None:
    page = person.page
    with person.step("read the matrix"):
        page.locator(".matrix .row").first.wait_for()
        for level in ("assistant", "logician", "0.8", "0.2"):
            expect(page.locator(".level", has_text=level).first).to_be_visible()
        expect(page.locator(".row").first).to_contain_text(QUESTIONS[0][1])
        person.click(page.locator(".row").first.locator(".cell").first)
        expect(page.locator(".drawer .entry").first).to_be_visible()
        person.press("Escape")
        expect(page.locator(".drawer")).to_have_count(0)
    with person.step("set up rating"):
        person.click(person.button("Rate these"))
        person.click(page.locator(".st-key-card_rater input").first)
        person.type("Mia")
        person.press("Enter")
        said = page.get_by_text("Rating as")
        expect(said.or_(person.button("Go on")).first).to_be_visible()
        page.wait_for_timeout(1_000)
        if not said.is_visible():
            person.click(person.button("Go on"))
        expect(said).to_be_visible()
        findings = page.get_by_test_id("stMultiSelect").filter(has_text="Leave out texts with")
        person.click(findings.get_by_role("button", name="Clear all"))
        expect(page.locator(".st-key-card_plan")).to_contain_text(re.compile(r"Cards\D*[2-9]\d"))
        person.click(person.button("Start rating"))
    with person.step(f"rate {N_RATED} cards"):
        person.rate(N_RATED)


def train_and_compare(person: Newcomer, database: Database) -> None:
    """Run a round of few steps, approve it, and compare its model blind with the base."""
    page = person.page
    with person.step("set up the round"):
        person.click(person.button("Start a round"))
        person.click(page.get_by_text("All other settings"))
        person.click(page.get_by_role("spinbutton", name="Steps", exact=True))
        person.type("6")
        person.press("Tab")
        person.click(page.get_by_text("Score influence and loss"))
        person.lower("Sampled outputs of a question", 2)
        person.click(person.button("Start the round"))
    with person.step("wait for the pause"):
        expect(person.button("Approve and go on")).to_be_visible(timeout=2 * MINUTE_MS)
    with person.step("approve"):
        person.click(person.button("Approve and go on"))
    with person.step("wait for the round"):
        expect(person.button("Compare blind")).to_be_visible(timeout=15 * MINUTE_MS)
    with person.step("compare blind"):
        person.click(person.button("Compare blind"))
        n_compared = min(N_COMPARED, person.n_cards())
        person.rate(n_compared)
    with database.read() as session:
        found = find_round(session, 1)
        assert (found.step, found.state) == ("ended", "done")
        judged = session.scalars(active_ratings()).all()
    assert len(judged) == N_RATED + n_compared


@contextmanager
def workbench_up(home: Path) -> Iterator[str]:
    """Yield the address of the workbench as `make up` starts it, on an empty home."""
    port = free_port()
    limits = {"Q2Q_KV_CACHE_GIB": "1", "Q2Q_MAX_MODEL_LEN": "1024", "Q2Q_MAX_NUM_SEQS": "32"}
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", "up", "--port", f"{port}"],
        cwd=ROOT,
        env=os.environ | limits | {"Q2Q_HOME": str(home), "Q2Q_DEVICE": "cpu"},
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


@pytest.mark.soak
def test_the_whole_road_from_an_empty_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "road"
    with workbench_up(home) as url, chromium() as browser:
        page = browser.new_context(
            locale="en-US", viewport={"width": 1440, "height": 900}
        ).new_page()
        _wait_for_page(page, url)
        database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
        person = Newcomer(page)
        try:
            go_to_a_dataset(person, url, database, tmp_path / "quiz.jsonl")
            train_and_compare(person, database)
        finally:
            database.close()
            with capsys.disabled():
                sys.stdout.write(f"\n{person.report()}\n")
    if RESULT:
        Path(RESULT).write_text(json.dumps(person.figures(), indent=1) + "\n", "utf-8")
    assert person.presses <= MOST_PRESSES


def _wait_for_page(page: Page, url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            page.goto(url)
        except Exception:  # it does not listen yet
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the workbench did not start")
