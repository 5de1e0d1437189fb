"""What the app must not cost: no torch in its process, no page whose work grows with the store.

How many milliseconds a page takes is measured by ``benchmarks/page_scripts.py``.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st

from db.database import open_database
from db.settings import settings
from db.store.migrate import upgrade
from tests.app.conftest import APP, run_page
from tests.app.counting import Work, counted_work
from tests.app.seed import seed_bulk, seed_store

ROOT = Path(__file__).resolve().parents[2]
SMALL, LARGE = 8_000, 24_000
"""Generations; even the small store fills every page of a list."""
MOST_ROWS = 5_000
"""Rows that a page may fetch, whatever the store holds."""
STEPS_PER_GENERATION = 150
"""Steps of SQLite's machine: enough to count all generations a few times, not to search each."""

Cost = Callable[[str, int], Work]

EVERY_PAGE = """
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[1], default_timeout=60).run()
for page in sys.argv[2:]:
    name, _, query = page.partition("?")
    app.switch_page(f"ui/{name}/page.py")
    app.query_params.clear()
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        app.query_params[key] = value
    app.run()
    assert not app.exception, app.exception
    assert app.title, page
print(*sorted(sys.modules))
"""

PAGES = (
    "home",
    "questions",
    "questions?find=電話",
    "questions?role=creator&results=yes",
    "questions?question=1",
    "questions?import=1",
    "sweeps",
    "sweeps?sweep=1",
    "sweeps?sweep=1&view=cards",
    "sweeps?sweep=1&view=table",
    "sweeps?sweep=1&view=table&check=cut_off",
    "sweeps?sweep=1&view=table&find=answer",
    "sweeps?sweep=1&view=figures",
    "sweeps?sweep=1&view=spec",
    "sweeps?new=1",
    "dialogues",
    "dialogues?new=1",
    "insights",
    "explore",
    "explore?check=cut_off",
    "explore?sweep=1&finish=length&rating=unrated",
    "explore?rating=liked",
    "explore?id=q1",
    "explore?id=v1",
    "explore?id=a1",
    "explore?id=m1",
    "explore?id=v1&with=v2",
)


def test_the_app_process_loads_no_torch_and_no_transformers(home: Path) -> None:
    home.mkdir()
    store = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    upgrade(store)
    seed_store(store)
    store.close()
    run = subprocess.run(
        [sys.executable, "-c", EVERY_PAGE, APP, *PAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert {"streamlit", "workbench", "serving", "tokenizers"} <= loaded
    assert not loaded & {"torch", "transformers", "vllm", "unsloth"}


@pytest.fixture(scope="module")
def homes(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Two stores, one three times as large as the other."""
    made = {}
    for size in (SMALL, LARGE):
        made[size] = tmp_path_factory.mktemp(f"store{size}")
        shutil.copy(migrated_file, made[size] / "q2q.sqlite")
        database = open_database(f"sqlite:///{made[size] / 'q2q.sqlite'}")
        seed_bulk(database, seed_store(database, copies=10), size)
        database.close()
    return made


@pytest.fixture
def cost(homes: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cost]:
    """Return what measures the work of a page's second run on the store of a size."""

    def measure(page: str, size: int) -> Work:
        monkeypatch.setenv("Q2Q_HOME", str(homes[size]))
        settings.cache_clear()
        st.cache_resource.clear()
        name, _, query = page.partition("?")
        with counted_work() as work:
            app = run_page(name, **dict(part.split("=") for part in query.split("&") if part))
            before = replace(work)
            app.run()
        return Work(
            work.statements - before.statements,
            work.rows - before.rows,
            work.kilosteps - before.kilosteps,
        )

    yield measure
    st.cache_resource.clear()
    settings.cache_clear()


@pytest.mark.parametrize("page", PAGES)
def test_the_work_of_a_page_is_bounded_however_large_the_store(cost: Cost, page: str) -> None:
    small, large = cost(page, SMALL), cost(page, LARGE)
    assert large.statements == small.statements
    assert large.rows <= MOST_ROWS
    assert large.kilosteps * 1_000 <= STEPS_PER_GENERATION * LARGE
