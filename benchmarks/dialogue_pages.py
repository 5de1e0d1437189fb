"""How fast a dialogue of 300 questions opens: the script of each view, first visit and again.

    python -m benchmarks.dialogue_pages [OUT.json] [--questions 300] [--runs 9]

Measured as ``benchmarks.page_scripts`` does. The aim is under 1 s for the first visit of a view.
"""

import argparse
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.page_scripts import page_times
from benchmarks.setting import note, versions, write_result
from db.settings import settings
from db.store.migrate import open_store
from tests.app.seed_dialogue import seed_dialogue

OUT = Path(__file__).parent / "results" / "dialogue_pages_cpu.json"
VIEWS = ("talk", "tree", "synopsis", "more")
AIM_MS = 1_000


def main() -> None:
    """Seed a session, run the script of each view, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--runs", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["Q2Q_HOME"] = home
        settings.cache_clear()
        store = open_store(settings())
        dialogue_id = seed_dialogue(store, given.questions)
        store.close()
        # A person comes by the list; its first visit also imports the libraries of all pages.
        views = {"list": page_times("dialogues", {}, given.runs)}
        for view in VIEWS:
            where = {"session": str(dialogue_id), "view": view, "rater": "Ada"}
            views[view] = page_times("dialogues", where, given.runs)
            note(f"{view}: {views[view]}")
    slowest = max(views[view]["first_visit_cpu_ms"] for view in VIEWS)
    write_result(
        given.out,
        {
            "questions": given.questions,
            "aim_ms": AIM_MS,
            "is_met": slowest < AIM_MS,
            "views": views,
            "versions": {**versions(), "streamlit": version("streamlit")},
        },
    )


if __name__ == "__main__":
    main()
