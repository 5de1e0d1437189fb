"""What people named is shown in the language of the visit."""

from pathlib import Path

import pytest

from workbench.ui.components import labels


@pytest.mark.parametrize(("language", "label"), [("en", "Helpful hint"), ("ja", "役立つヒント")])
def test_axes_are_called_by_their_labels(
    language: str, label: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(labels, "current_language", lambda: language)
    assert labels.axis_label("helpful_hint", "insights.on") == label
    home.mkdir()
    (home / "axes.yaml").write_text(
        "answer: [{name: kind_words, label: {ja: 優しさ}}]\n", encoding="utf-8"
    )
    assert labels.axis_label("kind_words", "insights.on") == "優しさ"
    assert labels.axis_label("gone_axis", "insights.on") == "gone_axis"
