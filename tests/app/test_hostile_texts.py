"""Every page that shows texts of models or people, with hostile ones: shown as text, page alive."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from db.database import Database
from db.rating.queues import get_queue
from db.rating.ratings import ensure_rater
from tests.app.conftest import run_page
from tests.app.seed import Seeded
from tests.app.seed_hostile import HOSTILE, seed_hostile
from tests.app.seed_ratings import seed_ratings
from workbench.rating.cards import current_card, skip
from workbench.rating.queues import QueueSpec, build_queue, save_queue

LIVE_TAG = re.compile(r"(?<!\\)<[a-zA-Z/!]")
LIVE_LINK = re.compile(r"(?<!\\)\]\(http://attacker")
"""What Markdown would make an element, a link or an image of."""

PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "home": ("home", {}),
    "questions": ("questions", {}),
    "questions found": ("questions", {"find": "script"}),
    "question": ("questions", {"question": "1"}),
    "question, long": ("questions", {"question": "3"}),
    "sweep": ("sweeps", {"sweep": "1"}),
    "sweep, second": ("sweeps", {"sweep": "1", "at": "2"}),
    "sweep, third": ("sweeps", {"sweep": "1", "at": "3"}),
    "sweep, fourth": ("sweeps", {"sweep": "1", "at": "4"}),
    "sweep table": ("sweeps", {"sweep": "1", "view": "table"}),
    "sweep figures": ("sweeps", {"sweep": "1", "view": "figures"}),
    "explore": ("explore", {}),
    "explore found": ("explore", {"find": "script"}),
    "explore question": ("explore", {"id": "q1"}),
    "insights": ("insights", {}),
    "insights question": ("insights", {"question": "1"}),
    **{f"explore v{i}": ("explore", {"id": f"v{i}"}) for i in range(1, 11)},
    "explore a1": ("explore", {"id": "a1"}),
    **{f"compare v{i}": ("explore", {"id": f"v{i}", "with": f"v{i + 1}"}) for i in (1, 5)},
}


@pytest.fixture
def hostile(store: Database, filled: Seeded) -> Seeded:
    seed_ratings(store, filled)
    seed_hostile(store, filled)
    return filled


def assert_harmless(app: AppTest) -> None:
    """Nothing that a model wrote passes through HTML, nor live through Markdown."""
    assert not app.exception, app.exception
    for element in app.main:
        _check(element)


def _check(element: object) -> None:
    children = getattr(element, "children", None)
    if children:
        for child in children.values():
            _check(child)
        return
    kind = getattr(element, "type", "")
    proto = getattr(element, "proto", None)
    if kind in ("text", "code") or proto is None:
        return
    if kind in ("markdown", "caption", "title", "subheader", "html", "badge"):
        body = str(getattr(proto, "body", ""))
        if kind != "html":
            assert not LIVE_TAG.search(body), body[:300]
        assert not LIVE_LINK.search(body), body[:300]
        assert "\u202e" not in body
        if kind != "html":
            assert not getattr(proto, "allow_html", False)


def test_every_page_shows_hostile_texts_as_text(hostile: Seeded) -> None:
    for name, (page, parameters) in PAGES.items():
        app = run_page(page, **parameters)
        try:
            assert_harmless(app)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize("scope", ["reasoning", "answer", "whole", "question"])
@pytest.mark.parametrize("way", ["pair", "single", "table"])
def test_the_rate_page_shows_them_in_every_way(
    store: Database, hostile: Seeded, scope: str, way: str
) -> None:
    if scope == "question" and way == "pair":
        return
    with store.write() as session:
        rater = ensure_rater(session, "Mia")
        spec = QueueSpec.model_validate(
            {"name": HOSTILE["markdown"][:190], "scope": scope, "way": way, "leave_out": ()}
        )
        queue = get_queue(session, save_queue(session, build_queue(session, spec)))
    app = run_page("rating", queue=str(queue.id), rater="Mia")
    assert_harmless(app)
    for _ in range(4 if way != "table" else 0):
        before = _progress(app)
        card = current_card(store, queue, rater)
        assert card is not None
        skip(store, queue, rater, card.id)
        app.run()
        assert_harmless(app)
        assert _progress(app) == before + 1
    assert_harmless(run_page("rating", rater="Mia"))


def _progress(app: AppTest) -> int:
    (bar,) = app.get("progress")
    return int(bar.proto.text.rpartition(" · ")[2].split(" of ")[0])
