"""Dropping the weights of a merge that can be made again."""

from db.database import Database
from db.errors import UsageError
from db.models import ModelRow, adapter_of, get_model, mark_pruned
from db.rounds import list_rounds
from training.merge.merge import drop_weights, folder_of


def prune(database: Database, model: ModelRow) -> int:
    """Drop the weights of a merge and keep its adapter and its proof; return the bytes freed.

    Raises:
        UsageError: It was not made by a merge here, or a round that runs needs it.
        ModelError: Its folder, or that of its adapter, is gone.
    """
    with database.read() as session:
        adapter_id = adapter_of(session, model.id)
        if model.kind != "merged" or adapter_id is None:
            raise UsageError(f"{model.name} was not made by `q2q merge`, so it is kept.")
        folder_of(get_model(session, adapter_id))
        users = (one for one in list_rounds(session) if one.state == "running")
        user = next(
            (r for r in users if model.id in (r.starts_from_id, r.merged_model_version_id)), None
        )
        if user is not None:
            raise UsageError(f"Round {user.name!r} runs and needs {model.name}; wait for its end.")
    freed = drop_weights(model)
    with database.write() as session:
        mark_pruned(session, model.id)
    return freed
