"""Rating in a real browser by keyboard alone, with answers of real vLLM to an edited reasoning."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from db.database import Database
from db.rating.queues import get_queue
from db.rating.ratings import active_ratings, ensure_rater
from db.settings import Settings
from db.sweeps import get_sweep
from db.tables import Answer, QueueItemState, Rating, ReasoningVariant, VariantParent
from serving.engine.server import read_record
from serving.formats.library import load_definitions, sync_definitions
from serving.importers.questions import import_questions
from serving.importers.readers import read_rows
from serving.models.register import ensure_default_model
from serving.sweeps.plan import queue_sweep
from serving.sweeps.spec import parse_spec
from tests.browser.chromium import chromium
from tests.browser.conftest import ready
from tests.browser.server import app_server
from tests.engine_fixture import VllmServer
from workbench.rating.queues import QueueSpec, build_queue, save_queue

pytestmark = [pytest.mark.engine, pytest.mark.browser]

ROOT = Path(__file__).parents[2]
QUESTIONS = (
    "Why do leaves change their colour in autumn?",
    "How does a bicycle stay upright?",
    "雨のあとに虹が見えるのはなぜですか。",
    "Why is sea water salty?",
    "How do birds find their way?",
)
N_ITEMS = len(QUESTIONS) * 6


@pytest.fixture
def worker(vllm_server: VllmServer, database: Database, home: Path) -> Iterator[None]:
    """A worker of this test's home that has adopted the shared server, as one left by another."""
    environ = os.environ | vllm_server.lend(home)
    with (home / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench.worker"],
            cwd=ROOT,
            env=environ,
            stdout=log,
            stderr=log,
        )
        yield
        process.kill()
        process.wait(60)
    used = read_record(home)
    assert used is not None
    assert used.pid == vllm_server.record.pid, "no server of its own was started"


def wait_until(what: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


def write_texts(database: Database, folder: Path) -> int:
    """Run a real sweep; return the queue of all comparisons of its reasonings."""
    lines = (json.dumps({"instruction": text}) for text in QUESTIONS)
    (folder / "questions.jsonl").write_text("\n".join(lines), "utf-8")
    sampling = [{"temperature": 0.9, "max_tokens": 24}]
    spec = parse_spec(
        {
            "name": "texts to rate",
            "variants": 4,
            "answers": 1,
            "reasoning_sampling": sampling,
            "answer_sampling": sampling,
        }
    )
    ensure_default_model(database, Settings(device="cpu"))
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
    import_questions(database, read_rows(folder / "questions.jsonl"), source="imported")
    with database.write() as session:
        sweep_id, _ = queue_sweep(session, spec, registry)

    def is_done() -> bool:
        with database.read() as session:
            return get_sweep(session, sweep_id).state == "done"

    wait_until(is_done)
    queue = QueueSpec(name="reasonings", leave_out=(), overlap=2, repeat_share=0)
    with database.write() as session:
        return save_queue(session, build_queue(session, queue))


class Desk:
    """A rater at a browser, who presses keys and notes what was shown."""

    def __init__(self, page: Page, url: str, name: str) -> None:
        self.page, self.name = page, name
        self.shown: list[tuple[str, str, str]] = []
        """Left text, right text and the key, of every press that counts."""
        page.goto(url)
        self.n = 0
        self.expect_done(0)

    def expect_done(self, n: int) -> None:
        expect(self.page.get_by_text(f"{n} of {N_ITEMS} cards")).to_be_visible()
        ready(self.page, self.page.get_by_role("button", name="Skip"))
        self.n = n

    def sides(self) -> tuple[str, str]:
        left, right = (
            self.page.locator(f".st-key-card_side_{side}").get_by_test_id("stText")
            for side in ("left", "right")
        )
        return left.inner_text(), right.inner_text()

    def press(self, key: str) -> None:
        self.shown.append((*self.sides(), key))
        self.page.keyboard.press(key)
        self.expect_done(self.n + 1)

    def undo(self) -> None:
        left, right, _ = self.shown.pop()
        self.page.keyboard.press("u")
        self.expect_done(self.n - 1)
        assert self.sides() == (left, right)


def said_by(database: Database, name: str) -> list[tuple[str, str, str]]:
    """Return what holds of a rater's comparisons as left text, right text and key."""
    keys = {"a": "ArrowLeft", "b": "ArrowRight", "tie": "t", "both_bad": "b"}
    swapped_keys = keys | {"a": "ArrowRight", "b": "ArrowLeft"}
    with database.write() as session:
        rater_id = ensure_rater(session, name)
        text = {row.id: row.text for row in session.scalars(select(ReasoningVariant))}
        rows = session.scalars(
            active_ratings().where(Rating.rater_id == rater_id).order_by(Rating.id)
        )
        said = []
        for row in rows:
            assert row.variant_id
            assert row.other_variant_id
            assert row.outcome
            first, other = text[row.variant_id], text[row.other_variant_id]
            left, right = (other, first) if row.swapped else (first, other)
            said.append((left, right, (swapped_keys if row.swapped else keys)[row.outcome]))
    return said


def plain(shown: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return what was shown with blanks as one: a browser collapses them."""
    return [(" ".join(a.split()), " ".join(b.split()), key) for a, b, key in shown]


def test_two_raters_rate_by_keyboard_and_an_edit_is_answered(
    worker: None, database: Database, home: Path, tmp_path: Path
) -> None:
    queue_id = write_texts(database, tmp_path)
    with app_server(home) as url, chromium() as browser:
        pages = [browser.new_context(locale="en-US").new_page() for _ in range(2)]
        address = f"{url}/rating?queue={queue_id}&rater="
        aki, ben = (
            Desk(page, address + name, name)
            for page, name in zip(pages, ("Aki", "Ben"), strict=True)
        )
        for number in range(10):
            aki.press(("ArrowLeft", "ArrowRight", "t", "b")[number % 4])
            if number % 2:
                ben.press(("ArrowRight", "t")[number % 4 // 2])
        aki.undo()
        aki.undo()
        aki.press("b")
        aki.page.keyboard.press("s")
        aki.expect_done(aki.n + 1)
        before = aki.sides()
        aki.page.reload()
        aki.expect_done(aki.n)
        assert aki.sides() == before
        _edit_and_answer(aki.page, database, before[0])
        _let_the_model_merge(aki.page, database, before)
        for number in range(11):
            aki.press(("ArrowLeft", "ArrowRight", "t", "b")[number % 4])
    assert len(aki.shown) == 20
    assert plain(said_by(database, "Aki")) == plain(aki.shown)
    assert plain(said_by(database, "Ben")) == plain(ben.shown)
    with database.read() as session:
        states = session.scalars(
            select(QueueItemState.state).where(QueueItemState.state == "skipped")
        ).all()
        assert len(states) == 1
        assert get_queue(session, queue_id).n_items == N_ITEMS
        seen = session.scalars(active_ratings().where(Rating.answer_seen)).all()
    assert len(seen) == 1, "only the card whose reasoning was edited was rated with answers seen"


def _let_the_model_merge(page: Page, database: Database, sides: tuple[str, str]) -> None:
    """Have vLLM make one reasoning of both, and wait for its answers on the same page."""
    ready(page, page.get_by_role("button", name="Merge both"))
    page.keyboard.press("m")
    ready(page, page.get_by_role("button", name="Let the model merge them")).click()
    after = page.locator(".st-key-card_after")
    expect(after.get_by_text("Answer 3")).to_be_visible(timeout=120_000)
    with database.read() as session:
        made = session.scalars(
            select(ReasoningVariant).order_by(ReasoningVariant.id.desc()).limit(1)
        ).one()
        parents = session.scalars(
            select(VariantParent.parent_id).where(VariantParent.variant_id == made.id)
        ).all()
        words = [session.get_one(ReasoningVariant, parent).text for parent in parents]
    assert made.source == "model"
    assert sorted(" ".join(text.split()) for text in words) == sorted(
        " ".join(text.split()) for text in sides
    )
    ready(page, page.get_by_role("button", name="Back to the card"))
    page.keyboard.press("Escape")


def _edit_and_answer(page: Page, database: Database, left: str) -> None:
    """Change the left reasoning without the mouse and wait for its answers on the same page."""
    page.keyboard.press("e")
    field = page.get_by_role("textbox", name="After")
    expect(field).to_be_focused()
    page.keyboard.type(" You should also name one example. lrtbse")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Answers are being written.")).to_be_visible()
    after = page.locator(".st-key-card_after")
    expect(after.get_by_text("Answer 3")).to_be_visible(timeout=120_000)
    with database.read() as session:
        edited = session.scalars(
            select(ReasoningVariant).where(ReasoningVariant.source == "edited")
        ).one()
        parent = session.scalars(
            select(VariantParent.parent_id).where(VariantParent.variant_id == edited.id)
        ).one()
        origin = session.get_one(ReasoningVariant, parent).text
        answers = session.scalars(select(Answer).where(Answer.variant_id == edited.id)).all()
    assert edited.text.endswith("one example. lrtbse")
    assert " ".join(origin.split()) == " ".join(left.split())
    assert edited.author_id is not None
    assert len(answers) == 3
    ready(page, page.get_by_role("button", name="Back to the card"))
    page.keyboard.press("Escape")
