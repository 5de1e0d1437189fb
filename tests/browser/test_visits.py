"""What visitors do, in a real browser on the real server."""

import re
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from db.jobs import active_jobs
from tests.browser.conftest import Site, ready
from workbench.rating.queues import QueueSpec, build_queue, save_queue

pytestmark = pytest.mark.browser
NIGHT = "rgb(20, 24, 29)"


def test_a_first_visit_leads_from_nothing_to_a_queued_sweep(page: Page, fresh_site: Site) -> None:
    page.goto(fresh_site.url)
    expect(page.get_by_text("Reading the weights.")).to_be_visible()
    ready(page, page.get_by_role("button", name="Import the examples")).click()
    ready(page, page.get_by_role("button", name="Start the first sweep")).click()
    expect(page.get_by_text("No texts yet")).to_be_visible()
    with fresh_site.database.read() as session:
        (job,) = active_jobs(session)
    assert (job.kind, job.state) == ("sweep", "queued")
    assert f"sweep={job.sweep_id}" in page.url


def test_japanese_words_are_found_and_stay_in_the_address(page: Page, filled_site: Site) -> None:
    page.goto(f"{filled_site.url}/questions")
    box = page.get_by_placeholder("Search in questions and contexts, in any language")
    ready(page, box).fill("電話")
    box.press("Enter")
    expect(page.get_by_text("1 question", exact=True)).to_be_visible()
    expect(page.get_by_text("電車の中で電話をかける")).to_be_visible()
    page.reload()
    expect(page.get_by_text("1 question", exact=True)).to_be_visible()
    expect(box).to_have_value("電話")


def test_language_theme_and_name_hold_over_pages_reloads_and_tabs(
    page: Page, filled_site: Site
) -> None:
    page.goto(filled_site.url)
    ready(page, page.get_by_text("日本語", exact=True)).click()
    ready(page, page.get_by_role("link", name="対話")).click()
    expect(page.get_by_role("heading", name="対話")).to_be_visible()
    expect(page).to_have_url(re.compile("lang=ja"))
    ready(page, page.get_by_role("textbox", name="お名前")).fill("岡 Zoë")
    page.get_by_role("button", name="これで始める").first.click()
    expect(page.get_by_text("岡 Zoë")).to_be_visible()
    ready(page, page.get_by_role("radio", name="暗")).click()
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", NIGHT)
    expect(page.get_by_text("岡 Zoë")).to_be_visible()
    tab = page.context.new_page()
    tab.goto(f"{filled_site.url}/rating")
    expect(tab.get_by_text("岡 Zoë").first).to_be_visible()
    expect(tab.get_by_role("heading", name="評価")).to_be_visible()
    expect(tab.get_by_test_id("stApp")).to_have_css("background-color", NIGHT)


def test_arrow_keys_turn_the_pages_and_a_reload_keeps_the_place(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/sweeps?sweep=1&view=cards")
    expect(page.get_by_text("Question 1 of 8")).to_be_visible()
    ready(page, page.get_by_role("button", name="Next"))
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("Question 2 of 8")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Question 2 of 8")).to_be_visible()
    expect(page.get_by_text("電車の中で電話をかける")).to_be_visible()


def test_a_text_opens_the_panel_of_its_origin(page: Page, filled_site: Site) -> None:
    page.goto(f"{filled_site.url}/sweeps?sweep=1&view=cards")
    ready(page, page.get_by_role("button", name="Origin").first).click()
    expect(page.get_by_role("dialog").get_by_text("sha256:5f2c9be0a4d1")).to_be_visible()


@pytest.mark.parametrize("path", ["", "questions", "questions?question=1", "sweeps?sweep=1"])
def test_nothing_is_wider_than_a_narrow_screen(phone: Page, filled_site: Site, path: str) -> None:
    phone.goto(f"{filled_site.url}/{path}")
    expect(phone.locator("h1").first).to_be_visible()
    main = phone.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth") <= 390


def test_going_back_three_times_shows_what_each_address_names(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/sweeps?sweep=1&view=cards")
    expect(page.get_by_text("Question 1 of 8")).to_be_visible()
    for number in (2, 3, 4):
        ready(page, page.get_by_role("button", name="Next"))
        page.keyboard.press("ArrowRight")
        expect(page.get_by_text(f"Question {number} of 8")).to_be_visible()
    for number in (3, 2, 1):
        page.go_back()
        expect(page.get_by_text(f"Question {number} of 8")).to_be_visible()
        ready(page, page.locator("h1"))
    page.go_forward()
    expect(page.get_by_text("Question 2 of 8")).to_be_visible()


def test_going_back_in_explore_leads_over_the_views_to_the_list(
    page: Page, filled_site: Site
) -> None:
    page.goto(f"{filled_site.url}/explore")
    ready(page, page.get_by_role("button", name="You should separate").first).click()
    expect(page.get_by_role("heading", name=re.compile("Reasoning v"))).to_be_visible()
    page.goto(f"{filled_site.url}/explore?id=v1&with=v2")
    ready(page, page.get_by_text("Plain", exact=True)).click()
    expect(page.get_by_text("Red: only in v1.")).not_to_be_visible()
    page.go_back()
    expect(page.get_by_text("Red: only in v1.")).to_be_visible()
    ready(page, page.locator("h1"))
    page.go_back()
    expect(page.get_by_role("heading", name=re.compile("Reasoning v"))).to_be_visible()
    ready(page, page.locator("h1"))
    page.go_back()
    expect(page.get_by_role("heading", name="Explore")).to_be_visible()


def test_the_slash_leads_to_a_box_that_searches_everything(page: Page, filled_site: Site) -> None:
    page.goto(f"{filled_site.url}/questions?lang=en")
    box = page.get_by_placeholder("Search or id ( / )")
    ready(page, box)
    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_value("")
    page.keyboard.type("電話")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Search")).to_be_visible()
    expect(page).to_have_title("Search · Q2Q Workbench")
    ready(page, page.get_by_role("link", name="電車の中で電話をかける").first).click()
    expect(page).to_have_title("q2 · Q2Q Workbench")
    ready(page, box)
    page.keyboard.press("/")
    page.keyboard.type("V1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Reasoning v1")).to_be_visible()
    for typed in ("Sweep 1", "一括生成１"):
        page.goto(f"{filled_site.url}/questions?lang=en")
        ready(page, box)
        page.keyboard.press("/")
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
        page.wait_for_url("**/sweeps?sweep=1*")


def test_the_menu_leaves_the_view_to_what_was_sought_on_a_narrow_screen(
    phone: Page, filled_site: Site
) -> None:
    phone.goto(f"{filled_site.url}/questions?lang=en")
    ready(phone, phone.get_by_test_id("stExpandSidebarButton"))
    phone.wait_for_function("window.__q2qSearch?.listens")
    phone.keyboard.press("/")
    expect(phone.get_by_placeholder("Search or id ( / )")).to_be_focused()
    phone.keyboard.type("sweep 1")
    phone.keyboard.press("Enter")
    phone.wait_for_url("**/sweeps?sweep=1*")
    expect(phone.get_by_test_id("stExpandSidebarButton")).to_be_visible()
    expect(phone.get_by_placeholder("Search or id ( / )")).not_to_be_in_viewport()


def test_folded_guidelines_stay_folded_in_new_tabs_until_they_say_something_else(
    page: Page, filled_site: Site
) -> None:
    def queue(guidelines: str) -> str:
        given = {"name": "team", "scope": "answer", "leave_out": (), "guidelines": guidelines}
        with filled_site.database.write() as session:
            spec = QueueSpec.model_validate(given)
            made = save_queue(session, build_queue(session, spec))
        return f"{filled_site.url}/rating?queue={made}&rater=Ada"

    first = queue("Prefer **hints** to facts.")
    page.goto(first)
    expect(page.get_by_text("Prefer hints to facts.")).to_be_visible()
    ready(page, page.get_by_text("Guidelines", exact=True)).click()
    expect(page.get_by_text("Prefer hints to facts.")).to_be_hidden()
    ready(page, page.get_by_role("button", name="Skip"))
    tab = page.context.new_page()
    tab.goto(first)
    ready(tab, tab.get_by_role("button", name="Skip"))
    expect(tab.get_by_text("Guidelines", exact=True)).to_be_visible()
    expect(tab.get_by_text("Prefer hints to facts.")).to_be_hidden()
    tab.goto(queue("Prefer facts."))
    expect(tab.get_by_text("Prefer facts.")).to_be_visible()


CONTRAST = """box => {
    const grounds = [];
    for (let node = box; node; node = node.parentElement) {
        grounds.unshift(getComputedStyle(node).backgroundColor);
    }
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const over = (colours) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const both = [over(grounds), over([...grounds, getComputedStyle(box).borderTopColor])];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}"""
"""How far the border of a box stands out from its ground, as WCAG 2.2 defines it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_box_that_is_not_ticked_is_seen(
    browser: Browser, filled_site: Site, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(color_scheme=scheme, locale="en-US")
    page = context.new_page()
    page.goto(f"{filled_site.url}/questions")
    box = page.locator("[data-testid=stCheckbox] label > span + div").first
    box.wait_for()
    assert box.evaluate(CONTRAST) >= 3
    context.close()
