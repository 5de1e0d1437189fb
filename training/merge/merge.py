"""Merging an adapter into its 16-bit base: into a fresh folder, whole or not at all.

PEFT's own LoRA layer merges one weight at a time between two mapped files. Why not the two known
ways: Unsloth's ``save_pretrained_merged`` loads the whole model to read its LoRA, may look for a
16-bit sibling on the hub, and writes tokenizer and generation settings anew; PEFT's
``merge_and_unload`` holds all 16-bit weights in memory (28 GB for 14B), and ``save_pretrained``
cuts other files. Here names, order, dtypes and shapes stay those of the base by construction, a
few tensors are in memory, and the arithmetic is PEFT's, bit by bit.
"""

import asyncio
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from db.child_process import ChildFailed, run_child
from db.database import Database
from db.errors import UsageError
from db.jobs import OnProgress
from db.models import ModelRow, get_model, merges_of, model_by_name, record_merge
from db.settings import Settings
from serving.device import resolve_device
from serving.models.adapters import check_fit, read_adapter
from serving.models.servable import check_mergeable, folder_of
from serving.models.tensor_files import INDEX, read_json
from training.merge.folder import (
    MANIFEST,
    MergeError,
    check_room,
    copied_files,
    new_folder,
    weights_bytes,
    write_manifest,
)
from training.merge.proof_files import check_complete


async def merge_adapter(
    database: Database,
    settings: Settings,
    adapter_id: int,
    *,
    on_progress: OnProgress,
    cancelled: asyncio.Event,
    name: str | None = None,
) -> int:
    """Merge an adapter and return the id of the merged model version, unusable until proved.

    A merge of this adapter that is there is returned as it is; a pruned one is made again; one
    that failed its proof is dropped and made again.

    Raises:
        UsageError: It is no adapter, or its files don't fit its base.
        MergeError: The disk is too small, the folder is in use, or the work failed.
        Cancelled: ``cancelled`` was set; nothing is left.
    """
    with database.read() as session:
        adapter = get_model(session, adapter_id)
        if adapter.kind != "adapter" or adapter.base_id is None:
            raise UsageError(
                "{adapter_name} is no adapter; name one of `q2q model list`.",
                adapter_name=adapter.name,
            )
        base = get_model(session, adapter.base_id)
        merges = merges_of(session, adapter_id)
        known = next((one for one in merges if name in (None, one.name)), None)
    if known is not None and known.state == "ready" and known.folder is not None:
        return known.id
    wanted = name or (known.name if known else f"{adapter.name}-merged")
    target = settings.home_dir / "models" / wanted
    _check_name(database, known, wanted)
    if known is not None and known.state == "unusable" and known.path == str(target):
        shutil.rmtree(target, ignore_errors=True)
    digest = await _make(settings, adapter, base, target, on_progress, cancelled)
    with database.write() as session:
        made = record_merge(session, adapter, base, name=wanted, digest=digest, path=str(target))
    return made.id


async def _make(
    settings: Settings,
    adapter: ModelRow,
    base: ModelRow,
    target: Path,
    on_progress: OnProgress,
    cancelled: asyncio.Event,
) -> str:
    """Make the folder and return the digest of its weights as they were written."""
    base_folder, adapter_folder = folder_of(base), folder_of(adapter)
    written = read_json(target / MANIFEST)
    if (adapter.digest, base.digest) == (
        written.get("adapter_digest"),
        written.get("base_digest"),
    ) and check_complete(target).passed:
        return str(written["digest"])  # the worker died between folder and row; the proof looks
    check_fit(adapter_folder, base_folder)
    check_mergeable(read_adapter(adapter_folder), base_folder)
    check_room(target.parent, weights_bytes(base_folder), what=f"Merging {adapter.name}")
    with new_folder(target) as scratch:
        result = await in_child(
            "training.merge.write_weights",
            {
                "base": str(base_folder),
                "adapter": str(adapter_folder),
                "target": str(scratch),
                "wanted": str(target),
                "device": resolve_device(settings.device),
            },
            log=settings.home_dir / "logs" / f"merge-{target.name}.log",
            on_progress=on_progress,
            cancelled=cancelled,
        )
        for path in copied_files(base_folder):
            shutil.copyfile(path, scratch / path.name)
        facts = {
            "kind": "merged",
            "base": str(base_folder),
            "base_digest": base.digest,
            "adapter": adapter.name,
            "adapter_digest": adapter.digest,
            "digest": result["digest"],
            "sharded": bool(read_json(base_folder / INDEX)),
            "versions": {package: version(package) for package in ("torch", "peft")},
        }
        write_manifest(scratch, facts)
    return str(result["digest"])


async def in_child(
    module: str,
    spec: Mapping[str, Any],
    *,
    log: Path,
    on_progress: OnProgress,
    cancelled: asyncio.Event,
) -> dict[str, Any]:
    """Do a piece of torch work by ``python -m module`` and return its result.

    Raises:
        MergeError: It failed; its own sentence, or the last line of its log.
        Cancelled: ``cancelled`` was set; the child and all its processes are gone.
    """
    try:
        return await run_child(
            [sys.executable, "-m", module],
            spec,
            log=log,
            on_message=lambda sent: on_progress(sent["done"], sent["total"], sent["message"]),
            cancelled=cancelled,
        )
    except ChildFailed as failed:
        raise MergeError(str(failed)) from None


def drop_weights(model: ModelRow) -> int:
    """Delete the folder of a merge that can be made again; return the bytes that it held.

    Raises:
        MergeError: It was not made by a merge here.
    """
    folder = folder_of(model)
    if read_json(folder / MANIFEST).get("kind") != "merged":
        raise MergeError(
            "{folder} was not made by `q2q merge`, so it is left alone.", folder=folder
        )
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    return size


def _check_name(database: Database, known: ModelRow | None, wanted: str) -> None:
    with database.read() as session:
        taken = model_by_name(session, wanted)
    if taken is not None and (known is None or taken.id != known.id):
        raise UsageError(
            "Another model is called {wanted} already; give the merge another name with --name.",
            wanted=wanted,
        )
