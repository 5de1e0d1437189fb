"""Adapters beside the local server's base: which it is asked for, and those that it cannot serve.

No adapter keeps its base from starting: what cannot be served is left out, and the store says why.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from db.database import Database
from db.models import ModelRow, mark_unserved
from serving.models.servable import served_rank
from serving.models.tensor_files import ModelError

log = logging.getLogger(__name__)


def servable(database: Database, adapters: Iterable[ModelRow]) -> list[ModelRow]:
    """Return the adapters that vLLM can serve; of others the store says why not."""
    found = []
    for adapter in adapters:
        try:
            served_rank(Path(adapter.path or ""))
        except ModelError as error:
            _leave_out(database, adapter, str(error))
        else:
            found.append(adapter)
    return found


def note_refused(
    database: Database, models: Sequence[ModelRow], refused: Mapping[str, str]
) -> None:
    """Write down which adapters the server refused, and why."""
    for model in models:
        if model.name in refused and model.kind == "adapter":
            _leave_out(
                database,
                model,
                f"vLLM refused it ({refused[model.name]}). Merge it with `q2q merge {model.name}`, "
                "or add it again with `q2q model add` to try once more.",
            )


def _leave_out(database: Database, adapter: ModelRow, why: str) -> None:
    log.warning("The adapter %s is left out: %s", adapter.name, why)
    with database.write() as session:
        mark_unserved(session, adapter.id, why)
