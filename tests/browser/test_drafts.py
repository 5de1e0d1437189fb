"""What is typed into a form survives Esc, a reload and a server that went away, in a browser."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.app.seed import seed_store
from tests.browser.conftest import Site, _new_store, ready
from tests.browser.server import app_server, free_port

pytestmark = pytest.mark.browser


def field(page: Page, label: str) -> Locator:
    return page.get_by_label(label, exact=True)


def expect_value(page: Page, label: str, value: str) -> None:
    """Wait until the one field called ``label`` holds ``value``; a page drawn anew has two."""
    page.wait_for_function(
        """([label, value]) => {
            const fields = [...document.querySelectorAll("input, textarea")];
            const named = fields.filter((one) => one.ariaLabel === label);
            return named.length === 1 && named[0].value === value;
        }""",
        arg=[label, value],
        timeout=30_000,
    )


def type_into(page: Page, label: str, text: str) -> None:
    """Type without leaving the field."""
    ready(page, field(page, label)).click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(text)


def test_letters_that_were_just_typed_into_a_sweep_survive_a_reload(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/sweeps?new=1")
    type_into(page, "Name of the sweep", "二つの役割 with no blur")
    page.reload()
    ready(page, page.get_by_text("Your draft was restored."))
    expect_value(page, "Name of the sweep", "二つの役割 with no blur")
    ready(page, page.get_by_role("button", name="Start afresh")).click()
    expect(page.get_by_text("Your draft was restored.")).not_to_be_visible()
    ready(page, page.locator("h1"))
    expect_value(page, "Name of the sweep", "New sweep")
    page.reload()
    ready(page, page.locator("h1"))
    expect_value(page, "Name of the sweep", "New sweep")


def test_esc_leaves_the_field_then_asks_and_keeps_the_form(page: Page, filled_site: Site) -> None:
    page.goto(f"{filled_site.url}/sweeps?new=1")
    type_into(page, "Name of the sweep", "kept by Esc")
    page.keyboard.press("Escape")
    expect(field(page, "Name of the sweep")).not_to_be_focused()
    ready(page, field(page, "Name of the sweep"))
    page.keyboard.press("Escape")
    leave = page.get_by_role("dialog")
    expect(leave.get_by_text("Leave this form?")).to_be_visible()
    ready(page, leave)
    page.keyboard.press("Escape")
    expect(leave).not_to_be_visible()
    expect_value(page, "Name of the sweep", "kept by Esc")
    ready(page, field(page, "Name of the sweep"))
    page.keyboard.press("Escape")
    ready(page, leave.get_by_role("button", name="Keep as a draft")).click()
    expect(field(page, "Name of the sweep")).not_to_be_visible()
    ready(page, page.get_by_role("button", name="New sweep")).first.click()
    expect_value(page, "Name of the sweep", "kept by Esc")


def test_numbers_and_lists_that_were_just_typed_are_read_back_as_such(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/sweeps?new=1")
    type_into(page, "Only these numbers", "q2, q3")
    page.reload()
    expect_value(page, "Only these numbers", "q2, q3")
    type_into(page, "Reasonings per question (k)", "17")
    page.reload()
    expect_value(page, "Reasonings per question (k)", "17")
    expect_value(page, "Only these numbers", "q2, q3")
    # More than the field can hold: it keeps what it had.
    type_into(page, "Reasonings per question (k)", "123456")
    page.reload()
    expect_value(page, "Reasonings per question (k)", "17")
    page.goto(f"{filled_site.url}/datasets?new=1")
    type_into(page, "Most per question", "5")
    page.reload()
    expect_value(page, "Most per question", "5")


def test_a_tab_overwrites_no_form_that_another_changed_since(page: Page, filled_site: Site) -> None:
    address = f"{filled_site.url}/sweeps?new=1"
    page.goto(address)
    type_into(page, "Name of the sweep", "older")
    page.keyboard.press("Tab")
    other = page.context.new_page()
    other.goto(address)
    expect_value(other, "Name of the sweep", "older")
    other.goto(f"{filled_site.url}/questions")
    ready(other, other.get_by_role("heading", name="Questions"))
    type_into(page, "Name of the sweep", "newer")
    page.keyboard.press("Tab")
    ready(page, field(page, "Name of the sweep"))
    ready(other, other.get_by_role("link", name="Explore")).click()
    ready(other, other.get_by_role("heading", name="Explore"))
    page.reload()
    expect_value(page, "Name of the sweep", "newer")
    come_back(other)
    ready(other, other.get_by_role("link", name="Sweeps")).click()
    ready(other, other.get_by_role("button", name="New sweep")).first.click()
    expect_value(other, "Name of the sweep", "newer")


def test_a_submitted_form_is_gone_in_other_tabs_but_not_what_they_hold_of_their_own(
    page: Page, filled_site: Site
) -> None:
    address = f"{filled_site.url}/dialogues?new=1&rater=Mika"
    page.goto(address)
    type_into(page, "Concept", "one")
    page.keyboard.press("Tab")
    ready(page, field(page, "Goal"))
    copy, own = page.context.new_page(), page.context.new_page()
    for other in (copy, own):
        other.goto(address)
        expect_value(other, "Concept", "one")
    type_into(own, "Concept", "another")
    own.keyboard.press("Tab")
    ready(own, field(own, "Goal"))
    type_into(page, "Goal", "to begin")
    ready(page, page.get_by_role("button", name="Begin", exact=True)).click()
    expect(page).to_have_url(re.compile(r"session=\d+"))
    ready(page, page.locator("h1"))
    come_back(copy)
    come_back(own)
    expect_value(copy, "Concept", "")
    expect_value(own, "Concept", "another")
    own.reload()
    expect_value(own, "Concept", "another")


def come_back(page: Page) -> None:
    """Do what a browser does as its tab is shown again."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(300)


def test_drafts_of_one_store_do_not_show_in_another_at_the_same_address(
    page: Page, tmp_path: Path
) -> None:
    port = free_port()
    for name, kept in (("one", ""), ("two", ""), ("one", "of store one")):
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        database = _new_store(home)
        with app_server(home, port) as url:
            page.goto(f"{url}/dialogues?new=1&rater=Mika")
            expect_value(page, "Concept", kept)
            type_into(page, "Concept", f"of store {name}")
        database.close()


def test_the_oldest_drafts_make_room_where_the_browser_would_be_full(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/questions")
    ready(page, page.get_by_role("heading", name="Questions"))
    page.evaluate(
        """() => {
            const store = {};
            for (let n = 0; n < 30; n++) {
                const values = {text: "x".repeat(100_000)};
                store[`other/${n}`] = {at: Date.now() - n * 1000, values, typed: {}};
            }
            store["other/expired"] = {at: 0, values: {text: "x"}, typed: {}};
            store["other/empty"] = {at: Date.now(), values: {}, typed: {}};
            localStorage.setItem("q2q.drafts", JSON.stringify(store));
        }"""
    )
    page.goto(f"{filled_site.url}/dialogues?new=1&rater=Mika")
    type_into(page, "Audience (optional)", "the newest")
    kept: dict[str, object] = page.evaluate("JSON.parse(localStorage.getItem('q2q.drafts'))")
    assert len([form for form in kept if form.endswith("/theme")]) == 1
    assert "other/0" in kept
    assert not {"other/29", "other/expired", "other/empty"} & set(kept)
    assert len(str(kept)) < 2_100_000


def test_esc_leaves_a_field_of_a_popover_then_closes_it_and_keeps_the_text(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/questions")
    ready(page, page.get_by_role("button", name="Select all")).click()
    ready(page, page.get_by_role("button", name="Tag")).click()
    popover = page.get_by_test_id("stPopoverBody")
    name = popover.locator("input").first
    ready(page, name).click()
    page.keyboard.type("teacher")
    page.keyboard.press("Escape")
    expect(name).not_to_be_focused()
    expect(popover).to_be_visible()
    page.keyboard.press("Escape")
    expect(popover).not_to_be_visible()
    ready(page, page.get_by_role("button", name="Tag")).click()
    expect(name).to_have_value("teacher")


def test_an_invalid_yaml_is_kept_as_it_was_typed(page: Page, filled_site: Site) -> None:
    page.goto(f"{filled_site.url}/datasets?new=1&as=yaml")
    rules = page.locator("textarea")
    ready(page, rules).click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("name: half\ntake: {rated: [")
    page.reload()
    expect(rules).to_have_value("name: half\ntake: {rated: [")


def test_a_question_that_is_being_written_survives_esc_and_a_reload(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/questions")
    ready(page, page.get_by_role("button", name="Add")).click()
    dialog = page.get_by_role("dialog")
    text = dialog.locator("textarea").first
    ready(page, text).click()
    page.keyboard.type("Why do lakes freeze from above?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    ready(page, dialog)
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    ready(page, page.get_by_role("button", name="Add")).click()
    expect(text).to_have_value("Why do lakes freeze from above?")
    page.reload()
    ready(page, page.get_by_role("button", name="Add")).click()
    expect(text).to_have_value("Why do lakes freeze from above?")
    ready(page, dialog.get_by_role("button", name="Save")).click()
    expect(page).to_have_url(re.compile(r"question=\d+"))
    ready(page, page.locator("h1"))
    page.goto(f"{filled_site.url}/questions")
    ready(page, page.get_by_role("button", name="Add")).click()
    expect(text).to_have_value("")


def test_a_theme_survives_a_server_that_went_away(page: Page, tmp_path: Path) -> None:
    database, port = _new_store(tmp_path), free_port()
    seed_store(database)
    with app_server(tmp_path, port) as url:
        page.goto(f"{url}/dialogues?new=1&rater=Mika")
        type_into(page, "Concept", "a town without cars")
        type_into(page, "Goal", "what it takes")
    expect(field(page, "Goal")).to_be_disabled()
    with app_server(tmp_path, port):
        page.reload()
        ready(page, page.get_by_text("Your draft was restored."))
        expect_value(page, "Concept", "a town without cars")
        expect_value(page, "Goal", "what it takes")
    database.close()


def test_the_language_holds_in_new_tabs_links_and_going_back(page: Page, filled_site: Site) -> None:
    page.goto(filled_site.url)
    ready(page, page.get_by_text("日本語", exact=True)).click()
    expect(page.get_by_role("link", name="質問").first).to_be_visible()
    other = page.context.new_page()
    other.goto(f"{filled_site.url}/questions")
    expect(other.get_by_role("heading", name="質問")).to_be_visible()
    expect(other).to_have_url(f"{filled_site.url}/questions?lang=ja")
    ready(other, other.locator('a[href*="/sweeps"]').first).click()
    expect(other).to_have_url(f"{filled_site.url}/sweeps?lang=ja")
    ready(other, other.get_by_role("heading", name="一括生成"))
    other.go_back()
    expect(other.get_by_role("heading", name="質問")).to_be_visible()
    other.go_back()
    expect(other).to_have_url("about:blank")
