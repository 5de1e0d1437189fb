"""The results matrix in a real browser: read, rated by key, compared, scrolled, found again."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from db.database import open_database
from db.store.migrate import upgrade
from db.tables import Rating, ReasoningVariant
from serving.correctness.store import grade_answers
from tests.app.seed import seed_running_job
from tests.app.seed_matrix import seed_matrix
from tests.browser.conftest import Site
from tests.browser.server import app_server
from tests.store_rows import make_answer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def matrix_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("matrix")
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    upgrade(database)
    seed_matrix(database)
    with app_server(home) as url:
        yield Site(url, database)
    database.close()


def opened(page: Page, site: Site, more: str = "") -> None:
    page.goto(f"{site.url}/sweeps?sweep=1&view=matrix&rater=Aki{more}")
    page.locator(".matrix[data-state=whole]").wait_for()
    expect(page.locator(".row").first).to_contain_text("A baker sells 24 rolls")


def test_a_matrix_is_read_rated_and_compared_by_key(page: Page, matrix_site: Site) -> None:
    opened(page, matrix_site)
    expect(page.locator(".level", has_text="assistant")).to_have_count(1)
    expect(page.locator(".total .bar").first).to_contain_text("%")
    grid = page.locator(".scroller")
    grid.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    drawer = page.locator(".drawer")
    expect(drawer).to_contain_text("A ticket costs 12 euros")
    expect(drawer.locator(".entry")).to_have_count(4)
    expect(page).to_have_url(re.compile("cell=2"))
    grid.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("N")
    expect(drawer.locator(".entry").nth(1).locator(".own.no")).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(page).to_have_url(re.compile("view=matrix"))  # the key closed the cell, not the page
    page.keyboard.press("Y")
    expect(page.locator(".cell.active .own.yes")).to_be_visible()
    page.wait_for_timeout(1500)
    with matrix_site.database.read() as session:
        rated = session.scalars(select(Rating).where(Rating.sampler == "matrix")).all()
    assert sorted(one.value or 0 for one in rated) == [0.0, 1.0]

    page.locator(".compare").nth(0).click()
    expect(page.locator(".compare", has_text="before")).to_be_visible()
    page.locator(".compare").nth(3).click()
    expect(page.locator(".row").first.locator(".cell")).to_have_count(3)
    expect(page.get_by_text("correct answers")).to_be_visible()
    page.reload()
    expect(page.locator(".row").first.locator(".cell")).to_have_count(3)
    expect(page.locator("ins").first).to_be_visible()
    page.get_by_role("button", name="All columns again").click()
    expect(page.locator(".row").first.locator(".cell")).to_have_count(8)


def test_keys_work_on_after_a_press_on_a_text_or_a_button_of_an_open_cell(
    page: Page, matrix_site: Site
) -> None:
    opened(page, matrix_site, "&find=baker")
    page.locator(".cell").first.click()
    entries = page.locator(".drawer .entry")
    entries.nth(1).click()
    page.keyboard.press("N")
    expect(entries.nth(1).locator(".own.no")).to_be_visible()
    page.locator(".drawer").get_by_role("button", name="good").click()
    expect(entries.nth(1).locator(".own.yes")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(entries.nth(2)).to_have_attribute("aria-current", "true")
    page.keyboard.press("Escape")
    expect(page.locator(".drawer")).to_have_count(0)
    expect(page).to_have_url(re.compile("view=matrix"))


def test_back_takes_one_step_for_what_one_press_changed(page: Page, matrix_site: Site) -> None:
    opened(page, matrix_site, "&find=baker")
    page.locator(".cell").first.click()
    expect(page).to_have_url(re.compile("cell=.*col=|col=.*cell="))
    expect(page.locator(".drawer")).to_have_count(1)
    page.go_back()
    expect(page).not_to_have_url(re.compile("cell=|col="))
    expect(page.locator(".drawer")).to_have_count(0)


def test_a_reasoning_is_edited_and_columns_are_regrouped_without_leaving(
    page: Page, matrix_site: Site
) -> None:
    opened(page, matrix_site)
    page.locator(".scroller").focus()
    page.keyboard.press("E")
    dialog = page.get_by_role("dialog", name="Edit a reasoning")
    expect(dialog.get_by_text("A baker sells 24 rolls")).to_be_visible()
    dialog.get_by_role("textbox", name="After").fill("You should draw the rolls first.")
    page.keyboard.press("Control+Enter")
    expect(page).to_have_url(re.compile("edited="))
    with matrix_site.database.read() as session:
        newest = select(ReasoningVariant).order_by(ReasoningVariant.id.desc()).limit(1)
        edited = session.scalars(newest).one()
        assert (edited.text, edited.source) == ("You should draw the rolls first.", "edited")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Model").click()
    expect(page.locator(".level", has_text="base-14b")).to_have_count(1)
    expect(page).to_have_url(re.compile("by=model&by=role"))


def test_the_last_row_is_a_key_away_and_the_address_leads_back(
    page: Page, matrix_site: Site
) -> None:
    opened(page, matrix_site)
    page.locator(".scroller").focus()
    page.keyboard.press("End")
    expect(page.locator(".row", has_text="Why do leaves change")).to_be_visible()
    expect(page).to_have_url(re.compile(r"row=\d"))
    page.reload()
    expect(page.locator(".row", has_text="Why do leaves change")).to_be_visible()


def test_a_narrow_screen_reads_one_cell_over_the_whole(phone: Page, matrix_site: Site) -> None:
    opened(phone, matrix_site)
    phone.locator(".cell").first.click()
    expect(phone.locator(".drawer .entry")).to_have_count(4)
    width = phone.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def test_cells_of_many_answers_end_within_their_row_on_a_narrow_screen(
    phone: Page, matrix_site: Site
) -> None:
    opened(phone, matrix_site, "&by=model&by=temperature")
    many = phone.locator(".cell:has(.group:nth-child(4))")
    expect(many.first).to_be_attached()
    ends = "e => e.getBoundingClientRect().bottom"
    parts = (
        "e => Math.min(...[...e.querySelectorAll('.group, .foot')].map(one => one.offsetHeight))"
    )
    for cell in many.all():
        assert cell.locator(".foot").evaluate(ends) < cell.evaluate(ends)
        assert cell.evaluate(parts) > 15


def test_texts_and_grades_come_into_view_while_the_sweep_runs(
    page: Page, matrix_site: Site
) -> None:
    seed_running_job(matrix_site.database, 1)
    opened(page, matrix_site, "&by=model&find=baker")
    first = page.locator(".cell").first
    expect(first).to_contain_text("16 answers")
    with matrix_site.database.write() as session:
        make_answer(session, 1, None, "The answer is 36.", sweep_id=1, model_version_id=1)
    grade_answers(matrix_site.database, [1])
    expect(first).to_contain_text("17 answers")
    expect(page.locator(".total").first).to_contain_text("17 answers")
