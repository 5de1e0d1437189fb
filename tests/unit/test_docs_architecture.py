"""docs/architecture.md names modules that are there, so that it stays a map."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`((?:db|serving|training|workbench|tests)/[a-z_/.]*)`", PAGE)))


def test_the_page_names_the_four_packages() -> None:
    assert {name.split("/")[0] for name in NAMED} >= {"db", "serving", "training", "workbench"}


@pytest.mark.parametrize("name", NAMED)
def test_what_the_page_names_is_there(name: str) -> None:
    assert any((ROOT / f"{name.rstrip('/')}{suffix}").exists() for suffix in ("", ".py")), name
