"""Forms of the Rate pages in real Chromium: nothing typed is lost to Esc, reload or an outage."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as TooLate
from sqlalchemy import select

from db.database import Database, open_database
from db.rating.ratings import active_ratings, ensure_rater
from db.store.migrate import upgrade
from db.tables import Rater, Rating, RatingQueue, ReasoningVariant
from tests.app.seed import seed_store
from tests.browser.conftest import Site, ready
from tests.browser.server import app_server, free_port
from tests.browser.test_rating_safety import fill
from workbench.rating.queues import QueueSpec, build_queue, save_queue

pytestmark = pytest.mark.browser


def make_store(home: Path) -> Database:
    """Queues of pairs (1) and of a table (2) of reasonings."""
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    upgrade(database)
    seed_store(database)
    with database.write() as session:
        for way in ("pair", "table"):
            spec = QueueSpec.model_validate(
                {"name": way, "way": way, "leave_out": (), "repeat_share": 0, "overlap": 20}
            )
            save_queue(session, build_queue(session, spec))
        ensure_rater(session, "Aki")
    return database


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("forms")
    database = make_store(home)
    with app_server(home) as url:
        yield Site(url, database)
    database.close()


def open_edit(page: Page, url: str, key: str, rater: str = "Aki") -> None:
    page.goto(f"{url}/rating?queue=1&rater={rater}")
    ready(page, page.get_by_role("button", name="Skip"))
    page.keyboard.press(key)
    expect(page.get_by_role("textbox", name="After")).to_be_focused()


def test_an_edited_reasoning_and_its_note_survive_esc_and_a_reload(page: Page, site: Site) -> None:
    open_edit(page, site.url, "e")
    text, note = (
        page.get_by_role("textbox", name="After"),
        page.get_by_role("textbox", name="Why (may stay empty)"),
    )
    before = text.input_value()
    page.keyboard.type(" You should doubt. e w s")
    changed = f"{before} You should doubt. e w s"
    page.keyboard.press("Escape")
    expect(text).not_to_be_focused()
    expect(text).to_have_value(changed)
    note.click()
    page.keyboard.type("too sure")
    page.reload()
    expect(text).to_have_value(changed)
    expect(note).to_have_value("too sure")
    ready(page, page.get_by_role("button", name="Save and answer"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Edit a reasoning")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    ready(page, page.get_by_role("button", name="Skip"))
    page.keyboard.press("e")
    expect(text).to_have_value(changed)
    expect(note).to_have_value("too sure")
    page.get_by_role("spinbutton", name="New answers").fill("0")
    text.focus()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("No answers yet.")).to_be_visible()
    with site.database.read() as session:
        edited = session.scalars(
            select(ReasoningVariant).where(ReasoningVariant.source == "edited")
        ).one()
    assert (edited.text, edited.note) == (changed, "too sure")
    open_edit(page, site.url, "e")
    expect(text).to_have_value(before)
    expect(note).to_have_value("")


def test_a_reasoning_in_progress_outlives_the_server(page: Page, tmp_path: Path) -> None:
    database = make_store(tmp_path)
    port = free_port()
    with app_server(tmp_path, port) as url:
        open_edit(page, url, "w")
        page.keyboard.type("You should begin with an example.")
    text = page.get_by_role("textbox", name="After")
    expect(text).to_be_disabled()  # without a server nobody types into the void
    with app_server(tmp_path, port):
        expect(text).to_be_enabled()
        ready(page, page.get_by_role("button", name="Save and answer"))
        expect(text).to_have_value("You should begin with an example.")
        saved = page.get_by_text("Answers are being written.")
        for _ in range(12):  # a server that has just started knows no form before its first run
            text.focus()
            page.keyboard.press("Control+Enter")
            with contextlib.suppress(TooLate):
                saved.wait_for(timeout=2_500)
                break
    with database.read() as session:
        own = session.scalars(
            select(ReasoningVariant).where(ReasoningVariant.source == "human")
        ).one()
    assert own.text == "You should begin with an example."
    database.close()


def test_a_new_queue_in_progress_survives_esc_and_a_reload(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/rating?new=1&rater=Aki")
    search = page.get_by_role("searchbox", name="Holding these words")
    ready(page, search).click()
    page.keyboard.type("lighthouse")
    page.keyboard.press("Escape")
    expect(search).to_have_value("lighthouse")
    ready(page, page.get_by_role("radio", name="one at a time")).click(force=True)
    expect(page.get_by_role("radio", name="one at a time")).to_be_checked()
    ready(page, page.get_by_role("button", name="Start rating"))
    page.reload()
    expect(search).to_have_value("lighthouse")
    expect(page.get_by_role("radio", name="one at a time")).to_be_checked()
    ready(page, page.get_by_role("button", name="Start rating"))
    page.keyboard.press("Escape")
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    expect(page.get_by_role("heading", name="Rating", exact=True)).to_be_visible()
    page.goto(f"{site.url}/rating?new=1&rater=Aki")
    expect(search).to_have_value("lighthouse")
    ready(page, page.get_by_role("button", name="Start rating")).click()
    ready(page, page.get_by_role("button", name="Skip"))
    with site.database.read() as session:
        newest = session.scalars(select(RatingQueue).order_by(RatingQueue.id.desc())).first()
    assert newest is not None
    assert (newest.way, newest.spec["search"]) == ("single", "lighthouse")


def test_cells_that_are_not_saved_survive_esc_and_a_reload(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/rating?queue=2&rater=Aki")
    ready(page, page.get_by_test_id("stDataFrame"))
    fill(page, "4")
    save = page.get_by_role("button", name="Save 1 changed rows")
    ready(page, save)
    page.reload()
    ready(page, save)
    page.mouse.click(2, 2)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    expect(page.get_by_role("heading", name="Rating", exact=True)).to_be_visible()
    page.goto(f"{site.url}/rating?queue=2&rater=Aki")
    ready(page, save).click()
    expect(page.get_by_text("1 rows saved")).to_be_visible()
    ready(page, page.get_by_role("button", name="Save 0 changed rows"))
    page.reload()
    ready(page, page.get_by_role("button", name="Save 0 changed rows"))
    with site.database.read() as session:
        rows = session.scalars(active_ratings().where(Rating.sampler == "table")).all()
    assert [(row.axis, row.value) for row in rows] == [("helpful_hint", 4.0)]


def test_cells_that_are_not_saved_survive_turning_the_page(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/rating?queue=2&rater=Ben")
    ready(page, page.get_by_test_id("stDataFrame"))
    fill(page, "5")
    one_changed = page.get_by_role("button", name="Save 1 changed rows")
    for turn in ("Next page", "Previous page"):
        ready(page, one_changed)
        page.get_by_role("button", name=turn).click()
        ready(page, page.get_by_role("button", name=turn).and_(page.locator(":disabled")))
        if turn == "Next page":
            ready(page, page.get_by_role("button", name="Save 0 changed rows"))
            fill(page, "2")
    ready(page, one_changed).click()
    expect(page.get_by_text("1 rows saved")).to_be_visible()
    ready(page, page.get_by_role("button", name="Next page")).click()
    ready(page, one_changed).click()
    ready(page, page.get_by_role("button", name="Save 0 changed rows"))
    assert [value for _, value in table_ratings(site.database, "Ben")] == [5.0, 2.0]


def test_what_is_chosen_in_a_cell_means_the_same_in_another_language(
    page: Page, site: Site
) -> None:
    page.goto(f"{site.url}/rating?queue=2&rater=Chi")
    ready(page, page.get_by_test_id("stDataFrame"))
    fill(page, "3")
    ready(page, page.get_by_role("button", name="Save 1 changed rows"))
    choose_ok(page)
    ready(page, page.get_by_text("日本語", exact=True)).click()
    ready(page, page.get_by_role("button", name="変更した 1 行を保存")).click()
    ready(page, page.get_by_role("button", name="変更した 0 行を保存"))
    assert ("ok", 1.0) in table_ratings(site.database, "Chi")


def choose_ok(page: Page) -> None:
    """Choose OK in the first row, whose first axis has the cursor or had it last."""
    grid = page.get_by_test_id("stDataFrame")
    options = page.get_by_role("option")
    for _ in range(4):  # a grid that is being drawn anew loses the click
        box = grid.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 150, box["y"] + 75)
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")  # the last column holds tags
        page.keyboard.press("Enter")
        with contextlib.suppress(TooLate):
            options.first.wait_for(timeout=5_000)
            break
    options.filter(has_text=re.compile("^OK$")).click()
    expect(options).to_have_count(0)


def table_ratings(database: Database, rater: str) -> list[tuple[str, float | None]]:
    with database.read() as session:
        own = select(Rater.id).where(Rater.name == rater)
        query = active_ratings().where(Rating.rater_id.in_(own)).order_by(Rating.id)
        return [(row.axis, row.value) for row in session.scalars(query)]
