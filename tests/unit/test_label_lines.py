"""Labels of plots: names on two lines, rows that stay apart, ticks that can be told apart."""

import json
from typing import Any

import altair as alt
import pytest

from workbench.ui.components import plots
from workbench.ui.components.plots import draw_plot, plot_of, tick_format
from workbench.ui.insights.charts import label_axis, label_lines

LONG = "People: round-eight80 against smollm2-135m-instruct"


def test_a_long_name_stands_on_two_lines_that_a_narrow_screen_can_spare() -> None:
    assert label_lines(LONG) == ["People: round-eight80", "against smollm2-135m-…"]
    assert label_lines("temperature 0.2") == ["temperature 0.2"]
    assert label_lines("round-eight80 against base-model") == [
        "round-eight80 against",
        "base-model",
    ]
    assert label_lines("") == [""]


def test_letters_of_full_width_take_two_places() -> None:
    lines = label_lines("人によるブラインド比較：前のラウンドのモデルと今回のモデル")
    assert [len(line) for line in lines] == [11, 11]
    assert lines[1].endswith("…")


def test_names_that_are_cut_to_the_same_words_stay_two_rows() -> None:
    names = [f"{'x' * 80}{end}" for end in "ab"]
    axis = label_axis(names).to_dict()
    told = json.loads(axis["labelExpr"].removesuffix("[datum.value]"))
    assert len(told) == 2


@pytest.mark.parametrize(
    ("form", "values", "expected"),
    [
        (".0%", [0.0, 1.0], ".0%"),
        (".0%", [0.98, 1.0], ".1%"),
        ("+.0%", [-0.004, 0.004], "+.1%"),
        (".2f", [0.998, 1.0], ".4f"),
        (".2f", [1.75, 2.1], ".2f"),
        (".2f", [1.0, 1.0], ".2f"),
        (".1f", [], ".1f"),
    ],
)
def test_ticks_get_the_digits_that_tell_them_apart(
    form: str, values: list[float], expected: str
) -> None:
    assert tick_format(form, values) == expected


@pytest.mark.parametrize(("form", "least"), [(".0%", 0.01), ("+.1f", 0.1), (".1~%", 0.001)])
def test_ticks_stand_no_nearer_than_their_labels_tell_apart(
    form: str, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(plots.st, "vega_lite_chart", lambda _, spec: drawn.append(spec))
    x = alt.X("at:Q", axis=alt.Axis(format=form))
    draw_plot(alt.layer(plot_of([{"at": 0.001}]).mark_circle().encode(x=x)), 100)
    assert drawn[0]["layer"][0]["encoding"]["x"]["axis"]["tickMinStep"] == pytest.approx(least)
