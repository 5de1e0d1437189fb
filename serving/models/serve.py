"""From rows of the store to what a server is to serve."""

from collections.abc import Sequence
from pathlib import Path

from db.models import ModelRow
from db.settings import Settings
from serving.device import resolve_device
from serving.engines.process import Adapter, ServerSpec
from serving.models.adapters import read_adapter
from serving.models.errors import ModelError
from serving.models.servable import why_not_served

FALLBACK_CONTEXT = 4096


def server_spec(
    model: ModelRow, settings: Settings, adapters: Sequence[ModelRow] = ()
) -> ServerSpec:
    """Return how to serve ``model`` with ``adapters`` beside it, each under its own name.

    Raises:
        ModelError: A folder is gone, or an adapter belongs to another base.
    """
    for adapter in adapters:
        if adapter.base_id != model.id:
            raise ModelError(f"The adapter {adapter.name} does not belong to {model.name}.")
    return ServerSpec(
        model=_folder(model),
        served_name=model.name,
        context_length=model.context_length or FALLBACK_CONTEXT,
        adapters=tuple(
            Adapter(
                name=adapter.name,
                path=_folder(adapter),
                rank=served_rank(_folder(adapter)),
            )
            for adapter in adapters
        ),
        device=resolve_device(settings.device),
    )


def served_rank(adapter: Path) -> int:
    """Return the rank that a server must have room for: of all tensors and settings.

    Raises:
        ModelError: vLLM cannot serve the adapter; the sentence says why and what to do.
    """
    read = read_adapter(adapter)
    why = why_not_served(read)
    if why is not None:
        raise ModelError(f"vLLM cannot serve the adapter in {adapter}: {why}. Merge it instead.")
    return read.served_rank


def _folder(model: ModelRow) -> Path:
    if model.path is None or not Path(model.path).is_dir():
        raise ModelError(
            f"The folder of {model.name} ({model.path}) is gone. Add it again with "
            "`q2q model add`, or choose another model."
        )
    return Path(model.path)
