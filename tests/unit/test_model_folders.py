"""Weights that are not there say where they went, before anything is served or trained."""

from pathlib import Path

import pytest

from db.database import Database
from db.errors import UsageError
from db.models import ModelRow, get_model
from db.tables import ModelVersion
from serving.models.servable import folder_of
from serving.models.tensor_files import ModelError
from training.runs.prepare import _check_base


def model(database: Database, **changes: object) -> ModelRow:
    digest = "sha256:0" if "path" in changes else None
    row = ModelVersion(**{"name": "m", "kind": "base", "digest": digest, **changes})
    with database.write() as session:
        session.add(row)
        session.flush()
        return get_model(session, row.id)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "declared"}, "m is known by its server alone"),
        ({"path": "/no/such/folder"}, "The folder of m (/no/such/folder) is gone."),
        (
            {"kind": "merged", "state": "pruned", "path": "/no/such/folder"},
            "The weights of m were pruned; make them again",
        ),
    ],
    ids=["server", "gone", "pruned"],
)
def test_weights_that_are_not_here_say_why(
    database: Database, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ModelError) as refused:
        folder_of(model(database, **changes))
    assert str(refused.value).startswith(said)


def test_a_merge_without_its_proof_is_not_trained(database: Database, tmp_path: Path) -> None:
    made = model(database, kind="merged", state="unusable", path=str(tmp_path))
    assert folder_of(made) == tmp_path
    with pytest.raises(UsageError, match="has not passed the proof of its merge"):
        _check_base(made)
