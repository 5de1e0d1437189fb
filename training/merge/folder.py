"""The folder of a merged model: room for it, whole or not at all, its manifest and its card."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.errors import Q2QError, free_bytes
from db.models import ModelRow, ProofRow, get_model, proof_of
from db.tables import Dataset, DatasetRow, DatasetRowRating, TrainingRun
from serving.models.tensor_files import weight_files

MANIFEST = "manifest.json"
CARD = "README.md"
_SPARE_BYTES = 64 * 2**20
"""Room for tokenizer, card and the store beside the weights."""
_COPIED = (".json", ".jinja", ".model", ".txt", ".tiktoken")
_COPIED_NAMES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE")


class MergeError(Q2QError):
    """A merge could not be made or proved; the sentence says why and what to do."""


def check_room(folder: Path, wanted: int, *, what: str) -> None:
    """Return if ``wanted`` bytes and a little more fit on the disk of ``folder``.

    Raises:
        MergeError: They do not.
    """
    free = free_bytes(folder)
    if free < wanted + _SPARE_BYTES:
        raise MergeError(
            "{what} needs {needed} in {folder}, and {free} are free. "
            "Free some, for example by dropping an old merge with `q2q model prune`, or set "
            "Q2Q_HOME to a folder on a larger disk.",
            what=what,
            needed=_gb(wanted + _SPARE_BYTES),
            folder=folder,
            free=_gb(free),
        )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a scratch folder beside ``target`` that becomes it when the block succeeds.

    One process at a time, the one that holds the lock of the home, works on a target.

    Raises:
        MergeError: ``target`` exists: a merge never writes over an old one. Or the disk is full.
    """
    _refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}-*"):  # of a merge that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield scratch
        _refuse_existing(target)
        scratch.chmod(0o755)
        scratch.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise disk_full(target) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def disk_full(folder: Path) -> MergeError:
    """Return the error of a disk that ran full while ``folder`` was written."""
    return MergeError(
        "The disk ran full while {folder} was written; nothing was left behind. Free some room, "
        "for example with `q2q model prune`, then run the same command again.",
        folder=folder,
    )


def copied_files(base: Path) -> list[Path]:
    """Return the files of ``base`` that a merge keeps byte by byte: all but weights and card.

    Configuration, tokenizer, chat template, generation settings and licence; no code.
    """
    return [
        path
        for path in sorted(base.iterdir())
        if path.is_file()
        and path.name != MANIFEST
        and (path.suffix in _COPIED or path.name in _COPIED_NAMES)
    ]


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``manifest.json``, the last file of a whole folder, with the sizes of all others."""
    sizes = {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in (MANIFEST, CARD)
    }
    text = json.dumps({**facts, "files": sizes}, indent=2, ensure_ascii=False) + "\n"
    replace_text(folder / MANIFEST, text)


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(f".{path.name}.new")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def weights_bytes(folder: Path) -> int:
    """Return the size of the weight files of ``folder``."""
    return sum(path.stat().st_size for path in weight_files(folder))


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise MergeError(
            "{target} exists already, and a merge never writes into a used folder. Move it away, "
            "or give the merge another name with --name.",
            target=target,
        )


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def write_card(session: Session, model_version_id: int) -> Path | None:
    """Write ``README.md`` into the folder of a merge, or return None if it is gone."""
    model = get_model(session, model_version_id)
    if model.folder is None:
        return None
    path = model.folder / CARD
    replace_text(path, card(session, model))
    return path


def card(session: Session, model: ModelRow) -> str:
    """Return the card of a merge as Markdown with the metadata of a Hugging Face model card."""
    proof = proof_of(session, model.id)
    base = get_model(session, model.base_id) if model.base_id else None
    run = _run(session, proof)
    head = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": (base.hub_id or base.name) if base else None,
        "base_model_relation": "finetune",
        "tags": ["q2q-workbench", "lora", "merged"],
    }
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {model.name}",
        "A draft from the store of the Q2Q Workbench; add what the model is for, and its limits.",
        "## Weights",
        *_facts(
            {
                "digest": model.digest,
                "base": f"{base.name}, {base.digest}" if base else None,
                "adapter": _adapter(session, proof),
                "dtype": model.dtype,
                "parameters": model.n_parameters,
                "context": f"{model.context_length} tokens" if model.context_length else None,
                "stop tokens": ", ".join(map(str, model.stop_token_ids)),
            }
        ),
        *(_training(session, run) if run else ()),
        *(_proof(proof) if proof else ()),
        "## How to serve it",
        f"```sh\nvllm serve {model.path} --served-model-name {model.name} "
        "--generation-config vllm\n```",
    ]
    return "\n\n".join(lines) + "\n"


def _adapter(session: Session, proof: ProofRow | None) -> str | None:
    if proof is None:
        return None
    adapter = get_model(session, proof.adapter_model_version_id)
    return f"{adapter.name}, {adapter.digest}"


def _run(session: Session, proof: ProofRow | None) -> TrainingRun | None:
    if proof is None:
        return None
    return session.scalar(
        select(TrainingRun).where(
            TrainingRun.adapter_model_version_id == proof.adapter_model_version_id
        )
    )


def _training(session: Session, run: TrainingRun) -> list[str]:
    dataset = session.get_one(Dataset, run.dataset_id)
    rows = select(DatasetRow.id).where(DatasetRow.dataset_id == dataset.id)
    n_ratings = session.scalar(
        select(func.count(func.distinct(DatasetRowRating.rating_id))).where(
            DatasetRowRating.row_id.in_(rows)
        )
    )
    n_rows = session.scalar(select(func.count()).select_from(rows.subquery()))
    return [
        "## Training",
        *_facts(
            {
                "method": run.method,
                "dataset": f"{dataset.name}, {n_rows} rows, hash {dataset.content_hash}",
                "ratings behind it": n_ratings,
            }
        ),
        *(_block(name, getattr(run, name)) for name in ("config", "summary", "versions")),
        _block("rules of the dataset", dataset.rules),
    ]


def _proof(proof: ProofRow) -> list[str]:
    lines = ["| check | passed | found |", "|---|---|---|"]
    for check in proof.checks:
        detail = (check.detail or "").replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {check.name} | {'yes' if check.passed else 'NO'} | {detail} |")
    verdict = "passed" if proof.passed else "FAILED"
    return [f"## Proof of the merge: {verdict}", "\n".join(lines)]


def _facts(facts: dict[str, Any]) -> list[str]:
    return ["\n".join(f"- {name}: {value}" for name, value in facts.items() if value is not None)]


def _block(title: str, value: Any) -> str:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return f"### {title.capitalize()}\n\n```yaml\n{text}```"
