"""The page that searches everything."""

import pytest

from db.database import Database
from db.lineage.nodes import find_named
from db.tables import ModelVersion, Sweep
from tests.app.conftest import run_page, words_of
from tests.app.seed import Seeded


def test_it_finds_texts_and_names_of_all_kinds(store: Database, filled: Seeded) -> None:
    app = run_page("search", find="電話")
    links = [link.proto.label for link in app.get("page_link")]
    assert any(label.startswith("q") and "電車の中で電話をかける" in label for label in links)
    assert "Questions" in words_of(app)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("ROUND", {"Round two", "a round_up"}),
        ("two round", {"Round two"}),
        ("_", {"a round_up"}),
        ("%", set()),
        (" ", set()),
        ("無い", set()),
    ],
)
def test_names_hold_all_words_in_any_case(database: Database, query: str, names: set[str]) -> None:
    with database.write() as session:
        common = {"spec": {}, "plan": {}, "n_reasoning_slots": 0, "n_answer_slots": 0}
        session.add(Sweep(name="Round two", spec_hash="1" * 64, **common))
        session.add(Sweep(name="Round three", spec_hash="2" * 64, purpose="edit", **common))
        session.add(ModelVersion(name="a round_up", kind="declared"))
    with database.read() as session:
        found = find_named(session, query)
    assert {node.label for group in found for node in group.nodes} == names


def test_an_empty_box_and_no_hit_say_what_to_do(store: Database, filled: Seeded) -> None:
    assert "What are you looking for?" in words_of(run_page("search"))
    assert "Nothing holds all these words" in words_of(run_page("search", find="zzqx"))
