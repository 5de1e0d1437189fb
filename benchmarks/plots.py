"""Draw the plots of docs/benchmarks.md from the files under ``benchmarks/results``.

    python -m benchmarks.plots

Altair writes pictures with the package ``vl-convert-python``, which only this needs.
"""

import json
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
SHOWN = (
    ("notebook", "training_speed_h200_long.json", "notebook"),
    ("fast", "training_speed_h200.json", "fast"),
    ("max", "training_speed_h200_long.json", "max"),
    ("max, two GPUs", "training_two_gpus_h200.json", "max, 2 GPUs"),
)
"""Label, file, and the run in it."""


def training_speed() -> alt.Chart:
    """Return useful tokens per second of each preset, with its memory beside it."""
    rows: list[dict[str, Any]] = []
    for label, file, name in SHOWN:
        run = json.loads((RESULTS / file).read_text("utf-8"))["runs"][name]
        speed, memory = run["tokens_per_second"], run["peak_memory_gib"]
        rows.append(
            {
                "preset": label,
                "useful tokens per second": speed,
                "said": f"{speed:,.0f} · {memory:.0f} GiB",
            }
        )
    place = alt.Y("preset:N", sort=None, title=None)
    base = alt.Chart(pd.DataFrame(rows))
    bars = base.mark_bar(color="#3b6fd4", height=22).encode(x="useful tokens per second:Q", y=place)
    words = base.mark_text(align="left", dx=6, fontSize=13).encode(
        x="useful tokens per second:Q", y=place, text="said:N"
    )
    return (
        (bars + words)
        .properties(width=620, height=150, background="white", padding=16)
        .configure_axis(labelFontSize=13, titleFontSize=13, grid=False)
        .configure_view(strokeWidth=0)
    )


def main() -> None:
    """Write all plots."""
    training_speed().save(IMAGES / "training-speed.png", scale_factor=2)


if __name__ == "__main__":
    main()
