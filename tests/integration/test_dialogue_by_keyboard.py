"""A dialogue in a real browser by keyboard, its words from real vLLM; the store tells the same."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from db.database import Database
from db.dialogues import list_dialogues, read_events
from db.settings import Settings
from db.tables import ReasoningVariant
from serving.formats.library import load_definitions, sync_definitions
from serving.models.register import ensure_default_model
from tests.browser.chromium import chromium
from tests.browser.conftest import ready
from tests.browser.server import app_server
from tests.integration.test_rating_by_keyboard import wait_until, worker
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import set_settings
from workbench.dialogue.tree import Tree, read_tree

pytestmark = [pytest.mark.engine, pytest.mark.browser]
__all__ = ["worker"]

SHORT = {
    "prompt_format": "chat",
    "variants": 3,
    "reasoning_sampling": {"max_tokens": 24},
    "answer_sampling": {"max_tokens": 24},
    "ask_sampling": {"max_tokens": 160, "temperature": 0.9, "repetition_penalty": 1.3},
}
WAIT_MS = 150_000
MOST_TRIES = 4


class Talk:
    """A person at a browser in one dialogue."""

    def __init__(self, page: Page, url: str, database: Database) -> None:
        self.page, self.url, self.database = page, url, database

    def button(self, name: str) -> Locator:
        # A button's name may begin with its icon and ends with its key.
        return self.page.get_by_role("button", name=re.compile(rf"{name}( Shortcut .+)?$")).first

    def press(self, key: str, shows: str) -> None:
        """Press the key of the button that is called ``shows`` once the page rests."""
        expect(self.button(shows)).to_be_visible(timeout=WAIT_MS)
        ready(self.page, self.button(shows))
        self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.locator("textarea:focus").wait_for()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def answer(self) -> None:
        self.press("a", "Have it answered")
        expect(self.button("Choose")).to_be_visible(timeout=WAIT_MS)

    def choose(self) -> None:
        self.press("1", "Choose")
        expect(self.page.get_by_text("Chosen answer")).to_be_visible()

    def ask(self, *keys: str) -> None:
        """Propose questions by the moves of these digits alone; deepen, unfold and rebut are on."""
        for key in keys:
            before = self.page.locator(".st-key-dialogue_moves_row").inner_html()
            self.press(key, "Propose questions")
            self.page.wait_for_function(
                "was => document.querySelector('.st-key-dialogue_moves_row')?.innerHTML !== was",
                arg=before,
            )
        for _ in range(MOST_TRIES):  # so small a model does not write a list each time
            n = len(self.proposed())
            self.press("a", "Propose questions")
            wait_until(lambda n=n: len(self.proposed()) > n)  # type: ignore[misc]  # bound here
            if self.proposed()[-1]:
                break
            expect(self.page.locator(".st-key-dialogue_busy")).to_have_count(0)
            if self.button("Other moves").is_visible():
                self.press("l", "Other moves")
        expect(self.button("Take it")).to_be_visible()

    def proposed(self) -> list[int]:
        """Return how many new questions each asking brought."""
        with self.database.read() as session:
            (dialogue,) = list_dialogues(session)
            events = read_events(session, dialogue.id, kinds=("questions_shown",))
        return [len(event.payload["shown"]) for event in events]


def begin(talk: Talk, database: Database) -> int:
    page = talk.page
    page.goto(f"{talk.url}/dialogues?new=1&rater=Aki&lang=en")
    page.get_by_role("textbox", name="Concept").fill("A town centre without cars")
    page.get_by_role("textbox", name="Goal", exact=True).fill("Find out whom it helps")
    ready(page, talk.button("Begin")).click()
    expect(talk.button("Have it answered")).to_be_visible()
    with database.write() as session:
        (found,) = list_dialogues(session)
        set_settings(session, found.id, SHORT, By())
    return found.id


def read(database: Database, dialogue_id: int) -> Tree:
    with database.read() as session:
        return read_tree(session, dialogue_id)


def kinds(database: Database, dialogue_id: int) -> list[str]:
    with database.read() as session:
        return [event.kind for event in read_events(session, dialogue_id)]


def test_a_dialogue_by_keyboard_is_what_the_store_tells(
    worker: None, database: Database, home: Path
) -> None:
    ensure_default_model(database, Settings(device="cpu"))
    with database.write() as session:
        sync_definitions(session, load_definitions())
    with app_server(home) as url, chromium() as browser:
        context = browser.new_context(
            viewport={"width": 1440, "height": 1000}, locale="en-US", accept_downloads=True
        )
        talk = Talk(context.new_page(), url, database)
        dialogue_id = begin(talk, database)
        _first_turn(talk, database, dialogue_id)
        _second_turn(talk, database, dialogue_id)
        _third_turn(talk, database, dialogue_id)
        told = _report(talk)
        fork_id = _fork(talk, database)
    tree = read(database, dialogue_id)
    assert [node.question for node in tree.path(tree.current_id or 0)][-1] == "Who was left out?"
    assert len(told["questions"]) == len(tree.nodes)
    fork = read(database, fork_id)
    assert fork.dialogue.forked_from is not None
    assert fork.dialogue.forked_from.node_id == tree.current_id
    assert [n.question for n in fork.nodes] == [n.question for n in tree.path(tree.current_id or 0)]


def _first_turn(talk: Talk, database: Database, dialogue_id: int) -> None:
    """A pasted fact, answers, an edited reasoning that is answered anew, and a picked question."""
    talk.press("i", "Fact")
    talk.type("Two of three visitors come by bus.")
    talk.page.get_by_role("textbox", name="Where it comes from").fill("Survey of 2024")
    talk.page.keyboard.press("Enter")
    expect(talk.page.get_by_text("Survey of 2024")).to_be_visible()
    talk.answer()
    expect(talk.page.locator("[class*=st-key-card_choice_]")).to_have_count(3)
    talk.press("e", "Edit")
    talk.page.locator("textarea:focus").wait_for()
    talk.page.keyboard.type(" You should also name who pays.")
    talk.page.keyboard.press("Control+Enter")
    expect(talk.button("Go on from the new answer")).to_be_visible(timeout=WAIT_MS)
    talk.press("p", "Go on from the new answer")
    expect(talk.page.get_by_text("Chosen answer")).to_be_visible()
    root = read(database, dialogue_id).nodes[0]
    assert "Survey of 2024" in root.context
    with database.read() as session:
        edited = session.get_one(ReasoningVariant, root.variant_id)
        assert edited.source == "edited"
        assert edited.text.endswith("name who pays.")
    talk.ask("2", "3")
    talk.press("p", "Take it")
    expect(talk.button("Have it answered")).to_be_visible()
    assert read(database, dialogue_id).nodes[-1].move == "deepen"


def _second_turn(talk: Talk, database: Database, dialogue_id: int) -> None:
    """A reload in the middle, then a rejected question with its reason, and a picked one."""
    talk.answer()
    before = talk.page.locator(".st-key-card_choice_0").inner_text()
    talk.page.reload()
    expect(talk.button("Choose")).to_be_visible()
    assert talk.page.locator(".st-key-card_choice_0").inner_text() == before
    talk.choose()
    talk.ask("2", "1")  # a reload forgets which moves were chosen: all three are on again
    talk.press("z", "Why")
    talk.page.locator("input:focus").wait_for()
    talk.page.keyboard.type("too vague")
    talk.page.keyboard.press("Enter")
    talk.page.evaluate("document.activeElement.blur()")
    n = len(kinds(database, dialogue_id))
    talk.press("n", "Reject")
    ready(talk.page, talk.page.get_by_text("rejected"))
    with database.read() as session:
        last = read_events(session, dialogue_id)[-1]
    assert (len(kinds(database, dialogue_id)), last.kind, last.reason) == (
        n + 1,
        "reject",
        "too vague",
    )
    if not talk.button("Take it").is_visible():  # the only one was rejected
        talk.press("l", "Other moves")
        talk.ask()
    talk.press("p", "Take it")
    expect(talk.button("Have it answered")).to_be_visible()
    assert read(database, dialogue_id).nodes[-1].move == "rebut"


def _third_turn(talk: Talk, database: Database, dialogue_id: int) -> None:
    """A question of the person's own in place of those proposed."""
    talk.answer()
    talk.choose()
    talk.ask("2", "3")
    talk.press("w", "Write my own")
    talk.type("Who was left out?")
    talk.page.keyboard.press("Control+Enter")
    expect(talk.button("Have it answered")).to_be_visible()
    last = read(database, dialogue_id).nodes[-1]
    assert (last.question, last.source, last.depth) == ("Who was left out?", "human", 3)


def _report(talk: Talk) -> dict[str, list[object]]:
    talk.page.locator("[role=radio]", has_text="More").click()
    link = talk.page.get_by_role("button", name="HTML")
    with talk.page.expect_download() as html:
        ready(talk.page, link).click()
    page = Path(html.value.path()).read_text("utf-8")
    assert "Who was left out?" in page
    assert "Survey of 2024" in page
    assert "<script" not in page
    with talk.page.expect_download() as told:
        ready(talk.page, talk.page.get_by_role("button", name="JSON")).click()
    found: dict[str, list[object]] = json.loads(Path(told.value.path()).read_text("utf-8"))
    return found


def _fork(talk: Talk, database: Database) -> int:
    ready(talk.page, talk.page.get_by_role("button", name="Fork", exact=True)).click()
    expect(talk.button("Have it answered")).to_be_visible()
    with database.read() as session:
        return max(one.id for one in list_dialogues(session))
