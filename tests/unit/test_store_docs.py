"""``docs/store.md`` is true: it names every table and column, and its example runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect

from db.database import Database
from db.store.schema import VIEWS
from db.tables import Base
from tests.unit.test_texts import fill

TEXT = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
SHARED = "### Columns of a generation"


def section(heading: str) -> str:
    """Return the text under a heading, up to the next one."""
    return TEXT.split(f"{heading}", 1)[1].split("\n#", 1)[0]


def documented(view: str) -> set[str]:
    """Return the names in the first column of the table of a view."""
    rows = re.findall(r"^\| (`.*?) \|", section(f"### {view}"), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_of_a_view_is_described(database: Database, view: str) -> None:
    with database.engine.connect() as connection:
        columns = {column["name"] for column in inspect(connection).get_columns(view)}
    if "model_digest" in columns:
        shared = re.findall(r"^\| (`.*?) \|", section(SHARED), re.MULTILINE)
        columns -= {name for row in shared for name in re.findall(r"`(\w+)`", row)}
    assert documented(view) - {"generation_id"} == columns - {"generation_id"}


def test_every_table_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", section("## Tables").split("```")[2]))
    assert set(Base.metadata.tables) <= described


def test_the_diagram_names_tables_that_there_are() -> None:
    diagram = section("## Tables").split("```")[1]
    named = set(re.findall(r"^    (\w+) \S+ (\w+) :", diagram, re.MULTILINE))
    assert {name for pair in named for name in pair} <= set(Base.metadata.tables)
    assert len(named) > 20


@pytest.mark.parametrize("is_in_use", [True, False])
def test_the_example_runs_and_opens_the_file_read_only(
    database: Database, home: Path, is_in_use: bool
) -> None:
    fill(database)
    if not is_in_use:
        database.close()
    example = TEXT.split("```python\n", 1)[1].split("```", 1)[0]
    writes = "\nwith store.connect() as c:\n    c.exec_driver_sql('DELETE FROM tag')\n"
    ran = subprocess.run(
        [sys.executable, "-c", example.replace("store.dispose()", writes)],
        env={"Q2Q_HOME": str(home)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "supplied" in ran.stdout
    assert "attempt to write a readonly database" in ran.stderr
