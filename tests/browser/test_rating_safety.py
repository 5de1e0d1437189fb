"""The Rate page in real Chromium: hostile texts, Japanese input, stale and double presses."""

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import CDPSession, Page, expect
from playwright.sync_api import TimeoutError as TooLate
from sqlalchemy import func, select

from db.database import Database, open_database
from db.rating.ratings import active_ratings, ensure_rater
from db.store.migrate import upgrade
from db.tables import QueueItemState, Rater, Rating, ReasoningVariant
from tests.app.seed import seed_store
from tests.app.seed_hostile import HOSTILE, seed_hostile
from tests.browser.conftest import Site, ready
from tests.browser.server import app_server
from workbench.rating.queues import QueueSpec, build_queue, save_queue

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A store of hostile texts with three queues: pairs (1), single reasonings (2), a table (3)."""
    home = tmp_path_factory.mktemp("hostile")
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    upgrade(database)
    seeded = seed_store(database)
    seed_hostile(database, seeded)
    with database.write() as session:
        for way in ("pair", "single", "table"):
            spec = QueueSpec.model_validate(
                {"name": HOSTILE["markdown"][:150], "way": way, "leave_out": (), "repeat_share": 0}
            )
            save_queue(session, build_queue(session, spec))
        ensure_rater(session, "Aki")
    with app_server(home) as url:
        yield Site(url, database)
    database.close()


def open_desk(page: Page, site: Site, queue: int, rater: str) -> None:
    page.goto(f"{site.url}/rating?queue={queue}&rater={rater}")
    ready(page, page.get_by_role("button", name="Skip"))


def done(page: Page, n: int) -> None:
    expect(page.get_by_text(f"{n} of 24 cards")).to_be_visible()
    ready(page, page.get_by_role("button", name="Skip"))


def said(database: Database, rater: str) -> int:
    with database.read() as session:
        own = select(Rater.id).where(Rater.name == rater)
        query = active_ratings().where(Rating.rater_id.in_(own)).with_only_columns(func.count())
        return session.scalar(query) or 0


def test_hostile_texts_do_nothing_and_cards_can_be_rated(page: Page, site: Site) -> None:
    outside: list[str] = []
    page.on(
        "request",
        lambda request: (
            outside.append(request.url)
            if not request.url.startswith((site.url, "ws://127.0.0.1", "data:", "blob:"))
            else None
        ),
    )
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    open_desk(page, site, 1, "Mia")
    for number in range(12):
        assert page.locator("[data-testid='stMain'] iframe").count() == 0
        assert page.locator(".st-key-card_side_left img, .st-key-card_side_left a").count() == 0
        page.keyboard.press(("ArrowLeft", "ArrowRight", "t", "b")[number % 4])
        done(page, number + 1)
        assert page.evaluate("window.harmed") is None
    page.keyboard.press("d")
    ready(page, page.get_by_role("button", name="As plain text"))
    for number in range(12, 18):
        assert page.locator("[data-testid='stMain'] iframe").count() == 0
        assert page.locator("[data-testid='stMain'] img:not([alt$=icon])").count() == 0
        page.keyboard.press("t")
        done(page, number + 1)
        assert page.evaluate("window.harmed") is None
    assert (outside, dialogs) == ([], [])
    assert said(site.database, "Mia") == 18
    page.goto(f"{site.url}/rating?queue=1&rater=Mia&view=table")
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    assert page.evaluate("window.harmed") is None


def compose(page: Page, cdp: CDPSession, text: str) -> None:
    """Type ``text`` as an input method does, and confirm it with Enter."""
    for end in range(1, len(text) + 1):
        part = text[:end]
        cdp.send(
            "Input.imeSetComposition",
            {"text": part, "selectionStart": end, "selectionEnd": end},
        )
    # What Chromium sends for the Enter that the input method takes, and what Safari sends.
    for keys in ({"isComposing": True, "keyCode": 229}, {"isComposing": False, "keyCode": 229}):
        page.evaluate(
            """init => {
                let field = document.activeElement;
                while (field.shadowRoot?.activeElement) field = field.shadowRoot.activeElement;
                field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', code: 'Enter',
                    bubbles: true, composed: true, cancelable: true, ...init}));
            }""",
            keys,
        )
    cdp.send("Input.insertText", {"text": text})


def test_the_enter_of_a_japanese_conversion_submits_nothing(page: Page, site: Site) -> None:
    cdp = page.context.new_cdp_session(page)
    open_desk(page, site, 2, "Yui")
    page.keyboard.press("3")
    expect(page.get_by_role("button", name="3", exact=True).first).to_have_attribute(
        "aria-pressed", "true"
    )
    tags = page.get_by_role("combobox", name="Tags")
    ready(page, tags).click()
    compose(page, cdp, "浅い")
    page.wait_for_timeout(600)
    assert said(site.database, "Yui") == 0
    # Now Enter is meant: it takes the tag, and still does not submit the card.
    page.keyboard.press("Enter")
    expect(page.locator(".chip").get_by_text("浅い")).to_be_visible()
    assert said(site.database, "Yui") == 0
    page.keyboard.press("Escape")
    page.locator(".st-key-card_side_only").click(position={"x": 4, "y": 4})
    page.keyboard.press("Enter")
    expect(page.get_by_text("Without a value:")).to_be_visible()
    assert said(site.database, "Yui") == 0
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 24 cards")).to_be_visible()
    with site.database.read() as session:
        rows = session.scalars(active_ratings().where(Rating.axis == "tag")).all()
        assert [row.label for row in rows] == ["浅い"]
    assert said(site.database, "Yui") == 2


def test_japanese_input_in_an_edit_saves_nothing_until_it_is_asked_to(
    page: Page, site: Site
) -> None:
    cdp = page.context.new_cdp_session(page)
    open_desk(page, site, 1, "Ken")
    with site.database.read() as session:
        before = session.scalar(select(func.count()).select_from(ReasoningVariant))
    page.keyboard.press("w")
    field = page.get_by_role("textbox", name="After")
    expect(field).to_be_focused()
    compose(page, cdp, "まず結論を述べる")
    note = page.get_by_role("textbox", name="Why (may stay empty)")
    note.focus()
    compose(page, cdp, "理由")
    page.wait_for_timeout(600)
    expect(note).to_be_visible()
    with site.database.read() as session:
        assert session.scalar(select(func.count()).select_from(ReasoningVariant)) == before
    page.get_by_role("spinbutton", name="New answers").fill("0")
    field.focus()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("No answers yet.")).to_be_visible()
    with site.database.read() as session:
        own = session.scalars(
            select(ReasoningVariant).where(ReasoningVariant.source == "human")
        ).one()
    assert (own.text, own.note) == ("まず結論を述べる", "理由")


def test_a_held_key_a_double_click_and_a_press_on_an_old_page_count_once(
    page: Page, site: Site
) -> None:
    open_desk(page, site, 1, "Rio")
    for _ in range(20):  # without a release in between: the browser calls these repeats
        page.keyboard.down("ArrowLeft")
    page.keyboard.up("ArrowLeft")
    done(page, 1)
    page.get_by_role("button", name="Left is better").dblclick()
    done(page, 2)
    page.wait_for_timeout(500)
    assert said(site.database, "Rio") == 2
    other = page.context.new_page()
    open_desk(other, site, 1, "Rio")
    page.keyboard.press("ArrowRight")
    done(page, 3)
    # The other page still shows the card that was rated meanwhile.
    other.keyboard.press("t")
    expect(other.get_by_text("3 of 24 cards")).to_be_visible()
    expect(other.get_by_text("its card was judged otherwise")).to_be_visible()
    with site.database.read() as session:
        own = select(Rater.id).where(Rater.name == "Rio")
        rows = session.scalars(active_ratings().where(Rating.rater_id.in_(own))).all()
        open_cards = session.scalars(
            select(QueueItemState).where(
                QueueItemState.rater_id.in_(own), QueueItemState.state == "draft"
            )
        ).all()
    assert len(rows) == 3
    assert "tie" not in [row.outcome for row in rows]
    assert len(open_cards) == 1
    other.keyboard.press("u")
    expect(other.get_by_text("2 of 24 cards")).to_be_visible()
    assert said(site.database, "Rio") == 2


def test_a_table_is_filled_saved_and_corrected_in_the_browser(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/rating?queue=3&rater=Aki")
    grid = page.get_by_test_id("stDataFrame")
    ready(page, grid)
    fill(page, "4")
    ready(page, page.get_by_role("button", name="Save 1 changed rows")).click()
    expect(page.get_by_text("1 rows saved")).to_be_visible()
    assert said(site.database, "Aki") == 1
    page.reload()
    ready(page, grid)
    fill(page, "2")
    save = ready(page, page.get_by_role("button", name="Save 1 changed rows"))
    save.click()
    expect(page.get_by_text("1 rows saved")).to_be_visible()
    with site.database.read() as session:
        own = select(Rater.id).where(Rater.name == "Aki")
        rows = session.scalars(select(Rating).where(Rating.rater_id.in_(own))).all()
    assert [(row.axis, row.value, row.undoes_id is None) for row in rows] == [
        ("helpful_hint", 4.0, True),
        ("helpful_hint", None, False),
        ("helpful_hint", 2.0, True),
    ]


def fill(page: Page, value: str) -> None:
    """Type ``value`` into the first axis of the first line."""
    grid = page.get_by_test_id("stDataFrame")
    editor = page.locator(".gdg-input, .gdg-growing-entry input").first
    for _ in range(4):  # a grid that is being drawn anew loses the click
        box = grid.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 150, box["y"] + 75)
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        page.keyboard.type(value)
        with contextlib.suppress(TooLate):
            editor.wait_for(timeout=5_000)
            break
    expect(editor).to_be_visible()
    page.keyboard.press("Enter")
