"""The first look at a very large store: pages say what is being counted, and show it once there."""

import pytest

from db.database import Database
from tests.app.conftest import run_page, words_of
from tests.app.seed import Seeded
from tests.app.seed_ratings import seed_ratings
from tests.store_rows import wait_for_counts


@pytest.mark.parametrize(
    ("page", "address", "meanwhile", "then"),
    [
        ("sweeps", {}, "texts of the sweeps are being counted", "New sweep"),
        ("explore", {"rating": "liked"}, "ratings are being counted", "You should"),
        ("rating", {"new": "1", "rater": "Mia"}, "cards are being counted", "Start rating"),
    ],
)
def test_a_page_does_not_wait_for_its_first_count(
    store: Database,
    filled: Seeded,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    address: dict[str, str],
    meanwhile: str,
    then: str,
) -> None:
    seed_ratings(store, filled)
    monkeypatch.setattr("db.counts.WAIT_S", 0.0)
    app = run_page(page, **address)
    assert meanwhile in words_of(app)
    assert then not in words_of(app)
    wait_for_counts()
    app.run()
    assert not app.exception
    assert meanwhile not in words_of(app)
    assert then in words_of(app)
