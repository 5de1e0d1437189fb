"""The pages of the app by their addresses, and the keys that they bind.

After a change that is meant:

    WRITE_SNAPSHOTS=1 python -m pytest tests/contract/test_pages.py

Whether keys do what they say is tested in ``tests/browser``.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.app.conftest import no_figures_left_over as no_figures_left_over
from tests.app.conftest import run_page
from tests.contract.seeded_home import folder as folder
from tests.contract.seeded_home import q2q
from tests.contract.snapshots import check_snapshot

PLACES: dict[str, tuple[str, dict[str, str]]] = {
    "a pair to rate": ("rating", {"queue": "1", "rater": "Mia"}),
    "single cards to rate": ("rating", {"queue": "2", "rater": "Mia"}),
    "a table to rate": ("rating", {"queue": "3", "rater": "Mia"}),
    "a dialogue": ("dialogues", {"session": "1", "rater": "Ada"}),
    "a sweep": ("sweeps", {"sweep": "1", "view": "cards"}),
    "a matrix": ("explore", {"view": "matrix"}),
}
"""Beside the pages as they open: what is open on which page, by its address."""


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The addresses of all pages, filled when the app is run; its caches are of this test."""
    found: list[str] = []
    navigation = st.navigation

    def note(pages: dict[str, list[Any]], **options: Any) -> Any:
        found[:] = [page.url_path for group in pages.values() for page in group]
        return navigation(pages, **options)

    monkeypatch.setattr(st, "navigation", note)
    st.cache_resource.clear()
    yield found
    st.cache_resource.clear()


def keys_of(app: AppTest) -> list[str]:
    """Return the keys of buttons, and those that components are given."""
    found = {str(one.proto.shortcut).lower() for one in app.button if one.proto.shortcut}
    for element in app.get("bidi_component"):
        data = json.loads(element.proto.json)
        given = [button["key"] for button in data.get("buttons", [])]
        values = [value for axis in data.get("axes", []) for value in axis["values"]]
        found |= {str(key).lower() for key in (*data.get("keys", []), *given, *values)}
    return sorted(found)


def test_pages_and_their_keys_are_those_of_the_snapshot(folder: Path, addresses: list[str]) -> None:
    for way, scope in (("single", "answer"), ("table", "reasoning")):
        q2q("rate", "queue", "--name", way, "--way", way, "--scope", scope)
    run_page("home")
    opened: dict[str, tuple[str, dict[str, str]]] = {
        address or "home": (address or "home", {}) for address in addresses
    }
    check_snapshot(
        "pages",
        {
            "addresses": list(addresses),
            "keys": {
                place: keys_of(run_page(page, **parameters))
                for place, (page, parameters) in (opened | PLACES).items()
            },
        },
    )
