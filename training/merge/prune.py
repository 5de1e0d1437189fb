"""Dropping the weights of a merge that can be made again, and making it again."""

import asyncio

from db.database import Database
from db.errors import UsageError
from db.jobs import OnProgress, no_progress
from db.models import ModelRow, adapter_of, get_model, mark_pruned
from db.rounds import list_rounds
from db.settings import Settings
from serving.models.servable import folder_of
from training.merge.folder import MergeError
from training.merge.merge import drop_weights, merge_adapter
from training.merge.proof import prove


def prune(database: Database, model: ModelRow) -> int:
    """Drop the weights of a merge and keep its adapter and its proof; return the bytes freed.

    Raises:
        UsageError: It was not made by a merge here, or a round that runs needs it.
        ModelError: Its folder, or that of its adapter, is gone.
    """
    with database.read() as session:
        adapter_id = adapter_of(session, model.id)
        if model.kind != "merged" or adapter_id is None:
            raise UsageError(
                "{model_name} was not made by `q2q merge`, so it is kept.", model_name=model.name
            )
        folder_of(get_model(session, adapter_id))
        users = (one for one in list_rounds(session) if one.state == "running")
        user = next(
            (r for r in users if model.id in (r.starts_from_id, r.merged_model_version_id)), None
        )
        if user is not None:
            raise UsageError(
                "Round {user_name!r} runs and needs {model_name}; wait for its end.",
                user_name=user.name,
                model_name=model.name,
            )
    freed = drop_weights(model)
    with database.write() as session:
        mark_pruned(session, model.id)
    return freed


async def rebuild(
    database: Database,
    settings: Settings,
    model: ModelRow,
    *,
    on_progress: OnProgress = no_progress,
    cancelled: asyncio.Event | None = None,
) -> None:
    """Make a pruned merge again and prove it, and before it the merge that it was made on.

    Raises:
        MergeError: It could not be made, came out with other weights, or failed its proof.
        Cancelled: ``cancelled`` was set.
    """
    with database.read() as session:
        adapter_id = adapter_of(session, model.id)
        base = get_model(session, model.base_id) if model.base_id is not None else None
    if adapter_id is None:
        raise MergeError(
            "The adapter of {model_name} is not known; it cannot be made again.",
            model_name=model.name,
        )
    stop = cancelled or asyncio.Event()
    if base is not None and base.state == "pruned":
        await rebuild(database, settings, base, on_progress=on_progress, cancelled=stop)
    model_id = await merge_adapter(
        database, settings, adapter_id, name=model.name, on_progress=on_progress, cancelled=stop
    )
    proof = await prove(database, settings, model_id, on_progress=on_progress, cancelled=stop)
    if not proof.passed:
        raise MergeError(proof.failure)
    if model_id != model.id:
        with database.read() as session:
            other = get_model(session, model_id).name
        raise MergeError(
            "{model_name} came out with other weights on this machine (another device or version);"
            " they are called {other}. Use these, or merge where {model_name} was made.",
            model_name=model.name,
            other=other,
        )
