"""Rating by key in real Chromium: however fast, through reloads and lost connections."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from db.database import Database, open_database
from db.rating.ratings import active_ratings
from db.store.migrate import upgrade
from db.tables import QueueItem, QueueItemState, Rater, Rating
from tests.app.seed import seed_store
from tests.browser.conftest import Site, ready
from tests.browser.server import app_server, free_port
from workbench.rating.queues import QueueSpec, build_queue, save_queue

pytestmark = pytest.mark.browser

PAIRS, SINGLE, REPEATED = 1, 2, 3
AXES = ("correct", "complete", "well_written")
N_CARDS = 24
KEY_MS = 50


def make_store(home: Path) -> Database:
    """Queues of pairs of reasonings (1), of single answers (2), of pairs with repeats (3)."""
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    upgrade(database)
    seed_store(database)
    with database.write() as session:
        for scope, way, repeat_share in (
            ("reasoning", "pair", 0),
            ("answer", "single", 0),
            ("reasoning", "pair", 0.5),
        ):
            spec = QueueSpec.model_validate(
                {
                    "name": f"{scope} {way}",
                    "scope": scope,
                    "way": way,
                    "leave_out": (),
                    "overlap": 20,
                    "limit": N_CARDS,
                    "repeat_share": repeat_share,
                }
            )
            save_queue(session, build_queue(session, spec))
    return database


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("keys")
    database = make_store(home)
    with app_server(home) as url:
        yield Site(url, database)
    database.close()


def open_card(page: Page, url: str, queue: int, rater: str) -> None:
    page.goto(f"{url}/rating?queue={queue}&rater={rater}")
    ready(page, page.get_by_role("button", name="Skip"))


def done(page: Page, n: int, total: int = N_CARDS) -> None:
    expect(page.get_by_text(f"{n} of {total} cards")).to_be_visible()


def rows(database: Database, rater: str) -> list[Rating]:
    with database.read() as session:
        own = select(Rater.id).where(Rater.name == rater)
        query = active_ratings().where(Rating.rater_id.in_(own)).order_by(Rating.id)
        return list(session.scalars(query))


def cards(database: Database, rater: str) -> list[dict[str, Any]]:
    """Return what holds of each card rated, in the order rated: axis or kind → value."""
    found: dict[int | None, dict[str, Any]] = {}
    for row in rows(database, rater):
        value = next(v for v in (row.value, row.outcome, row.label) if v is not None)
        found.setdefault(row.queue_item_id, {})[row.axis] = value
    return list(found.values())


def type_keys(page: Page, keys: list[str]) -> None:
    for key in keys:
        page.keyboard.press(key, delay=0)
        page.wait_for_timeout(KEY_MS)


def judgements(n: int, seed: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the keys of ``n`` cards, and what they say of each."""
    lot = random.Random(seed)
    keys: list[str] = []
    said: list[dict[str, Any]] = []
    for _ in range(n):
        values = [lot.randint(1, 5) for _ in AXES]
        ok = lot.randint(0, 1)
        keys += [*map(str, values), "y" if ok else "n", "Enter"]
        said.append({**dict(zip(AXES, values, strict=True)), "ok": ok})
    return keys, said


def test_three_axes_of_twenty_cards_typed_at_fifty_milliseconds_are_stored_as_typed(
    page: Page, site: Site
) -> None:
    open_card(page, site.url, SINGLE, "Aki")
    keys, said = judgements(20, seed=1)
    type_keys(page, keys)
    done(page, 20)
    assert cards(site.database, "Aki") == said
    assert all(
        row.seconds is not None and 0 <= row.seconds < 60 for row in rows(site.database, "Aki")
    )
    assert len(rows(site.database, "Aki")) == 20 * 4


def test_pairs_typed_at_fifty_milliseconds_are_stored_as_typed(page: Page, site: Site) -> None:
    open_card(page, site.url, PAIRS, "Ben")
    lot = random.Random(2)
    keys = [lot.choice(("ArrowLeft", "ArrowRight", "t", "b")) for _ in range(N_CARDS)]
    type_keys(page, keys)
    expect(page.get_by_text("All cards are rated")).to_be_visible()
    places = {"ArrowLeft": "left", "ArrowRight": "right", "t": "tie", "b": "both_bad"}
    said = []
    for row in rows(site.database, "Ben"):
        as_shown = {"a": "right", "b": "left"} if row.swapped else {"a": "left", "b": "right"}
        said.append(as_shown.get(row.outcome or "", row.outcome))
    assert said == [places[key] for key in keys]


def test_an_axis_left_empty_is_marked_and_asked_for_once(page: Page, site: Site) -> None:
    open_card(page, site.url, SINGLE, "Chi")
    type_keys(page, ["2", "4", "Enter"])
    asks = page.get_by_text("Without a value: Well written")
    expect(asks).to_be_visible()
    expect(page.locator(".row.missing")).to_have_count(1)
    assert rows(site.database, "Chi") == []
    type_keys(page, ["5", "y", "Enter"])
    done(page, 1)
    type_keys(page, ["3", "Enter"])
    expect(page.get_by_text("Without a value: Complete, Well written")).to_be_visible()
    type_keys(page, ["Enter"])
    done(page, 2)
    # Nothing at all is no judgement, however often it is submitted.
    type_keys(page, ["Enter", "Enter", "Enter"])
    expect(page.get_by_text("Nothing is entered on this card yet")).to_be_visible()
    assert cards(site.database, "Chi") == [
        {**dict(zip(AXES, (2, 4, 5), strict=True)), "ok": 1},
        {"correct": 3},
    ]


def test_backspace_takes_back_the_last_value_and_then_the_last_card(page: Page, site: Site) -> None:
    open_card(page, site.url, SINGLE, "Dai")
    type_keys(page, ["1", "2", "Backspace", "3", "4", "n", "Enter"])
    done(page, 1)
    assert cards(site.database, "Dai") == [{**dict(zip(AXES, (1, 3, 4), strict=True)), "ok": 0}]
    type_keys(page, ["5", "Backspace", "Backspace"])
    done(page, 0)
    expect(page.locator(".value.chosen")).to_have_text(["1", "3", "4", "Not OKN"])
    type_keys(page, ["Backspace", "y", "Enter"])
    done(page, 1)
    assert cards(site.database, "Dai") == [{**dict(zip(AXES, (1, 3, 4), strict=True)), "ok": 1}]


def test_a_card_in_progress_survives_esc_a_reload_and_another_tab(page: Page, site: Site) -> None:
    open_card(page, site.url, SINGLE, "Emi")
    type_keys(page, ["2", "4", "g"])
    expect(page.get_by_role("combobox", name="Tags")).to_be_focused()
    page.keyboard.type("shallow, 5 y")  # letters and digits of a tag are no keys
    page.keyboard.press("Enter")
    page.keyboard.type("unfinished")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.keyboard.type("ends too early")

    def is_there(one: Page) -> None:
        expect(one.locator(".value.chosen")).to_have_text(["2", "4"])
        expect(one.locator(".chip")).to_contain_text(["shallow, 5 y", "unfinished"])
        expect(one.get_by_role("textbox", name="Note")).to_have_value("ends too early")

    is_there(page)
    page.reload()
    is_there(page)
    page.keyboard.press("c")
    page.keyboard.press("Escape")
    expect(page.get_by_role("textbox", name="Note")).not_to_be_focused()
    is_there(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Rating", exact=True)).to_be_visible()
    page.go_back()
    is_there(page)
    page.wait_for_timeout(2_000)
    other = page.context.new_page()
    open_card(other, site.url, SINGLE, "Emi")
    is_there(other)
    type_keys(other, ["5", "y", "Enter"])
    done(other, 1)
    (card,) = cards(site.database, "Emi")
    assert {axis: card[axis] for axis in AXES} == dict(zip(AXES, (2, 4, 5), strict=True))
    found = rows(site.database, "Emi")
    assert [row.label for row in found if row.label] == ["shallow, 5 y", "unfinished"]
    assert {row.note for row in found} == {"ends too early"}


def test_keys_typed_while_the_server_is_away_are_all_stored_once(
    page: Page, tmp_path: Path
) -> None:
    database = make_store(tmp_path)
    port = free_port()
    keys, said = judgements(8, seed=3)
    with app_server(tmp_path, port) as url:
        open_card(page, url, SINGLE, "Fuji")
        type_keys(page, keys[:8])
    type_keys(page, keys[8:23])
    expect(page.get_by_text("Waiting for the server.")).to_be_visible()
    with app_server(tmp_path, port):
        done(page, 4)
        type_keys(page, keys[23:])
        done(page, 8)
    assert cards(database, "Fuji") == said
    assert len(rows(database, "Fuji")) == 8 * 4
    database.close()


def test_a_judgement_that_the_server_did_not_get_survives_a_reload(
    page: Page, tmp_path: Path
) -> None:
    database = make_store(tmp_path)
    port = free_port()
    with app_server(tmp_path, port) as url:
        open_card(page, url, PAIRS, "Gen")
        type_keys(page, ["ArrowLeft"])
        done(page, 1)
    type_keys(page, ["t", "b"])
    with app_server(tmp_path, port) as url:
        open_card(page, url, PAIRS, "Gen")
        done(page, 3)
    assert [row.outcome for row in rows(database, "Gen")][1:] == ["tie", "both_bad"]
    database.close()


def test_a_clock_set_back_between_two_cards_stops_no_key(page: Page, site: Site) -> None:
    open_card(page, site.url, SINGLE, "Hal")
    type_keys(page, ["1", "2", "3", "Enter"])
    done(page, 1)
    page.evaluate("""() => {
        const now = Date.now.bind(Date);
        Date.now = () => now() - 3_600_000;
    }""")
    with site.database.write() as session:
        # As a server's clock that is an hour behind finds the card that lies there.
        rater = session.scalars(select(Rater.id).where(Rater.name == "Hal")).one()
        state = session.scalars(
            select(QueueItemState).where(
                QueueItemState.rater_id == rater, QueueItemState.state == "draft"
            )
        ).one()
        ahead = state.updated_at + timedelta(hours=1)
        state.updated_at = ahead
        state.draft = {**(state.draft or {}), "dealt_at": ahead.isoformat()}
    type_keys(page, ["4", "5", "1", "Enter"])
    done(page, 2)
    type_keys(page, ["2", "2", "2", "Enter"])
    done(page, 3)
    assert [card["correct"] for card in cards(site.database, "Hal")] == [1, 4, 2]
    assert all(0 <= (row.seconds or 0) < 60 for row in rows(site.database, "Hal"))
    type_keys(page, ["u"])
    done(page, 2)
    expect(page.locator(".value.chosen")).to_have_text(["2", "2", "2"])


def test_nothing_on_the_page_tells_a_card_that_comes_back(page: Page, site: Site) -> None:
    total = N_CARDS + N_CARDS // 2
    open_card(page, site.url, REPEATED, "Ida")
    shown: dict[str, list[str]] = {}
    for number in range(total):
        done(page, number, total)
        page.wait_for_function("() => document.querySelector('.stBidiComponent')")
        address = page.url
        told = page.evaluate("""() => {
            const panel = [...document.querySelectorAll('.stBidiComponent *')]
                .map(one => one.shadowRoot?.querySelector('.panel[data-card]')).find(Boolean);
            const card = panel.dataset.card;
            const main = document.querySelector('[data-testid="stMain"]').cloneNode(true);
            main.querySelectorAll('[data-testid="stText"], [data-testid="stProgress"]')
                .forEach(one => one.replaceChildren());
            return [card, (main.outerHTML + panel.outerHTML).replaceAll(card, '')];
        }""")
        assert len(told[0]) == 32
        shown.setdefault(address, []).append(told[1])
        page.keyboard.press("t")
    expect(page.get_by_text("All cards are rated")).to_be_visible()
    with site.database.read() as session:
        n = session.scalar(select(func.count()).where(QueueItem.repeat_of_id.is_not(None)))
    assert n == N_CARDS // 2
    assert len(shown) == 1, "one address for all cards"


def test_after_a_click_with_the_mouse_enter_is_still_a_key_of_the_card(
    page: Page, site: Site
) -> None:
    open_card(page, site.url, SINGLE, "Jun")
    for axis, value in zip(AXES, (3, 1, 2), strict=True):
        row = page.locator(f".row[data-axis={axis}]")
        row.get_by_role("button", name=str(value), exact=True).click()
    page.keyboard.press("Enter")
    done(page, 1)
    assert cards(site.database, "Jun") == [dict(zip(AXES, (3, 1, 2), strict=True))]


def test_every_control_of_a_card_has_a_name_and_says_its_state(page: Page, site: Site) -> None:
    open_card(page, site.url, SINGLE, "Kei")
    panel = page.get_by_role("group", name="Rate this card")
    for name in ("Correct", "Complete", "Well written", "All in all"):
        expect(panel.get_by_role("group", name=name)).to_be_visible()
    type_keys(page, ["4"])
    row = panel.get_by_role("group", name="Correct")
    expect(row.get_by_role("button", name="4", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(panel.get_by_role("group", name="Complete")).to_have_attribute("aria-current", "step")
    unnamed = panel.evaluate("""panel => [...panel.querySelectorAll('button, input, textarea')]
        .filter(one => !(one.getAttribute('aria-label') || one.textContent.trim())).length""")
    assert unnamed == 0
