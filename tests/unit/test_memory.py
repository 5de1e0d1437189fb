"""The collector passes over what lives as long as the app."""

import gc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from workbench.ui.components.page_frame import settle_modules


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_a_page_loaded_is_passed_over_and_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "q2q_first_page", ModuleType("q2q_first_page"))
    settle_modules()
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects()) < 10_000

    gc.unfreeze()
    settle_modules()  # nothing new was loaded
    assert gc.get_freeze_count() == 0

    monkeypatch.setitem(sys.modules, "q2q_second_page", ModuleType("q2q_second_page"))
    settle_modules()
    assert gc.get_freeze_count() > 10_000
