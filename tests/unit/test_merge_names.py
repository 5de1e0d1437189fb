"""Merges whose weights or names meet: each keeps its own row, and nothing is mistaken."""

from db.database import Database
from db.models import get_model, merges_of, record_merge
from db.tables import ModelVersion


def test_other_weights_of_the_same_name_get_a_name_of_their_own(database: Database) -> None:
    with database.write() as session:
        base = ModelVersion(name="base", kind="base", digest="b")
        session.add(base)
        session.flush()
        adapter = ModelVersion(name="adapter", kind="adapter", digest="a", base_id=base.id)
        session.add(adapter)
        session.flush()
        rows = get_model(session, adapter.id), get_model(session, base.id)
        first = record_merge(session, *rows, name="m", digest="1", path="/models/m")
        again = record_merge(session, *rows, name="m", digest="1", path="/models/m")
        other = record_merge(session, *rows, name="m", digest="2", path="/models/m")
        old = get_model(session, first.id)
        merges = [one.name for one in merges_of(session, adapter.id)]
    assert again.id == first.id
    assert (other.name, other.state) == ("m-2", "unusable")
    assert (old.path, old.state) == (None, "pruned")
    assert "other weights now" in (old.note or "")
    assert merges == ["m-2", "m"]
