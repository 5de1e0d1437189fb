"""Checks of a merged folder that need no tensor arithmetic: is it whole, and else the base's?

They compare digests of tensors and bytes of files; nothing here imports torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from db.models import CheckRow
from serving.models.adapters import WeightChange
from serving.models.folder import FolderDigest, inspect_folder
from serving.models.tensor_files import read_json
from training.merge.folder import MANIFEST, copied_files

TOKENIZER = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "chat_template")
_SHOWN = 3


def check_complete(folder: Path) -> CheckRow:
    """Every file that the manifest names is there in its size, and no other weights are."""
    files: Mapping[str, int] = read_json(folder / MANIFEST).get("files", {})
    if not files:
        return CheckRow(
            name="whole",
            passed=False,
            detail=f"{folder} has no {MANIFEST}: it was not finished. Merge again.",
        )
    wrong = [
        name
        for name, size in files.items()
        if not (folder / name).is_file() or (folder / name).stat().st_size != size
    ]
    wrong += [path.name for path in folder.glob("*.safetensors") if path.name not in files]
    said = f"{listed(wrong)} is missing, new or of another size than when it was written."
    return CheckRow(
        name="whole",
        passed=not wrong,
        measured=float(len(wrong)),
        tolerance=0.0,
        detail=said if wrong else f"All {len(files)} files are there, in their sizes.",
    )


def check_written(folder: Path, merged: FolderDigest) -> CheckRow:
    """The weights on disk are those that were written."""
    written = read_json(folder / MANIFEST).get("digest")
    same = written == merged.digest
    return CheckRow(
        name="as_written",
        passed=same,
        detail="The weights on disk are those that were written."
        if same
        else f"The weights in {folder} were changed after they were written. Merge again.",
    )


def check_tensors(base: FolderDigest, merged: FolderDigest) -> CheckRow:
    """No tensor is missing, new, or of another shape or dtype."""
    names = base.tensors.keys() | merged.tensors.keys()
    wrong = sorted(
        name
        for name in names
        if name not in base.tensors
        or name not in merged.tensors
        or base.tensors[name].shape != merged.tensors[name].shape
        or base.tensors[name].dtype != merged.tensors[name].dtype
    )
    said = f"{listed(wrong)} is missing, new, or of another shape or dtype than in the base."
    return CheckRow(
        name="tensors",
        passed=not wrong,
        measured=float(len(wrong)),
        tolerance=0.0,
        detail=said if wrong else f"All {len(names)} tensors have the base's shape and dtype.",
    )


def check_targets(
    base: FolderDigest, merged: FolderDigest, changes: Mapping[str, WeightChange]
) -> list[CheckRow]:
    """Every weight with B · A differs from the base, and none does that is not targeted."""
    targeted = {name for name, change in changes.items() if change.must_change}
    changed = {
        name
        for name, tensor in merged.tensors.items()
        if name in base.tensors and tensor.sha256 != base.tensors[name].sha256
    }
    same, others = sorted(targeted - changed), sorted(changed - changes.keys())
    return [
        CheckRow(
            name="targets_changed",
            passed=not same,
            measured=float(len(targeted) - len(same)),
            tolerance=float(len(targeted)),
            detail=f"{listed(same)} is as in the base: the adapter was not merged there."
            if same
            else f"All {len(targeted)} targeted weights differ from the base.",
        ),
        CheckRow(
            name="others_unchanged",
            passed=not others,
            measured=float(len(others)),
            tolerance=0.0,
            detail=f"{listed(others)} differs from the base, and the adapter does not touch it."
            if others
            else "No other weight differs from the base.",
        ),
    ]


def check_files(base: Path, merged: Path) -> list[CheckRow]:
    """Tokenizer, chat template, configuration and generation settings are the base's own bytes."""
    changed = [
        path.name
        for path in copied_files(base)
        if not (merged / path.name).is_file()
        or (merged / path.name).read_bytes() != path.read_bytes()
    ]
    tokenizer = [name for name in changed if name.startswith(TOKENIZER)]
    generation = [name for name in changed if name == "generation_config.json"]
    others = [name for name in changed if name not in (*tokenizer, *generation)]
    kinds: Sequence[tuple[str, str, list[str]]] = (
        ("tokenizer", "Tokenizer and chat template", tokenizer),
        ("generation_config", "The generation settings", generation),
        ("config", "The configuration", others),
    )
    return [
        CheckRow(
            name=name,
            passed=not found,
            measured=float(len(found)),
            tolerance=0.0,
            detail=f"{listed(found)} is missing or differs from the base's."
            if found
            else f"{what} are the base's, byte by byte.".replace("uration are", "uration is"),
        )
        for name, what, found in kinds
    ]


def check_stop_ids(base: Path, merged: Path) -> CheckRow:
    """The folder names the base's tokens as ends."""
    wanted, found = inspect_folder(base).stop_token_ids, inspect_folder(merged).stop_token_ids
    same = set(wanted) == set(found) and bool(found)
    return CheckRow(
        name="stop_ids",
        passed=same,
        detail=f"Texts end at token {', '.join(map(str, found))}, as in the base."
        if same
        else f"The stop token was lost: the base ends texts at {list(wanted)}, the merge at "
        f"{list(found)}. Merge again.",
    )


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
