"""Figures of a round as people read them: what is not 0, and not all, never reads so."""

import pytest

from workbench.rounds.text import figure, number
from workbench.stats.intervals import Estimate
from workbench.ui.components.labels import percent


@pytest.mark.parametrize(
    ("found", "measure", "told"),
    [
        (Estimate(-0.15, -0.24, -0.07), "clean", "-15 % (-24 % … -7 %)"),
        (Estimate(0.129, 0.001, 0.257), "reasonings", "+0.129 (+0.001 … +0.257)"),
        (Estimate(-0.0, -0.09, 0.09), "clean", "+0 % (-9 % … +9 %)"),
        (Estimate(-1e-12, -0.5, 0.5), "tokens", "+0.00 (-0.50 … +0.50)"),
        (Estimate(0.05, 0.003, 0.1), "people", "+5.0 % (+0.3 % … +10.0 %)"),
        (Estimate(-1.0, -1.0, -0.88), "clean", "-100 % (-100 % … -88 %)"),
        (Estimate(0.5, None, None), "reasonings", "+0.50"),
    ],
)
def test_an_end_beside_zero_has_digits_enough(found: Estimate, measure: str, told: str) -> None:
    assert figure(found, measure, signed=True) == told


def test_nearly_all_is_not_all() -> None:
    assert number(399 / 400, "well_formed") == "99.8 %"
    assert number(1.0, "well_formed") == "100 %"
    assert percent(399, 400) == "99.8 %"
    assert percent(0.9999, 1) == "99.9 %"
    assert percent(1, 10_000) == "0.1 %"
    assert [percent(n, 8) for n in (0, 3, 8)] == ["0 %", "38 %", "100 %"]
    assert percent(1, 0) == "–"
